"""The function that serves, and the alias that shares its traffic out."""

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from lifecycle.errors import RefusedError
from lifecycle.serving.manifest import hash_bytes

# The alias's description keeps what a deploy must know of the one before it.
CANARY = re.compile(r"canary (?P<version>\d+) since (?P<since>\d+\.?\d*)")
FORMER = re.compile(r"before (?P<version>\d+)")
RELEASE = re.compile(r"(?P<name>[a-z0-9-]+@(?P<version>\S+)) [0-9a-f]{12}")
CHAMPION = "champion"
PERIOD_SECONDS = 60


@dataclass(frozen=True)
class Alias:
    """Where the traffic goes: ``weights`` are the shares of versions beside ``version``."""

    version: str
    weights: Mapping[str, float]
    description: str
    revision: str

    @property
    def former(self) -> str | None:
        """The champion before, as far as the deploys know."""
        found = FORMER.search(self.description)
        return found["version"] if found else None


@dataclass(frozen=True)
class Measured:
    """What a version did since a moment; ``latency_ms`` is the mean, None where nothing was measured."""

    requests: int
    errors: int
    latency_ms: float | None

    @property
    def error_share(self) -> float:
        """The share of requests that failed."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Service:
    """One function with one alias, as Terraform made them."""

    function: str
    alias: str
    bucket: str
    namespace: str
    alarms: tuple[str, ...]
    functions: Any
    metrics: Any

    def publish(self, bundle: Path, sha256: str, name: str) -> str:
        """Publish a bundle as a version, or find the version that it is already.

        Raises
        ------
        RefusedError
            If the file's bytes are not those that were named, or not those that arrived.
        """
        content = bundle.read_bytes()
        if hash_bytes(content) != sha256:
            raise RefusedError(f"{bundle} has the SHA-256 {hash_bytes(content)}; expected {sha256}. Build it anew.")
        code = base64.b64encode(bytes.fromhex(sha256)).decode()
        description = describe_release(name, sha256)
        for version, described in self.list_published().items():
            if described == description:
                return version
        key = f"bundles/{sha256}.zip"
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)
        self.functions.update_function_code(FunctionName=self.function, S3Bucket=self.bucket, S3Key=key)
        self.functions.get_waiter("function_updated_v2").wait(FunctionName=self.function)
        try:
            published = self.functions.publish_version(
                FunctionName=self.function, CodeSha256=code, Description=description
            )
        except ClientError as error:
            raise RefusedError(
                f"the bundle that arrived is another one: {error.response['Error']['Message']}"
            ) from error
        return str(published["Version"])

    def list_published(self) -> dict[str, str]:
        """List the function's published versions with their descriptions."""
        pages = self.functions.get_paginator("list_versions_by_function").paginate(FunctionName=self.function)
        return {
            version["Version"]: version["Description"]
            for page in pages
            for version in page["Versions"]
            if version["Version"] != "$LATEST"
        }

    def remove(self, version: str) -> None:
        """Remove a published version; AWS refuses one that an alias names."""
        self.functions.delete_function(FunctionName=self.function, Qualifier=version)

    def invoke(self, version: str, event: dict[str, Any]) -> dict[str, Any]:
        """Call a version, and return its answer.

        Raises
        ------
        RefusedError
            If it fails.
        """
        answer = self.functions.invoke(FunctionName=self.function, Qualifier=version, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            what = f"{payload.get('errorType')}: {payload.get('errorMessage')}" if isinstance(payload, dict) else ""
            raise RefusedError(f"version {version} fails: {what or answer['FunctionError']}.")
        return dict(payload)

    def read_alias(self) -> Alias:
        """Read where the traffic goes."""
        found = self.functions.get_alias(FunctionName=self.function, Name=self.alias)
        weights = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        return Alias(found["FunctionVersion"], weights, found.get("Description", ""), found.get("RevisionId", ""))

    def start_canary(self, version: str, weight: float) -> float:
        """Give a version a share of the traffic, if it has none yet; return since when it has it."""
        alias = self.read_alias()
        known = CANARY.search(alias.description)
        if known and known["version"] == version and version in alias.weights:
            return float(known["since"])
        start = time.time()
        # Whatever another deploy left is replaced: an alias has room for one canary.
        note = f"canary {version} since {start:.3f}{_keep_former(alias)}"
        self._update(alias, alias.version, {version: weight}, note)
        return start

    def clear_canary(self) -> None:
        """Give all of the traffic to the champion."""
        alias = self.read_alias()
        if alias.weights:
            self._update(alias, alias.version, {}, f"champion {alias.version}{_keep_former(alias)}")

    def promote(self, version: str) -> None:
        """Give all of the traffic to a version, and remember the one before."""
        alias = self.read_alias()
        self._update(alias, version, {}, f"champion {version}, before {alias.version}")

    def roll_back(self) -> str:
        """Give all of the traffic back: a canary's to the champion, or else the champion's to the one before.

        Raises
        ------
        RefusedError
            If nothing is known of a champion before.
        """
        alias = self.read_alias()
        if alias.weights:
            self.clear_canary()
            return alias.version
        former = alias.former
        if former is None:
            raise RefusedError(f"version {alias.version} is the first that served; there is none to go back to.")
        self._update(alias, former, {}, f"champion {former}, rolled back from {alias.version}")
        return former

    def _update(self, alias: Alias, version: str, weights: Mapping[str, float], description: str) -> None:
        """Set the alias, unless somebody else did in the meantime."""
        # An empty map is what clears weights; without one they stay.
        routing = {"AdditionalVersionWeights": dict(weights)} if weights else {}
        self.functions.update_alias(
            FunctionName=self.function,
            Name=self.alias,
            FunctionVersion=version,
            Description=description,
            RoutingConfig=routing,
            RevisionId=alias.revision,
        )

    def list_alarms(self) -> list[str]:
        """List the alarms that are going off."""
        found = self.metrics.describe_alarms(AlarmNames=list(self.alarms))["MetricAlarms"]
        return [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]

    def measure(self, version: str, start: float) -> Measured:
        """Measure what a version did for callers of the alias since a moment."""
        called = {
            "FunctionName": self.function,
            "Resource": f"{self.function}:{self.alias}",
            "ExecutedVersion": version,
        }
        requests = self._read_metric("AWS/Lambda", "Invocations", "Sum", called, start)
        errors = self._read_metric("AWS/Lambda", "Errors", "Sum", called, start)
        release = self._describe(version)
        if release is None:
            return Measured(int(sum(requests)), int(sum(errors)), None)
        # The service's own figure, which leaves the start of a process out.
        told = {"model_version": release["version"], "variant": CHAMPION}
        latencies = self._read_metric(self.namespace, "Latency", "Average", told, start)
        mean = sum(latencies) / len(latencies) if latencies else None
        return Measured(int(sum(requests)), int(sum(errors)), mean)

    def name_release(self, version: str) -> str | None:
        """Name the release that a version is, as ``model@v1.0.0``; None for one that no deploy published."""
        release = self._describe(version)
        return release["name"] if release else None

    def _describe(self, version: str) -> re.Match[str] | None:
        """Read what the deploy that published a version wrote of it."""
        found = self.functions.get_function_configuration(FunctionName=self.function, Qualifier=version)
        return RELEASE.match(found["Description"])

    def _read_metric(
        self, namespace: str, name: str, statistic: str, dimensions: Mapping[str, str], start: float
    ) -> list[float]:
        """Read a metric's values since a moment, a minute each."""
        found = self.metrics.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            # Points carry the time at which their minute begins.
            StartTime=datetime.fromtimestamp(start - PERIOD_SECONDS, UTC),
            EndTime=datetime.fromtimestamp(time.time() + PERIOD_SECONDS, UTC),
            Period=PERIOD_SECONDS,
            Statistics=[statistic],
        )
        return [point[statistic] for point in found["Datapoints"]]


def _keep_former(alias: Alias) -> str:
    """Write what the description knows of the champion before, so that it is not forgotten."""
    return f", before {alias.former}" if alias.former else ""


def describe_release(name: str, sha256: str) -> str:
    """Write of a version which bundle it holds, and what that one calls itself, as ``model@v1.0.0``."""
    return f"{name} {sha256[:12]}"


def open_service(target: Mapping[str, Any]) -> Service:
    """Open what Terraform's outputs name."""
    return Service(
        target["function_name"],
        target["alias_name"],
        target["bundles_bucket"],
        target["metric_namespace"],
        tuple(target["alarm_names"]),
        boto3.client("lambda"),
        boto3.client("cloudwatch"),
    )
