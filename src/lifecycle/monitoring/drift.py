"""How far live values lie from those of training, and how far chance alone would take as many of them."""

from dataclasses import dataclass

import numpy as np

from lifecycle.data.profile import Profile, measure_distance, measure_stability, profile_values
from lifecycle.params import MonitorParams
from lifecycle.views.numbers import round_figure

# More rows make chance no smaller than is worth to be known.
MOST_DRAWN = 10_000
RESAMPLES = 200


@dataclass(frozen=True)
class Drift:  # pylint: disable=too-many-instance-attributes  # the columns of one table
    """Effect sizes of one value, and what chance makes of them; None where they are undefined."""

    name: str
    distance: float | None
    distance_noise: float | None
    psi: float | None
    psi_noise: float | None
    missing: float
    base_missing: float
    drifted: bool


def measure_drift(
    name: str, base: Profile, values: np.ndarray, confidence: float, params: MonitorParams, seed: int
) -> Drift:
    """Measure how far values lie from a profile.

    Parameters
    ----------
    name : str
    base : dict
        The reference, as `lifecycle.data.profile.profile_values` makes it.
    values : ndarray of shape (n_rows,)
        NaN is missing.
    confidence : float
        That chance alone stays below the noise.
    params : MonitorParams
    seed : int

    Returns
    -------
    Drift
        Wasserstein's distance in the base's standard deviations, and the population stability index. It drifted
        if one of them exceeds its limit by more than chance, which is measured on samples of the same size from the
        base itself. Source: the parametric bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap,
        1993, chapter 6.
    """
    here = profile_values(values)
    distance, psi = measure_distance(base, here), measure_stability(base, here)
    noises = _measure_noise(base, len(values), confidence, seed)
    limits = (params.max_distance, params.max_psi)
    drifted = [
        effect is not None and noise is not None and effect - noise > limit
        for effect, noise, limit in zip((distance, psi), noises, limits, strict=True)
    ]
    # A value that is nowhere any more, or was nowhere in training, has no effect size.
    vanished = (here["quantiles"] is None) != (base["quantiles"] is None)
    effects = [None if effect is None else round_figure(effect) for effect in (distance, noises[0], psi, noises[1])]
    return Drift(name, *effects, here["missing"], base["missing"], vanished or any(drifted))


def _measure_noise(base: Profile, n_rows: int, confidence: float, seed: int) -> tuple[float | None, float | None]:
    """Measure the distance and the stability index that samples of the base itself reach by chance."""
    if base["quantiles"] is None:
        return None, None
    rng = np.random.default_rng(seed)
    steps = np.array(base["quantiles"])
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.choice(steps, min(n_rows, MOST_DRAWN))
        drawn[rng.random(len(drawn)) < base["missing"]] = np.nan
        here = profile_values(drawn)
        found.append((measure_distance(base, here), measure_stability(base, here)))
    columns = (np.array([value for value in column if value is not None]) for column in zip(*found, strict=True))
    distance, psi = (float(np.quantile(column, confidence)) if column.size else None for column in columns)
    return distance, psi
