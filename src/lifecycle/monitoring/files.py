"""Where logs lie: a folder or an s3 address with a folder a day, ``day=2026-11-20``, of files of JSON lines."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import fsspec

from lifecycle.errors import MisuseError, RefusedError

DAY = re.compile(r"day=(\d{4}-\d{2}-\d{2})")
ENDINGS = (".gz", ".jsonl")
LAYOUT = "expected folders day=2026-11-20 with files *.gz or *.jsonl"
# Where a bucket has them.
KINDS = ("predictions", "labels")


@dataclass(frozen=True)
class Files:
    """Files of one kind; ``system`` is fsspec's, None where they lie in a folder of this machine."""

    address: str
    system: Any
    paths: tuple[str, ...]


def add_addresses(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the logs lie."""
    parser.add_argument("--predictions", help="folder or address of the prediction log")
    parser.add_argument("--labels", help="folder or address of the labels")
    parser.add_argument("--target", type=Path, help="file that `terraform output -json` wrote, in place of the two")


def find_addresses(predictions: str | None, labels: str | None, target: Mapping[str, Any]) -> tuple[str, str]:
    """Choose the logs' addresses: those that were named, or else the target's.

    Raises
    ------
    MisuseError
        If neither says where they are.
    """
    bucket = target.get("logs_bucket")
    stored = tuple(f"s3://{bucket}/{kind}" for kind in KINDS) if bucket else (None, None)
    found = predictions or stored[0], labels or stored[1]
    if found[0] is None or found[1] is None:
        raise MisuseError("where the logs lie is not known; name --predictions and --labels, or --target.")
    return found[0], found[1]


def list_files(address: str, first: date, last: date) -> Files:
    """List the files of some days.

    Parameters
    ----------
    address : str
        A folder, or an address that fsspec understands, such as ``s3://bucket/predictions``.
    first, last : date
        Both included.

    Returns
    -------
    Files
        None of a store that holds nothing at the address yet.

    Raises
    ------
    RefusedError
        If there is no such folder or bucket, or it may not be read.
    """
    try:
        system, root = fsspec.url_to_fs(address)
        names = _list(system, root)
        days = [name for name in names if (found := _read_day(name)) and first <= found <= last]
        paths = sorted(path for day in days for path in _list(system, day) if path.endswith(ENDINGS))
    # Each kind of store has errors of its own.
    except Exception as error:  # pylint: disable=broad-exception-caught
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RefusedError(f"{address} cannot be read ({reason}); {LAYOUT}.") from error
    local = "file" in system.protocol
    return Files(address, None if local else system, tuple(path if local else f"s3://{path}" for path in paths))


def _list(system: Any, path: str) -> Sequence[str]:
    """List the names in a folder; none where a store, which knows no folders, holds nothing under it yet."""
    try:
        names: list[str] = system.ls(path, detail=False)
    except FileNotFoundError as error:
        # S3 names a missing bucket as the cause, and a missing folder by nothing but its path.
        if "file" in system.protocol or error.__cause__ is not None:
            raise
        return []
    return names


def _read_day(path: str) -> date | None:
    """Read the day that a folder holds; None of other names."""
    match = DAY.fullmatch(path.rstrip("/").rpartition("/")[2])
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None
