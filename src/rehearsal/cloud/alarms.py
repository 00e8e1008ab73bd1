"""Metric alarms that go off: moto keeps them, this decides their state, on a clock that may run faster."""

import json
import math
import operator
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, MetricDatum

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}
STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Sum": sum,
}
NO_DATA = "INSUFFICIENT_DATA"
Metric = tuple[str, str, frozenset[tuple[str, str]]]


def name_metric(namespace: str, name: str, dimensions: Sequence[Any]) -> Metric:
    """Name a metric by all that makes it one."""
    return namespace, name, frozenset((dimension.name, dimension.value) for dimension in dimensions)


def compute_statistic(alarm: Alarm, values: Sequence[float]) -> float:
    """Compute an alarm's statistic of one period; a percentile by the nearest rank."""
    if alarm.statistic:
        return STATISTICS[alarm.statistic](values)
    percentile = float(str(alarm.extended_statistic).removeprefix("p"))
    return sorted(values)[max(math.ceil(percentile / 100 * len(values)), 1) - 1]


def decide_state(alarm: Alarm, periods: Sequence[float | None], former: str) -> str:
    """Decide an alarm's state.

    Parameters
    ----------
    alarm : Alarm
    periods : sequence of float or None
        The statistic in each of its evaluation periods; None where there are no data.
    former : str

    Returns
    -------
    str
        OK, ALARM or INSUFFICIENT_DATA.
    """
    missing = alarm.treat_missing_data or "missing"
    if all(value is None for value in periods) and missing in ("missing", "ignore"):
        return NO_DATA if missing == "missing" else former
    breaching = sum(
        missing == "breaching"
        if value is None
        else COMPARISONS[alarm.comparison_operator](value, float(alarm.threshold))
        for value in periods
    )
    return "ALARM" if breaching >= int(alarm.datapoints_to_alarm or alarm.evaluation_periods) else "OK"


class Watch:
    """Watch the alarms of one account and region.

    Parameters
    ----------
    find_backend : callable
        Gives moto's metrics and alarms.
    minute_seconds : float
        How long a minute of the alarms' periods takes.
    announce : callable
        Is told of each alarm that has another state.
    """

    def __init__(
        self,
        find_backend: Callable[[], CloudWatchBackend],
        minute_seconds: float,
        announce: Callable[[Alarm], None],
    ) -> None:
        self._find_backend = find_backend
        self._announce = announce
        self._pace = minute_seconds / 60
        self._lock = threading.Lock()
        self._read = 0
        # By metric: time in seconds, value.
        self._points: dict[Metric, list[tuple[float, float]]] = defaultdict(list)

    def evaluate(self) -> dict[str, str]:
        """Set each alarm's state from the metrics until now.

        Returns
        -------
        dict of str to str
            The states, by the alarms' names.
        """
        with self._lock:
            backend = self._find_backend()
            now = datetime.now(UTC).timestamp()
            self._collect(backend, now)
            # An alarm on an expression, or a composite one, keeps the state that it has.
            watched = [alarm for alarm in list(backend.alarms.values()) if alarm.metric_name]
            changed = [alarm for alarm in watched if self._set_state(alarm, now)]
            states = {alarm.name: alarm.state_value for alarm in watched}
        for alarm in changed:
            self._announce(alarm)
        return states

    def _collect(self, backend: CloudWatchBackend, now: float) -> None:
        """Read the points that have come since the last time."""
        new = backend.metric_data[self._read :]
        self._read += len(new)
        for datum in new:
            stamp = datum.timestamp if isinstance(datum.timestamp, datetime) else None
            time = stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp() if stamp else now
            # Clients send whole seconds, and a whole period may be less.
            if stamp and not stamp.microsecond:
                time = min(time + 1, now)
            points = self._points[name_metric(datum.namespace, datum.name, datum.dimensions)]
            if isinstance(datum, MetricDatum):
                points.append((time, datum.value))
            else:
                # Of values that were sent as a sum, only the mean is used.
                count = int(datum.sample_count)
                points.extend([(time, datum.sum / count)] * count)

    def _set_state(self, alarm: Alarm, now: float) -> bool:
        """Set one alarm's state, and tell whether it is another one."""
        points = self._points[name_metric(alarm.namespace, alarm.metric_name, alarm.dimensions)]
        length = int(alarm.period) * self._pace
        periods: list[float | None] = []
        for place in range(int(alarm.evaluation_periods)):
            end = now - place * length
            values = [value for time, value in points if end - length < time <= end]
            periods.append(compute_statistic(alarm, values) if values else None)
        # Moto says OK of an alarm that was never looked at.
        if alarm.state_reason.startswith("Unchecked"):
            alarm.state_value = NO_DATA
        state = decide_state(alarm, periods, alarm.state_value)
        changed = state != alarm.state_value
        if changed:
            reason = f"Of the last {len(periods)} periods, newest first: {periods}; threshold {alarm.threshold}."
            alarm.update_state(reason, json.dumps({"recentDatapoints": periods, "threshold": alarm.threshold}), state)
        return changed
