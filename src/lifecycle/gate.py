"""The gate: may the challenger replace the champion? A decision, not a stage, because the champion moves.

Both predict the same test rows, and are compared pair by pair. The outcome is ``pass``, ``refuse`` (with reasons) or
``unchanged``. Exit code 0, or 1 when refused.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from scipy.stats import norm

from lifecycle.data.rows import read_rows
from lifecycle.errors import RefusedError, run
from lifecycle.metrics import Metric, Predictions, bootstrap_interval, is_lower_better, load_metrics
from lifecycle.numbers import format_number, format_share
from lifecycle.params import EvaluateParams, GateParams, Params, read_params
from lifecycle.paths import METRICS, ONNX, TEST, TRAIN, VERDICT
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.registry import find_champion
from lifecycle.repository import find_hash, hash_file, read_lock
from lifecycle.seam import Columns

PASS, REFUSE, UNCHANGED = "pass", "refuse", "unchanged"
# Single predictions timed, after as many to warm up.
LATENCY_CALLS = 300

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """How much worse the challenger is, as a share of the champion's figure (negative: better), and how surely."""

    where: str
    champion: float
    challenger: float
    worse_by: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the gate decided and why; ``notes`` say what a person should know of a model that passed."""

    outcome: str
    champion: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """All that a decision is made of."""

    challenger: Predictions
    champion: Predictions
    champion_is_baseline: bool
    slices: Columns
    latency_ms: float
    size_mb: float


def measure_latency(predictor: Predictor, X: np.ndarray) -> float:
    """Measure the median time of one prediction at a time.

    Parameters
    ----------
    predictor : Predictor
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    float
        Milliseconds, on this machine.
    """
    times = []
    for call in range(2 * LATENCY_CALLS):
        row = X[call % len(X)][None, :]
        start = time.perf_counter()
        predictor.predict(row)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[LATENCY_CALLS:])


def compare(
    metric: Metric,
    evidence: Evidence,
    where: str,
    rows: np.ndarray,
    confidence: float,
    params: EvaluateParams,
) -> Comparison:
    """Compare the two models on some of the rows, pair by pair.

    Parameters
    ----------
    metric : Metric
    evidence : Evidence
    where : str
        What the rows are called in a reason.
    rows : ndarray of shape (n_rows,)
        Row numbers.
    confidence : float
        That each of the two bounds holds by itself.
    params : EvaluateParams

    Returns
    -------
    Comparison
        Bounds from the paired bootstrap's standard error. Source: Efron and Tibshirani, An Introduction to the
        Bootstrap, 1993, chapter 13.
    """
    sign = 1 if metric.lower_is_better else -1
    champion = metric.measure_rows(evidence.champion, rows)
    challenger = metric.measure_rows(evidence.challenger, rows)
    scale = sign / abs(champion) if champion else float(sign)

    def worse_by(chosen: np.ndarray) -> float:
        drawn = rows[chosen]
        gap = metric.measure_rows(evidence.challenger, drawn) - metric.measure_rows(evidence.champion, drawn)
        return scale * gap

    _, _, spread = bootstrap_interval(worse_by, len(rows), params.confidence, params.resamples, params.seed)
    middle = scale * (challenger - champion)
    margin = float(norm.ppf(confidence)) * spread
    return Comparison(where, champion, challenger, middle, middle - margin, middle + margin)


def compare_slices(metric: Metric, evidence: Evidence, params: EvaluateParams) -> list[Comparison]:
    """Compare the two models on every slice that has enough rows.

    The confidence is shared out among the slices (Bonferroni), so that many slices do not make a false alarm likely.
    """
    found = [
        (f"{name} {group}", np.flatnonzero(labels == group))
        for name, labels in evidence.slices.items()
        for group in np.unique(labels)
    ]
    judged = [(where, rows) for where, rows in found if len(rows) >= params.min_slice_rows]
    confidence = 1 - (1 - params.confidence) / max(len(judged), 1)
    return [compare(metric, evidence, where, rows, confidence, params) for where, rows in judged]


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
    overall = compare(
        metrics[0], evidence, "overall", np.arange(len(evidence.challenger.target)), params.confidence, params
    )
    slices = compare_slices(metrics[0], evidence, params) if not evidence.champion_is_baseline else []
    reasons, notes = judge_overall(metrics[0].name, overall, evidence.champion_is_baseline, gate.tolerance)
    reasons += [
        f"{metrics[0].name} on slice {describe(slice_)}; slice_tolerance is {format_share(gate.slice_tolerance)}."
        for slice_ in slices
        if slice_.low > gate.slice_tolerance
    ]
    reasons += judge_limits(metrics, evidence, gate)
    figures = {
        "champion": overall.champion,
        "challenger": overall.challenger,
        "worse_by": overall.worse_by,
        "low": overall.low,
        "high": overall.high,
        "latency_ms": evidence.latency_ms,
        "size_mb": evidence.size_mb,
    }
    figures = {key: float(f"{value:.6g}") for key, value in figures.items()}
    return Verdict(REFUSE if reasons else PASS, champion, tuple(reasons), tuple(notes), figures)


def judge_overall(
    metric: str, overall: Comparison, is_baseline: bool, tolerance: float
) -> tuple[list[str], list[str]]:
    """Judge the comparison over all rows; return reasons to refuse, and notes."""
    if is_baseline:
        if overall.high < 0:
            return [], ["There is no champion yet; the challenger is better than the baseline."]
        return [f"{metric} {describe(overall)}: not surely better than the baseline."], []
    if overall.low > tolerance:
        return [f"{metric} {describe(overall)}; tolerance is {format_share(tolerance)}."], []
    if overall.high <= 0:
        return [], [f"{metric} {describe(overall)}."]
    if overall.high <= tolerance:
        return [], [
            f"{metric} {describe(overall)}: as good, within the tolerance of {format_share(tolerance)}."
        ]
    return [], [f"{metric} {describe(overall)}: the data cannot tell which is better."]


def judge_limits(metrics: list[Metric], evidence: Evidence, gate: GateParams) -> list[str]:
    """Hold the challenger against the limits that do not depend on the champion."""
    reasons = []
    for metric in metrics:
        if metric.name in gate.limits:
            value, limit = metric.measure(evidence.challenger), gate.limits[metric.name]
            # Written so that NaN is refused too.
            if not (value <= limit if is_lower_better(metric.name) else value >= limit):
                reasons.append(
                    f"{metric.name} is {format_number(value)}; the limit is {format_number(limit)}."
                )
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


def describe(comparison: Comparison) -> str:
    """Say a comparison in words."""
    way = "worse" if comparison.worse_by > 0 else "better"
    low, high = sorted([abs(comparison.low), abs(comparison.high)])
    bounds = f"{format_share(low)} to {format_share(high)}"
    if comparison.low < 0 < comparison.high:
        bounds = f"{format_share(-comparison.low)} better to {format_share(comparison.high)} worse"
    return (
        f"{comparison.where} {format_number(comparison.champion)} -> {format_number(comparison.challenger)}, "
        f"{format_share(abs(comparison.worse_by))} {way} ({bounds})"
    )


def judge(base: str | None, params: Params) -> Verdict:
    """Compare out/model.onnx with the champion, or with the baseline where there is none."""
    md5 = find_hash(read_lock(None), str(ONNX))
    if not ONNX.exists() or hash_file(ONNX) != md5:
        raise RefusedError(f"{ONNX} is not what dvc.lock names ({md5}). Make or fetch it with: make pipeline")
    champion = find_champion(params.registry.name, base)
    if champion and champion.model_hash == md5:
        return Verdict(UNCHANGED, champion.name)
    # What only a comparison needs is imported here: most runs of the pipeline change no model.
    from lifecycle.champion import predict_champion  # pylint: disable=import-outside-toplevel
    from lifecycle.evaluate import predict_baseline, predict_rows  # pylint: disable=import-outside-toplevel

    domain = params.load_domain()
    predictor, test = load_predictor(ONNX), read_rows(TEST)
    made = predict_rows(predictor, test)
    if champion:
        former = predict_champion(champion, test, TEST, params.domain)
    else:
        former = predict_baseline(read_rows(TRAIN), test, predictor.classes)
    evidence = Evidence(
        challenger=made,
        champion=former,
        champion_is_baseline=champion is None,
        slices=domain.compute_slices(test.columns),
        latency_ms=measure_latency(predictor, test.X),
        size_mb=ONNX.stat().st_size / 1e6,
    )
    metrics = load_metrics(params.evaluate.metrics, domain)
    return decide_promotion(
        metrics, evidence, params.gate, params.evaluate, champion.name if champion else "baseline"
    )


def format_metrics(measured: dict[str, dict[str, float]]) -> str:
    """Lay the model's figures out beside the baseline's, for a terminal of 80 columns."""
    rows = [("metric", "", "model", "interval", "baseline")]
    for name, figures in measured.items():
        interval = f"{format_number(figures['low'])} to {format_number(figures['high'])}"
        arrow = "↓" if is_lower_better(name) else "↑"
        rows.append(
            (name, arrow, format_number(figures["value"]), interval, format_number(figures["baseline"]))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def format_verdict(verdict: Verdict) -> str:
    """Say the verdict, its reasons and its notes, a line each."""
    lines = [f"gate: {verdict.outcome} (against {verdict.champion})"]
    return "\n".join([*lines, *(f"  - {line}" for line in (*verdict.reasons, *verdict.notes))])


def main(argv: Sequence[str] | None = None) -> int:
    """Judge out/model.onnx; exit 1 when it is refused."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.gate", description=main.__doc__)
    parser.add_argument("--base", help="revision whose model is the champion while none is registered")
    arguments = parser.parse_args(argv)
    params = read_params()
    print(format_metrics(json.loads(METRICS.read_text(encoding="utf-8"))))
    verdict = judge(arguments.base, params)
    print(format_verdict(verdict))
    VERDICT.write_text(json.dumps(asdict(verdict), indent=2) + "\n", encoding="utf-8")
    return 1 if verdict.outcome == REFUSE else 0


if __name__ == "__main__":
    run(main)
