"""A function as small as one can be, on AWS on loopback, for the tests of what a deploy does to it."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import boto3
import numpy as np
import pytest

from lifecycle.delivery.answers import KnownAnswers
from lifecycle.delivery.service import Service, describe_release, open_service
from lifecycle.deploy import Release
from lifecycle.params import DeployParams
from lifecycle.serving.manifest import hash_bytes
from rehearsal.cloud.server import Cloud, serve_cloud

# It doubles what it gets, and writes the metrics that the real one writes.
HANDLER = """
import json, time
{start}
def handle(event, context):
    started = time.perf_counter()
    {fault}
    rows = json.loads(event["body"])["rows"]
    values = [{factor} * row["{column}"] for row in rows]
    told = {{"Dimensions": [["model_version", "variant"]], "Metrics": [{{"Name": "Latency"}}]}}
    told["Namespace"] = "lifecycle/test"
    stamp = {{"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [told]}}
    latency = 1000 * (time.perf_counter() - started)
    print(json.dumps({{"_aws": stamp, "model_version": "{version}", "variant": "champion", "Latency": latency}}))
    return {{"statusCode": 200, "body": json.dumps({{"predictions": values, "model_version": "{version}"}})}}
"""
ANSWERS = KnownAnswers(({"x": 1.0}, {"x": 2.5}), (np.array([2.0, 5.0]),))
PARAMS = DeployParams(
    challenge=False,
    canary_weight=0.3,
    bake_seconds=1.5,
    poll_seconds=0.1,
    min_requests=5,
    max_error_share=0.05,
    max_latency_ratio=5.0,
    lease_seconds=60,
)


def name_target(function: str) -> dict[str, str | list[str]]:
    """Name a function and what belongs to it, as Terraform's outputs do."""
    return {
        "function_name": function,
        "alias_name": "live",
        "bundles_bucket": "bundles",
        "alarm_names": ["errors"],
        "metric_namespace": "lifecycle/test",
    }


def open_target(function: str) -> Service:
    """Open a function."""
    return open_service(name_target(function))


def build(folder: Path, version: str, column: str = "x", **faults: str | float) -> Release:
    """Build a bundle that doubles a column; faults are another factor, and code for its start or for each request."""
    code = {"factor": 2, "fault": "pass", "start": ""} | faults
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(zipfile.ZipInfo("service.py"), HANDLER.format(version=version, column=column, **code))
    path = folder / f"{version}.zip"
    path.write_bytes(archive.getvalue())
    return Release(path, hash_bytes(path.read_bytes()), f"model@{version}")


@contextmanager
def open_cloud(folder: Path) -> Iterator[Cloud]:
    """Serve AWS with a bucket for bundles, and let this process find it and a role for functions."""
    with pytest.MonkeyPatch.context() as patch, serve_cloud(folder, seed=0) as cloud:
        for key, value in cloud.environment.items():
            patch.setenv(key, value)
        role = boto3.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        boto3.client("s3").create_bucket(
            Bucket="bundles", CreateBucketConfiguration={"LocationConstraint": cloud.environment["AWS_REGION"]}
        )
        patch.setenv("STAND_IN_ROLE", role)
        yield cloud


@contextmanager
def create_service(first: Release, description: str | None = None) -> Iterator[Service]:
    """Create a function whose first version is the champion; a description hides which release that is."""
    functions = boto3.client("lambda")
    # The metrics of a function outlive it, so each test has one of its own.
    name = f"answer-{uuid4().hex}"
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=os.environ["STAND_IN_ROLE"],
        Handler="service.handle",
        Code={"ZipFile": first.path.read_bytes()},
        Description=describe_release(first.name, first.sha256) if description is None else description,
        Publish=True,
        Timeout=2,
    )
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    try:
        yield open_target(name)
    finally:
        functions.delete_function(FunctionName=name)
