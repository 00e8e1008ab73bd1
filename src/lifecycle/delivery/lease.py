"""A lease in the bucket that lets one deploy work at a time, and frees itself when its holder was killed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.exceptions import ClientError

from lifecycle.errors import RefusedError

KEY = "deploy.lease"
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


@contextmanager
def hold_lease(bucket: str, holder: str, seconds: float) -> Iterator[None]:
    """Hold the lease of a bucket.

    Parameters
    ----------
    bucket : str
    holder : str
        Told to whoever else wants it.
    seconds : float
        How long it holds when its holder does not come back; longer than any deploy takes.

    Raises
    ------
    RefusedError
        Naming the holder, if somebody else has it.
    """
    store = boto3.client("s3")
    entry = json.dumps({"holder": holder, "until": time.time() + seconds})
    try:
        tag = store.put_object(Bucket=bucket, Key=KEY, Body=entry, IfNoneMatch="*")["ETag"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in TAKEN:
            raise
        found = store.get_object(Bucket=bucket, Key=KEY)
        other = json.loads(found["Body"].read())
        left = other["until"] - time.time()
        if left > 0:
            raise RefusedError(
                f"{other['holder']} deploys already, and holds the lease for {left:.0f} seconds more; wait for it."
            ) from error
        tag = _take_over(store, bucket, entry, found["ETag"])
    try:
        yield
    finally:
        if store.head_object(Bucket=bucket, Key=KEY)["ETag"] == tag:
            store.delete_object(Bucket=bucket, Key=KEY)


def _take_over(store: object, bucket: str, entry: str, tag: str) -> str:
    """Replace a lease that ran out, unless somebody else was faster."""
    try:
        return str(store.put_object(Bucket=bucket, Key=KEY, Body=entry, IfMatch=tag)["ETag"])  # type: ignore[attr-defined]
    except ClientError as error:
        raise RefusedError("another deploy took the lease over at the same moment; try again.") from error
