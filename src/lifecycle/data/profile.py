"""What values look like, small enough for Git: so that two states can be compared without their rows."""

from typing import Any

import numpy as np

from lifecycle.views.numbers import round_figure

# One more than a hundred equal steps, both ends included.
QUANTILES = 101
# A bin is never emptier than half a step, or one value that is new would weigh infinitely much.
LEAST_SHARE = 0.5 / QUANTILES

Profile = dict[str, Any]


def profile_values(values: np.ndarray) -> Profile:
    """Profile values of shape (n_rows,); NaN is missing.

    Returns
    -------
    dict
        ``missing`` (share of the rows), ``std``, and ``quantiles`` of what is there, from the least value to the
        greatest; both are None where all is missing.
    """
    there = values[~np.isnan(values)].astype(np.float64)
    profile: Profile = {"missing": round_figure(1 - there.size / values.size) if values.size else 0.0}
    if not there.size:
        return {**profile, "std": None, "quantiles": None}
    # Values that occur, not means of two: a code between two codes is none.
    quantiles = np.quantile(there, np.linspace(0, 1, QUANTILES), method="inverted_cdf")
    return {**profile, "std": round_figure(there.std()), "quantiles": [round_figure(value) for value in quantiles]}


def measure_distance(base: Profile, here: Profile) -> float | None:
    """Measure Wasserstein's distance between two profiles, in standard deviations of the base; None if undefined.

    Source: for one dimension, it is the mean distance of the quantiles (Vallender, 1974).
    """
    if base["quantiles"] is None or here["quantiles"] is None or not base["std"]:
        return None
    return float(np.abs(np.subtract(here["quantiles"], base["quantiles"])).mean() / base["std"])


def measure_stability(base: Profile, here: Profile) -> float | None:
    """Measure the population stability index over the base's tenths; None if undefined.

    Source: Siddiqi, Credit Risk Scorecards, 2006; above 0.25 a population is taken to have shifted.
    """
    if base["quantiles"] is None or here["quantiles"] is None:
        return None
    # Codes fill several tenths with one value; such tenths are one bin.
    edges = np.unique(base["quantiles"][:: QUANTILES // 10])
    expected, found = (_share_by_bin(profile, edges) for profile in (base, here))
    return float(((found - expected) * np.log(found / expected)).sum())


def _share_by_bin(profile: Profile, edges: np.ndarray) -> np.ndarray:
    """Compute the share of rows up to each edge, above the last one, and missing."""
    up_to = np.searchsorted(profile["quantiles"], edges, side="right") / QUANTILES
    shares = np.diff(up_to, prepend=0.0, append=1.0) * (1 - profile["missing"])
    return np.maximum([*shares, profile["missing"]], LEAST_SHARE)
