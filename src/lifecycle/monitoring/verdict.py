"""The monitor's verdict: a pure decision from what was measured."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lifecycle.metric_names import is_lower_better
from lifecycle.monitoring.drift import Drift
from lifecycle.params import MonitorParams
from lifecycle.views.numbers import format_number, format_share

OK, DRIFT, DEGRADED, STALE, TOO_LITTLE_DATA = "ok", "drift", "degraded", "stale", "too_little_data"
# The worst first: the verdict is the first one that has a reason.
ORDER = (STALE, DEGRADED, DRIFT, TOO_LITTLE_DATA)
Figures = Mapping[str, Mapping[str, float | None]]


def decide(
    until: datetime,
    judged: Mapping[str, Any] | None,
    drifts: list[Drift],
    broken_share: float | None,
    params: MonitorParams,
) -> tuple[str, list[str]]:
    """Decide how production stands.

    Parameters
    ----------
    until : datetime
        When that is asked, in UTC.
    judged : mapping or None
        The version that is judged: ``last``, ``predictions``, ``measured`` (labelled rows) and ``metrics``, of which
        the first one decides; None where none predicted.
    drifts : list of Drift
        Empty where too few rows were there to measure.
    broken_share : float or None
    params : MonitorParams

    Returns
    -------
    tuple of str and list of str
        One of ``ok``, ``drift``, ``degraded``, ``stale`` and ``too_little_data``, and the reasons, the worst first.
    """
    found: dict[str, list[str]] = {
        STALE: _find_silence(until, judged, params),
        DEGRADED: [*_find_worsening(judged, params), *_find_breaking(broken_share, params)],
        DRIFT: [_describe_drift(drift, params) for drift in drifts if drift.drifted],
        TOO_LITTLE_DATA: _find_lack(judged, params),
    }
    verdict = next((name for name in ORDER if found[name]), OK)
    return verdict, [reason for name in ORDER for reason in found[name]]


def _find_silence(until: datetime, judged: Mapping[str, Any] | None, params: MonitorParams) -> list[str]:
    """Say since when nothing was predicted, if that is too long."""
    if judged is None:
        return [f"no prediction of a known version in the last {params.window_days:g} days"]
    hours = (until - datetime.fromisoformat(judged["last"])).total_seconds() / 3600
    if hours <= params.max_silence_hours:
        return []
    return [
        f"the last prediction is {format_number(hours)} hours old; at most {params.max_silence_hours:g} are fresh"
    ]


def _find_worsening(judged: Mapping[str, Any] | None, params: MonitorParams) -> list[str]:
    """Say how much worse the first metric is than it was in the test, if even the interval's better end is."""
    name, row = next(iter(judged["metrics"].items())) if judged and judged["metrics"] else ("", {})
    if not row or None in (row["low"], row["high"], row["tested"]) or judged["measured"] < params.min_rows:
        return []
    sign, nearest = (1, row["low"]) if is_lower_better(name) else (-1, row["high"])
    if sign * (nearest - row["tested"]) <= params.tolerance * abs(row["tested"]):
        return []
    interval = f"{format_number(row['low'])} to {format_number(row['high'])}"
    return [
        f"{name} is {format_number(row['value'])} ({interval}) on {format_number(judged['measured'])} labels, "
        f"and was {format_number(row['tested'])} in the test; {format_share(params.tolerance)} more is allowed"
    ]


def _find_breaking(broken_share: float | None, params: MonitorParams) -> list[str]:
    """Say which share of the requests broke, if it is too large."""
    if broken_share is None or broken_share <= params.max_broken_share:
        return []
    allowed = format_share(params.max_broken_share)
    return [f"{format_share(broken_share)} of the requests broke; at most {allowed} is allowed"]


def _describe_drift(drift: Drift, params: MonitorParams) -> str:
    """Say how far a value drifted."""
    missing = f"{format_share(drift.missing)} missing, {format_share(drift.base_missing)} in training"
    if drift.psi is None:
        return f"{drift.name} drifted: {missing}"
    return (
        f"{drift.name} drifted: {format_number(drift.distance)} standard deviations, stability index "
        f"{format_number(drift.psi)} ({missing}); {params.max_distance:g} and {params.max_psi:g} "
        "beyond chance are allowed"
    )


def _find_lack(judged: Mapping[str, Any] | None, params: MonitorParams) -> list[str]:
    """Say what there is too little of."""
    if judged is None:
        return []
    counts = {"predictions": (judged["predictions"], "drift"), "labels": (judged["measured"], "the error")}
    return [
        f"{format_number(count)} {kind} say too little of {of}; {format_number(params.min_rows)} are needed"
        for kind, (count, of) in counts.items()
        if count < params.min_rows
    ]
