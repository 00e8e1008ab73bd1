"""The rows that a model learnt from: a random part of them, and those most like one row; never a month whole."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from lifecycle.data.contract import Contract
from lifecycle.prepare import stream_clean
from lifecycle.seam import Columns, Domain

Batches = Callable[[], Iterator[Columns]]


@dataclass(frozen=True)
class Neighbours:
    """The rows that are most alike, the nearest first; ``distance`` of shape (n_neighbours,), ``rows`` searched."""

    columns: Columns
    distance: np.ndarray
    rows: int


def stream_months(paths: Mapping[str, Path], contract: Contract, domain: Domain) -> Iterator[Columns]:
    """Stream the clean rows of months, as the time, the target and the columns known at the start."""
    for month, path in paths.items():
        # What is built of a batch here is the batch itself.
        for built, _ in stream_clean(path, month, contract, domain, lambda columns: columns):  # type: ignore
            yield built  # type: ignore[misc]


def sample_rows(batches: Iterator[Columns], size: int, seed: int) -> Columns:
    """Draw rows at random, each with the same chance; fewer where there are not as many."""
    rng = np.random.default_rng(seed)
    kept: Columns = {}
    ranks = np.empty(0)
    for columns in batches:
        drawn = rng.random(count_rows(columns))
        chosen = np.argsort(drawn, kind="stable")[:size]
        kept, ranks = _keep_least(kept, ranks, take_rows(columns, chosen), drawn[chosen], size)
    return kept


def find_neighbours(
    batches: Iterator[Columns],
    compute: Callable[[Columns], np.ndarray],
    row: np.ndarray,
    scale: np.ndarray,
    size: int,
) -> Neighbours:
    """Find the rows most like one.

    Parameters
    ----------
    batches : iterator of dict
    compute : callable
        From columns to features of shape (n_rows, n_features).
    row : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        What counts as one step of each feature; a missing value is one step from any that is there.
    size : int

    Returns
    -------
    Neighbours
        By Euclid's distance of the scaled features.
    """
    kept: Columns = {}
    distance, rows = np.empty(0), 0
    point = place_rows(row[None, :], row, scale)
    for columns in batches:
        rows += count_rows(columns)
        placed = place_rows(compute(columns), row, scale)
        if placed.size == 0:
            continue
        search = NearestNeighbors(n_neighbors=min(size, len(placed)), algorithm="brute").fit(placed)
        far, places = search.kneighbors(point)
        kept, distance = _keep_least(kept, distance, take_rows(columns, places[0]), far[0], size)
    return Neighbours(kept, distance, rows)


def place_rows(X: np.ndarray, row: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Place rows of shape (n_rows, n_features) around one of them, with a place of its own for what is missing."""
    steps = (X.astype(np.float64) - np.nan_to_num(row)) / scale
    return np.hstack([np.where(np.isnan(X) | np.isnan(row), 0.0, steps), np.isnan(X).astype(np.float64)])


def measure_scale(X: np.ndarray) -> np.ndarray:
    """Measure what counts as one step of each feature: its standard deviation, or one where it does not vary."""
    there = ~np.isnan(X)
    spread = np.array(
        [values[known].std() if known.any() else 0.0 for values, known in zip(X.T, there.T, strict=True)]
    )
    return np.where(spread > 0, spread, 1.0)


def _keep_least(
    kept: Columns, ranks: np.ndarray, more: Columns, others: np.ndarray, size: int
) -> tuple[Columns, np.ndarray]:
    """Keep the rows with the least ranks, in their order."""
    if not kept:
        return more, others
    joined = np.concatenate([ranks, others])
    order = np.argsort(joined, kind="stable")[:size]
    return {name: np.concatenate([kept[name], more[name]])[order] for name in kept}, joined[order]


def take_rows(columns: Columns, places: np.ndarray) -> Columns:
    """Take some rows."""
    return {name: values[places] for name, values in columns.items()}


def count_rows(columns: Columns) -> int:
    """Count the rows."""
    return len(next(iter(columns.values())))
