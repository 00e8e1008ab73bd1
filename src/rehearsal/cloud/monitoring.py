"""What functions leave behind: log lines, metrics, and the prediction log in a bucket, as AWS would deliver them."""

import gzip
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from moto.cloudwatch.models import CloudWatchBackend, MetricDatum, cloudwatch_backends
from moto.core.utils import unix_time_millis, utcnow
from moto.firehose.models import firehose_backends
from moto.logs.models import LogEvent, LogGroup, LogsBackend, logs_backends
from moto.s3.models import s3_backends

from rehearsal.cloud.alarms import name_metric
from rehearsal.cloud.requests import Wanted

Refuse = Callable[..., object]

# Firehose's words for the day in a prefix.
DAY = "!{timestamp:yyyy-MM-dd}"
# A line that holds it goes into the prediction log.
DELIVERED = "prediction"


@dataclass(frozen=True)
class Invocation:
    """An invocation: ``error`` is the error's type, None if the function answered."""

    function: str
    qualifier: str | None
    version: str
    error: str | None
    milliseconds: float


@dataclass(frozen=True)
class Delivery:
    """Where the prediction log goes: ``prefix`` is Firehose's, with ``!{timestamp:yyyy-MM-dd}`` for the day.

    ``reader`` hands lines on to ``stream``, and ``writer`` writes them; roles, whose permissions are asked for.
    """

    bucket: str
    prefix: str = f"predictions/day={DAY}/"
    stream: str = ""
    reader: str = ""
    writer: str = ""


class Datum(MetricDatum):
    """A metric's point; moto would count it for every part of its dimensions as well."""

    def filter(
        self, namespace: Any, name: Any, dimensions: Any, already_present_metrics: list[Any] | None = None
    ) -> bool:
        """Tell whether it belongs to a metric; or, given those that are listed already, whether to list its own."""
        if already_present_metrics is None:
            return len(dimensions or self.dimensions) == len(self.dimensions) and super().filter(
                namespace, name, dimensions
            )
        own = name_metric(self.namespace, self.name, self.dimensions)
        listed = (name_metric(known.namespace, known.name, known.dimensions) for known in already_present_metrics)
        return super().filter(namespace, name, dimensions) and own not in listed


class Monitor:
    """Take what functions print and how they did, and bring it to moto's logs, metrics and buckets.

    Parameters
    ----------
    account, region : str
    delivery : Delivery or None
        Of the prediction log; without it, log groups with a subscription to a Firehose stream are delivered to that
        stream's bucket.
    refuse : callable
        Tells why a service may not do something in a role's name: the role's ARN, and what it wants to do.
    """

    def __init__(self, account: str, region: str, delivery: Delivery | None, refuse: Refuse) -> None:
        self.invocations: list[Invocation] = []
        self._account = account
        self._region = region
        self._delivery = delivery
        self._refuse = refuse
        self._lock = threading.Lock()
        self._pending: dict[tuple[Delivery, str], list[str]] = defaultdict(list)

    @property
    def cloudwatch(self) -> CloudWatchBackend:
        """Give moto's metrics and alarms."""
        return cloudwatch_backends[self._account][self._region]

    @property
    def logs(self) -> LogsBackend:
        """Give moto's logs."""
        return logs_backends[self._account][self._region]

    def open_stream(self, function: str, version: str, role: str) -> str:
        """Open a log stream for a process of a function, as the function's role."""
        name = f"{utcnow():%Y/%m/%d}/[{version}]{uuid4().hex}"
        group = f"/aws/lambda/{function}"
        if not self._refuse(role, Wanted("logs:CreateLogStream", self._name_stream(group, name))):
            with self._lock:
                self.logs.ensure_log_group(group)
                self.logs.ensure_log_stream(group, name)
        return name

    def write(self, function: str, stream: str, line: str, role: str) -> None:
        """Write a log line as the function's role, and do what AWS does with metrics and predictions in it."""
        name = f"/aws/lambda/{function}"
        group = self.logs.groups.get(name)
        # Somebody may have deleted it, or it could not be opened.
        if group is None or stream not in group.streams:
            return
        if self._refuse(role, Wanted("logs:PutLogEvents", self._name_stream(name, stream))):
            return
        with self._lock:
            now = int(unix_time_millis())
            # Not by moto's own way in, which hands the line to Firehose in a shape of moto's.
            group.streams[stream].events.append(LogEvent(now, {"timestamp": now, "message": line}))
            record = read_record(line)
            for name, value, unit, dimensions, namespace in read_metrics(record):
                self._put(namespace, name, value, unit, dimensions)
            if DELIVERED in record:
                delivery = self._delivery or self._find_delivery(group)
                if delivery and not self._stops(delivery.reader, "firehose:PutRecord", delivery.stream):
                    self._pending[delivery, delivery.prefix.replace(DAY, f"{utcnow():%Y-%m-%d}")].append(line)

    def count(self, invocation: Invocation) -> None:
        """Keep an invocation, and count it in the metrics that Lambda keeps."""
        values = {
            "Invocations": (1.0, "Count"),
            "Errors": (float(invocation.error is not None), "Count"),
            "Duration": (invocation.milliseconds, "Milliseconds"),
        }
        with self._lock:
            self.invocations.append(invocation)
            for dimensions in list_dimensions(invocation):
                for name, (value, unit) in values.items():
                    self._put("AWS/Lambda", name, value, unit, dimensions)

    def count_request(self, function: str, qualifier: str, status: int, milliseconds: float) -> None:
        """Count a request to a function's address in the metrics that Lambda keeps of it."""
        values = {
            "UrlRequestCount": (1.0, "Count"),
            "Url4xxCount": (float(400 <= status < 500), "Count"),
            "Url5xxCount": (float(status >= 500), "Count"),
            "UrlRequestLatency": (milliseconds, "Milliseconds"),
        }
        with self._lock:
            for dimensions in ({"FunctionName": function}, name_resource(function, qualifier)):
                for name, (value, unit) in values.items():
                    self._put("AWS/Lambda", name, value, unit, dimensions)

    def deliver(self) -> None:
        """Write the predictions since the last delivery to their bucket, one object each time."""
        with self._lock:
            pending = {place: lines for place, lines in self._pending.items() if lines}
            self._pending.clear()
        for (delivery, prefix), lines in pending.items():
            content = gzip.compress("".join(f"{line}\n" for line in lines).encode())
            key = f"{prefix}{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}-{uuid4()}.gz"
            if not self._stops(delivery.writer, "s3:PutObject", f"arn:aws:s3:::{delivery.bucket}/{key}"):
                s3_backends[self._account]["aws"].put_object(delivery.bucket, key, content)

    def _stops(self, role: str, action: str, resource: str) -> bool:
        """Tell whether a role's policies stop a service; where no role is named, none does."""
        return bool(role and self._refuse(role, Wanted(action, resource)))

    def _name_stream(self, group: str, stream: str) -> str:
        """Name a log stream as policies do."""
        return f"arn:aws:logs:{self._region}:{self._account}:log-group:{group}:log-stream:{stream}"

    def _find_delivery(self, group: LogGroup) -> Delivery | None:
        """Find the bucket to which a log group's subscription leads."""
        streams = firehose_backends[self._account][self._region].delivery_streams
        for subscription in group.subscription_filters.values():
            stream = streams.get(subscription.destination_arn.rpartition("/")[2])
            for destination in stream.destinations if stream else []:
                target = destination.get("ExtendedS3") or destination.get("S3") or {}
                if "BucketARN" in target:
                    return Delivery(
                        target["BucketARN"].rpartition(":")[2],
                        target.get("Prefix", ""),
                        subscription.destination_arn,
                        subscription.role_arn or "",
                        target.get("RoleARN", ""),
                    )
        return None

    def _put(self, namespace: str, name: str, value: float, unit: str | None, dimensions: Mapping[str, str]) -> None:
        """Put a point of a metric."""
        listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        self.cloudwatch.metric_data.append(Datum(namespace, name, value, listed, utcnow(), unit))


def name_resource(function: str, qualifier: str | None) -> dict[str, str]:
    """Name what was called as Lambda's metrics do."""
    named = f"{function}:{qualifier}" if qualifier and qualifier != "$LATEST" else function
    return {"FunctionName": function, "Resource": named}


def list_dimensions(invocation: Invocation) -> Iterator[dict[str, str]]:
    """List the dimensions under which Lambda counts an invocation; the version only where an alias was called."""
    resource = name_resource(invocation.function, invocation.qualifier)
    yield {"FunctionName": invocation.function}
    yield resource
    if invocation.qualifier and invocation.qualifier not in ("$LATEST", invocation.version):
        yield {**resource, "ExecutedVersion": invocation.version}


def read_record(line: str) -> dict[str, Any]:
    """Read a log line that is a JSON object; an empty one if it is anything else."""
    if not line.startswith("{"):
        return {}
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}


def read_metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float, str | None, dict[str, str], str]]:
    """Read a line's metrics in CloudWatch's embedded metric format: name, value, unit, dimensions and namespace.

    What the line says it holds and does not is left out, as CloudWatch does.
    """
    about = record.get("_aws")
    for directive in about.get("CloudWatchMetrics", []) if isinstance(about, dict) else []:
        for names in directive.get("Dimensions", []):
            if any(name not in record for name in names):
                continue
            dimensions = {name: str(record[name]) for name in names}
            for metric in directive.get("Metrics", []):
                values = record.get(metric["Name"], [])
                for value in values if isinstance(values, list) else [values]:
                    if isinstance(value, int | float):
                        yield metric["Name"], float(value), metric.get("Unit"), dimensions, directive["Namespace"]
