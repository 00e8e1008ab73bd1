"""What a version's log comes to: its metrics on labels that came later, beside those that it had in the test."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lifecycle.metrics import Metric, Predictions, bootstrap_metrics
from lifecycle.monitoring.groups import Group
from lifecycle.monitoring.reference import Reference
from lifecycle.params import EvaluateParams
from lifecycle.views.numbers import round_figure

# A figure of fewer labels says nothing, not even with an interval.
LEAST_ROWS = 30


@dataclass(frozen=True)
class Live:
    """A group with its labelled rows in order of time, and its reference."""

    group: Group
    made: Predictions
    time: np.ndarray
    reference: Reference


def describe_version(live: Live, metrics: list[Metric], judged: bool, params: EvaluateParams) -> dict[str, Any]:
    """Describe what a version did under a variant.

    Parameters
    ----------
    live : Live
    metrics : list of Metric
        The first one decides.
    judged : bool
        Whether the verdict is about it.
    params : EvaluateParams

    Returns
    -------
    dict
        Serialisable as JSON; times in UTC.
    """
    group = live.group
    return {
        "version": group.version,
        "variant": group.variant,
        "judged": judged,
        "predictions": group.predictions,
        "labelled": group.labelled,
        "measured": len(live.made.target),
        "first": group.first.isoformat(timespec="seconds"),
        "last": group.last.isoformat(timespec="seconds"),
        "label_lag_hours": _round(group.label_lag_hours),
        "latency_ms": {"p50": _round(group.p50_ms), "p99": _round(group.p99_ms)},
        "metrics": _measure_metrics(live, metrics, params),
        "days": _describe_days(live, metrics[0]),
    }


def _measure_metrics(live: Live, metrics: list[Metric], params: EvaluateParams) -> dict[str, dict[str, float | None]]:
    """Measure each metric with its bootstrap interval; None where it is undefined or the labels are too few."""
    if len(live.made.target) < LEAST_ROWS:
        return {}
    measured = {}
    intervals = bootstrap_metrics(metrics, live.made, params.confidence, params.resamples, params.seed)
    for metric, (low, high, _) in zip(metrics, intervals, strict=True):
        row = {"value": metric.measure(live.made), "low": low, "high": high}
        row["tested"] = live.reference.metrics.get(metric.name)
        measured[metric.name] = {key: _round(value) for key, value in row.items()}
    return measured


def _describe_days(live: Live, metric: Metric) -> list[dict[str, Any]]:
    """Count each day's predictions and labels, and measure a metric on those labels that are measured."""
    dates = live.time.astype("datetime64[D]")
    days = []
    for day in live.group.days:
        rows = np.flatnonzero(dates == np.datetime64(day.day))
        value = metric.measure_rows(live.made, rows) if len(rows) >= LEAST_ROWS else None
        counts = {"day": day.day.isoformat(), "predictions": day.predictions, "labelled": day.labelled}
        days.append({**counts, "value": _round(value)})
    return days


def _round(value: float | None) -> float | None:
    """Round a figure; None where it is no finite number."""
    return round_figure(value) if value is not None and np.isfinite(value) else None
