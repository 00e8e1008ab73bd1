"""What stands out in surveyed months: figures by column, feature and group, and how far months lie apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

from lifecycle.data.contract import Column, Contract
from lifecycle.data.profile import LEAST_SHARE, Profile, measure_distance, measure_stability
from lifecycle.exploration.sketch import Bins, Sketch, choose_bins, merge_sketches
from lifecycle.exploration.survey import ERROR, LOSS, SQUARE, TARGET, Month, Survey, add_up

# Of codes, each is a group by itself; a value that has more of them is a measure.
MOST_CODES = 1000


@dataclass(frozen=True)
class ColumnFinding:  # pylint: disable=too-many-instance-attributes  # what there is to say of one column
    """A column by month.

    Attributes
    ----------
    column : Column
    bins : Bins or None
        None where no clean row has a value.
    shares : ndarray of shape (n_months, n_bins)
        Of the month's clean rows that have a value.
    missing : ndarray of shape (n_months,)
        Share of all rows.
    broken : dict of str to ndarray of shape (n_months,)
        Share of all rows, by rule; rules that no row breaks are left out.
    means : ndarray of shape (n_months,)
        Of clean rows, NaN of texts.
    profiles : tuple of dict
        By month.
    stability, distance : ndarray of shape (n_months, n_months)
        From the month of the row to that of the column; NaN where undefined.
    """

    column: Column
    bins: Bins | None
    shares: np.ndarray
    missing: np.ndarray
    broken: dict[str, np.ndarray]
    means: np.ndarray
    profiles: tuple[Profile, ...]
    stability: np.ndarray
    distance: np.ndarray

    def find_farthest(self) -> tuple[int, int] | None:
        """Find the two months, the earlier first, that lie farthest apart by the stability index."""
        later = np.triu(np.nan_to_num(self.stability, nan=-1.0), 1)
        first, second = divmod(int(np.argmax(later)), len(later))
        return (first, second) if later[first, second] > 0 else None


@dataclass(frozen=True)
class FeatureFinding:
    """A feature by bin: clean rows, the target's mean, predicted rows and their mean loss (NaN where too few).

    ``explained`` is the share of the target's variance that lies between the bins.
    """

    name: str
    bins: Bins
    rows: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    loss: np.ndarray
    explained: float


@dataclass(frozen=True)
class Group:  # pylint: disable=too-many-instance-attributes  # the columns of one table
    """Predicted rows that have a slice or a code in common; the mean loss is sure to its ``margin``."""

    kind: str
    label: str
    rows: int
    loss: float
    margin: float
    error: float
    target: float


@dataclass(frozen=True)
class Findings:
    """All that the page tells; ``overall`` is None without a model, ``groups`` are ordered, the worst first."""

    months: tuple[Month, ...]
    total: Survey
    columns: tuple[ColumnFinding, ...]
    features: tuple[FeatureFinding, ...]
    groups: tuple[Group, ...]
    overall: Group | None


def find_all(months: Sequence[Month], contract: Contract, bins: int, min_rows: int, confidence: float) -> Findings:
    """Find what stands out.

    Parameters
    ----------
    months : sequence of Month
        The oldest first, at least one.
    contract : Contract
    bins : int
        How many a value may have.
    min_rows : int
        Of fewer, no error is told.
    confidence : float
        Coverage of a group's interval.

    Returns
    -------
    Findings
        Errors by feature and by group are of the months that the model did not learn from.
    """
    total = add_up(month.survey for month in months)
    unseen = [month.survey for month in months if not month.trained_on and month.predicted[0]]
    errors = add_up(unseen) if unseen else None
    spread = total.columns[contract.target].profile()["std"]
    groups = _list_groups(errors, min_rows, confidence) if errors else []
    whole = sum(month.predicted for month in months if not month.trained_on) if errors else None
    features = [
        _describe_feature(name, sketch, errors and errors.errors[name], spread, bins, min_rows)
        for name, sketch in total.features.items()
        if sketch.keys.size
    ]
    return Findings(
        months=tuple(months),
        total=total,
        columns=tuple(_describe_column(column, months, total, bins) for column in contract.columns),
        features=tuple(sorted(features, key=lambda feature: -feature.explained)),
        groups=tuple(sorted(groups, key=lambda group: group.margin - group.loss)),
        overall=None if whole is None else make_group("all", "all", whole, confidence),
    )


def _describe_column(column: Column, months: Sequence[Month], total: Survey, bins: int) -> ColumnFinding:
    """Describe a column by month."""
    pooled = total.columns[column.name]
    chosen = choose_bins(pooled, bins) if pooled.keys.size else None
    sketches = [month.survey.columns[column.name] for month in months]
    rows = np.array([month.survey.rows for month in months])
    profiles = tuple({} if sketch.is_text else sketch.profile() for sketch in sketches)
    measure = _measure_texts if pooled.is_text else measure_stability
    states: Sequence[Any] = sketches if pooled.is_text else profiles
    broken = {
        reason: np.array([month.survey.broken[reason] for month in months]) / rows
        for reason, count in total.broken.items()
        if count and reason.startswith(f"{column.name} ")
    }
    return ColumnFinding(
        column=column,
        bins=chosen,
        shares=np.stack([share_out(chosen, sketch) for sketch in sketches]) if chosen else np.zeros((len(months), 0)),
        missing=np.array([month.survey.missing[column.name] for month in months]) / rows,
        broken=broken,
        means=np.array(
            [np.nan if sketch.is_text else _divide(sketch.sums[1], sketch.sums[0]) for sketch in sketches]
        ),
        profiles=profiles,
        stability=_compare(states, measure),
        distance=_compare(states, lambda *_: None) if pooled.is_text else _compare(profiles, measure_distance),
    )


def share_out(bins: Bins, sketch: Sketch) -> np.ndarray:
    """Give the share of rows with a value in each bin, of shape (n_bins,)."""
    counts = bins.add_up(sketch)[0]
    return counts / max(counts.sum(), 1)


def _divide(sums: np.ndarray, rows: np.ndarray) -> float:
    """Compute a mean; NaN of nothing."""
    return float(sums.sum() / rows.sum()) if rows.sum() else np.nan


def _compare(states: Sequence[Any], measure: Callable[[Any, Any], float | None]) -> np.ndarray:
    """Measure each pair of months, the earlier as the base."""
    found = np.full((len(states), len(states)), np.nan)
    for base, later in combinations(range(len(states)), 2):
        effect = measure(states[base], states[later])
        found[base, later] = np.nan if effect is None else effect
    return found


def _measure_texts(base: Sketch, here: Sketch) -> float | None:
    """Measure the population stability index over texts, and over their absence; None if undefined."""
    if not base.rows or not here.rows:
        return None
    bins = choose_bins(merge_sketches([base, here]), len(base.keys) + len(here.keys))
    shares = [np.append(bins.add_up(one)[0], one.missing[0]) / one.rows for one in (base, here)]
    expected, found = (np.maximum(share, LEAST_SHARE) for share in shares)
    return float(((found - expected) * np.log(found / expected)).sum())


def _describe_feature(
    name: str, sketch: Sketch, errors: Sketch | None, spread: float, bins: int, min_rows: int
) -> FeatureFinding:
    """Describe a feature by bin."""
    chosen = choose_bins(sketch, bins)
    rows, _, target = chosen.add_up(sketch)
    made = np.zeros((TARGET + 1, len(rows))) if errors is None else chosen.add_up(errors)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = target / rows
        loss = np.where(made[0] >= min_rows, made[LOSS] / made[0], np.nan)
    # Rows without a value are one more bin.
    counts, sums = np.append(rows, sketch.missing[0]), np.append(target, sketch.missing[2])
    there = counts > 0
    centred = (sums[there] / counts[there] - sums.sum() / counts.sum()) ** 2
    explained = float((counts[there] * centred).sum() / counts.sum() / spread**2) if spread else 0.0
    return FeatureFinding(name, chosen, rows, means, made[0], loss, explained)


def _list_groups(errors: Survey, min_rows: int, confidence: float) -> list[Group]:
    """List the slices, and the codes of the features that have few enough of them."""
    sketches = dict(errors.slices)
    sketches |= {name: one for name, one in errors.errors.items() if one.whole and 2 < len(one.keys) <= MOST_CODES}
    return [
        make_group(kind, label if sketch.is_text else f"{label:g}", sums, confidence)
        for kind, sketch in sketches.items()
        for label, sums in zip(sketch.values(), sketch.sums.T, strict=True)
        if sums[0] >= min_rows
    ]


def make_group(kind: str, label: str, sums: np.ndarray, confidence: float) -> Group:
    """Make a group of its sums of shape (n_sums,); the interval of its mean loss is a normal one."""
    rows = sums[0]
    loss = sums[LOSS] / rows
    margin = NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(max(sums[SQUARE] / rows - loss**2, 0) / rows)
    error, target = sums[ERROR] / rows, sums[TARGET] / rows
    return Group(kind, label, int(rows), float(loss), float(margin), float(error), float(target))
