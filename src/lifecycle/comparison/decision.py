"""The gate's decision: a pure function of two models' predictions on the same rows."""

from dataclasses import asdict

import numpy as np

from lifecycle.comparison.evidence import Evidence
from lifecycle.comparison.paired import Comparison, compare, compare_slices
from lifecycle.comparison.verdict import PASS, REFUSE, Verdict
from lifecycle.metric_names import is_lower_better
from lifecycle.metrics import Metric
from lifecycle.params import EvaluateParams, GateParams
from lifecycle.views.numbers import format_number, format_share, round_figure


def decide_promotion(
    metrics: list[Metric], evidence: Evidence, gate: GateParams, params: EvaluateParams, champion: str
) -> Verdict:
    """Decide whether the challenger may replace the champion.

    Parameters
    ----------
    metrics : list of Metric
        The first one decides; the others may have limits.
    evidence : Evidence
    gate : GateParams
    params : EvaluateParams
    champion : str
        What the champion is called.

    Returns
    -------
    Verdict
        ``pass`` or ``refuse``.
    """
    metric, pair = metrics[0], evidence.pair
    rows = np.arange(len(pair.challenger.target))
    overall = compare(metric, pair, "overall", rows, params.confidence, params)
    reasons, notes = judge_overall(metric.name, overall, evidence.champion_is_baseline, gate.tolerance)
    if not evidence.champion_is_baseline:
        reasons += [
            f"{metric.name} {worse}; slice_tolerance is {format_share(gate.slice_tolerance)}."
            for worse in compare_slices(metric, pair, evidence.slices, params)
            if worse.low > gate.slice_tolerance
        ]
    reasons += judge_limits(metrics, evidence, gate)
    figures = {
        **{key: value for key, value in asdict(overall).items() if key != "where"},
        "latency_ms": evidence.latency_ms,
        "size_mb": evidence.size_mb,
    }
    figures = {key: round_figure(value) for key, value in figures.items()}
    return Verdict(REFUSE if reasons else PASS, champion, tuple(reasons), tuple(notes), figures)


def judge_overall(
    metric: str, overall: Comparison, is_baseline: bool, tolerance: float
) -> tuple[list[str], list[str]]:
    """Judge the comparison over all rows; return reasons to refuse, and notes."""
    said = f"{metric} {overall}"
    if is_baseline:
        if overall.high < 0:
            return [], [f"There is no champion yet; {said} than the baseline."]
        return [f"{said}: not surely better than the baseline."], []
    # Written so that NaN is refused too.
    if not overall.low <= tolerance:
        return [f"{said}; tolerance is {format_share(tolerance)}."], []
    if overall.high <= 0:
        return [], [f"{said}."]
    if overall.high <= tolerance:
        return [], [f"{said}: as good, within the tolerance of {format_share(tolerance)}."]
    return [], [f"{said}: the data cannot tell which is better."]


def judge_limits(metrics: list[Metric], evidence: Evidence, gate: GateParams) -> list[str]:
    """Hold the challenger against the limits that do not depend on the champion."""
    reasons = []
    for metric in metrics:
        if metric.name in gate.limits:
            value, limit = metric.measure(evidence.pair.challenger), gate.limits[metric.name]
            # Written so that NaN is refused too.
            if not (value <= limit if is_lower_better(metric.name) else value >= limit):
                reasons.append(f"{metric.name} is {format_number(value)}; the limit is {format_number(limit)}.")
    if evidence.latency_ms > gate.max_latency_ms:
        reasons.append(
            f"one prediction takes {format_number(evidence.latency_ms)} ms; "
            f"max_latency_ms is {format_number(gate.max_latency_ms)}."
        )
    if evidence.size_mb > gate.max_size_mb:
        reasons.append(
            f"the model has {format_number(evidence.size_mb)} MB; max_size_mb is {format_number(gate.max_size_mb)}."
        )
    return reasons
