"""Sketches: counts and sums of rows by value, small whatever the number of rows, and merged by adding.

A number's bucket is the front of its 32-bit float: sign, exponent and nine bits of the mantissa. Whole numbers up to
1,024 are exact, any other number is known to two thousandths of itself, and the counts and sums of the buckets are
exact. Source of the idea: Masson, Rim and Lee, DDSketch, 2019, whose buckets are logarithmic as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa

from lifecycle.data.profile import QUANTILES, Profile

# Of the 32 bits, those that a bucket leaves aside.
DROPPED_BITS = 14
BUCKETS = 1 << (32 - DROPPED_BITS)
# Of texts, the most frequent are counted apart.
MOST_TEXTS = 1000
OTHERS = "(others)"


@dataclass(frozen=True)
class Sketch:
    """Sums by bucket, of shape (n_sums, n_buckets), in the order of ``keys``; the first sum is the number of rows.

    ``missing`` holds the same sums, of shape (n_sums,), of the rows without a value. Of numbers the second sum is
    that of the values, and ``whole`` tells whether all of them were whole and small enough to be exact.
    """

    keys: np.ndarray
    sums: np.ndarray
    missing: np.ndarray
    whole: bool = False

    @property
    def is_text(self) -> bool:
        """Tell whether the values are texts."""
        return self.keys.dtype.kind == "O"

    @property
    def rows(self) -> float:
        """Count the rows, those without a value included."""
        return float(self.sums[0].sum() + self.missing[0])

    def values(self) -> np.ndarray:
        """Give each bucket's mean value, or its text."""
        return self.keys if self.is_text else self.sums[1] / self.sums[0]

    def profile(self) -> Profile:
        """Profile the numbers, as `lifecycle.data.profile.profile_values` does of rows."""
        counts, values = self.sums[0], self.values()
        missing = self.missing[0] / self.rows if self.rows else 0.0
        if not counts.size:
            return {"missing": missing, "std": None, "quantiles": None}
        mean = self.sums[1].sum() / counts.sum()
        std = float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))
        ranks = np.linspace(0, 1, QUANTILES) * counts.sum()
        places = np.searchsorted(np.cumsum(counts), ranks, side="left")
        return {"missing": missing, "std": std, "quantiles": values[np.minimum(places, len(values) - 1)].tolist()}


def find_keys(values: np.ndarray) -> np.ndarray:
    """Give the bucket of each number of shape (n_rows,), none missing; buckets have the numbers' order."""
    with np.errstate(over="ignore"):
        # Adding nothing makes a negative zero a zero.
        bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> DROPPED_BITS


def find_borders(keys: np.ndarray) -> np.ndarray:
    """Give the least number of each bucket."""
    bits = keys.astype(np.int32) << DROPPED_BITS
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32).astype(np.float64)


def sketch_numbers(values: np.ndarray, *weights: np.ndarray) -> Sketch:
    """Sketch numbers of shape (n_rows,), NaN missing, with weights of the same shape that are summed by value."""
    there = ~np.isnan(values)
    known = values if there.all() else values[there]
    places = find_keys(known) + BUCKETS // 2
    counts = np.bincount(places, minlength=BUCKETS)
    used = np.flatnonzero(counts)
    rows = [known, *(weight[there] if known is not values else weight for weight in weights)]
    sums = np.stack([counts[used], *(np.bincount(places, row, BUCKETS)[used] for row in rows)]).astype(np.float64)
    missing = [float((~there).sum()), 0.0, *(float(weight[~there].sum()) for weight in weights)]
    exact = bool(np.all((known == np.rint(known)) & (np.abs(known) <= BUCKETS >> 8)))
    return Sketch((used - BUCKETS // 2).astype(np.int32), sums, np.array(missing), exact)


def sketch_texts(values: np.ndarray, *weights: np.ndarray) -> Sketch:
    """Sketch texts of shape (n_rows,), None missing, with weights of the same shape that are summed by text."""
    coded = pa.array(values, pa.string()).dictionary_encode()
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
    size = len(coded.dictionary) + 1
    sums = np.stack([np.bincount(codes, weight, size) for weight in (np.ones(len(values)), *weights)])
    names = np.array(coded.dictionary.to_pylist(), object)
    order = np.argsort(names)
    return _bound(Sketch(names[order], sums[:, :-1][:, order], sums[:, -1]))


def _bound(sketch: Sketch) -> Sketch:
    """Count the rarest texts together where there are too many."""
    if not sketch.is_text or len(sketch.keys) <= MOST_TEXTS:
        return sketch
    ranked = np.argsort(-sketch.sums[0], kind="stable")
    kept = np.sort(ranked[: MOST_TEXTS - 1])
    rest = Sketch(
        np.array([OTHERS], object), sketch.sums[:, ranked[MOST_TEXTS - 1 :]].sum(1)[:, None], 0 * sketch.missing
    )
    return merge_sketches([Sketch(sketch.keys[kept], sketch.sums[:, kept], sketch.missing), rest])


def merge_sketches(sketches: Sequence[Sketch]) -> Sketch:
    """Merge sketches of the same value, at least one: the result is that of all their rows."""
    return reduce(_merge, sketches)


def _merge(one: Sketch, other: Sketch) -> Sketch:
    """Merge two sketches."""
    keys = np.union1d(one.keys, other.keys)
    sums = np.zeros((len(one.sums), len(keys)))
    for sketch in (one, other):
        sums[:, np.searchsorted(keys, sketch.keys)] += sketch.sums
    return _bound(Sketch(keys, sums, one.missing + other.missing, one.whole and other.whole))


@dataclass(frozen=True)
class Bins:
    """Neighbouring buckets under one label; ``edges`` holds the key that each bin begins with, None of texts.

    ``exact`` tells whether each bin is one value.
    """

    edges: np.ndarray
    labels: tuple[str, ...]
    exact: bool

    def describe(self, place: int) -> str:
        """Say which values a bin holds."""
        if self.exact or isinstance(self.edges[place], str):
            return self.labels[place]
        if place == 0:
            return f"below {self.labels[1]}" if len(self.labels) > 1 else f"about {self.labels[0]}"
        last = place + 1 == len(self.labels)
        return f"{self.labels[place]} and more" if last else f"{self.labels[place]} to {self.labels[place + 1]}"

    def add_up(self, sketch: Sketch) -> np.ndarray:
        """Add a sketch's sums up, to shape (n_sums, n_bins); what lies before the first edge goes into its bin."""
        if sketch.is_text:
            found = {name: place for place, name in enumerate(self.edges)}
            places = np.array([found.get(key, len(self.edges) - 1) for key in sketch.keys], np.int64)
        else:
            places = np.maximum(np.searchsorted(self.edges, sketch.keys, side="right") - 1, 0)
        return np.stack([np.bincount(places, row, len(self.edges)) for row in sketch.sums])


def choose_bins(sketch: Sketch, most: int) -> Bins:
    """Choose bins for a value: one for each where there are few, else equal steps over what is not rare.

    Parameters
    ----------
    sketch : Sketch
        Of all rows, with at least one value.
    most : int
        How many bins there may be.

    Returns
    -------
    Bins
        The first and the last one also hold what lies beyond the 0.5th and the 99.5th percentile.
    """
    if sketch.is_text:
        ranked = np.argsort(-sketch.sums[0], kind="stable")
        kept = sketch.keys[ranked if len(ranked) <= most else ranked[: most - 1]]
        names = kept if len(kept) == len(sketch.keys) else np.append(kept[kept != OTHERS], OTHERS)
        return Bins(names, tuple(names), len(names) == len(sketch.keys))
    if len(sketch.keys) <= most:
        return Bins(sketch.keys, tuple(f"{value:.6g}" for value in sketch.values()), True)
    shares = np.cumsum(sketch.sums[0]) / sketch.sums[0].sum()
    low, high = sketch.values()[np.searchsorted(shares, [0.005, 0.995])]
    step = choose_step((high - low) / most, sketch.whole)
    start = np.floor(low / step) * step
    # One step less where the first one begins below the lowest; one at least where nearly all values are the same.
    edges = np.unique(find_keys(np.append(start, np.arange(start, high, step)[1:most])))
    return Bins(edges, tuple(f"{border:,.6g}" for border in find_borders(edges)), False)


def choose_step(least: float, is_whole: bool) -> float:
    """Choose the next larger step that people count in."""
    if least <= 0:
        return 1.0
    scale = 10 ** np.floor(np.log10(least))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * scale >= least * (1 - 1e-9)) * scale
    return float(max(np.ceil(step), 1) if is_whole else step)
