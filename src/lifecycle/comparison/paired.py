"""Compare two models on the same rows, pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from lifecycle.metrics import Metric, Predictions, bootstrap_interval
from lifecycle.params import EvaluateParams
from lifecycle.seam import Columns
from lifecycle.views.numbers import format_number, format_share


@dataclass(frozen=True)
class Pair:
    """Two models' predictions of the same rows."""

    challenger: Predictions
    champion: Predictions


@dataclass(frozen=True)
class Comparison:
    """How much worse the challenger is, as a share of the champion's figure (negative: better), and how surely."""

    where: str
    champion: float
    challenger: float
    worse_by: float
    low: float
    high: float

    def __str__(self) -> str:
        way = "worse" if self.worse_by > 0 else "better"
        low, high = sorted([abs(self.low), abs(self.high)])
        bounds = f"{format_share(low)} to {format_share(high)}"
        if self.low < 0 < self.high:
            bounds = f"{format_share(-self.low)} better to {format_share(self.high)} worse"
        return (
            f"{self.where} {format_number(self.champion)} -> {format_number(self.challenger)}, "
            f"{format_share(abs(self.worse_by))} {way} ({bounds})"
        )


def compare(
    metric: Metric, pair: Pair, where: str, rows: np.ndarray, confidence: float, params: EvaluateParams
) -> Comparison:
    """Compare the two models on some of the rows.

    Parameters
    ----------
    metric : Metric
    pair : Pair
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
        Bootstrap, 1993, chapters 6 and 13.
    """
    champion = metric.measure_rows(pair.champion, rows)
    challenger = metric.measure_rows(pair.challenger, rows)
    scale = (1 if metric.lower_is_better else -1) / (abs(champion) or 1)

    def measure_gap(chosen: np.ndarray) -> float:
        drawn = rows[chosen]
        return scale * (metric.measure_rows(pair.challenger, drawn) - metric.measure_rows(pair.champion, drawn))

    _, _, spread = bootstrap_interval(measure_gap, len(rows), params.confidence, params.resamples, params.seed)
    middle = scale * (challenger - champion)
    margin = float(norm.ppf(confidence)) * spread
    return Comparison(where, champion, challenger, middle, middle - margin, middle + margin)


def compare_slices(metric: Metric, pair: Pair, slices: Columns, params: EvaluateParams) -> Iterator[Comparison]:
    """Compare the two models on every slice that has enough rows.

    The confidence is shared out among the slices (Bonferroni), so that many slices do not make a false alarm likely.
    """
    found = [
        (f"{name} {group}", np.flatnonzero(labels == group))
        for name, labels in slices.items()
        for group in np.unique(labels)
    ]
    judged = [(where, rows) for where, rows in found if len(rows) >= params.min_slice_rows]
    confidence = 1 - (1 - params.confidence) / max(len(judged), 1)
    for where, rows in judged:
        yield compare(metric, pair, where, rows, confidence, params)
