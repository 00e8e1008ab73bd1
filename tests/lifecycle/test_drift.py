"""Drift is what chance cannot explain."""

import numpy as np
import pytest
from readings import PARAMS

from lifecycle.data.profile import profile_values
from lifecycle.monitoring.drift import measure_drift
from lifecycle.params import MonitorParams

LIMITS = MonitorParams(**PARAMS["monitor"])
RNG = np.random.default_rng(4)
TRAINED = np.where(RNG.random(20_000) < 0.1, np.nan, RNG.lognormal(1, 0.5, 20_000))
BASE = profile_values(TRAINED)


def measure(values: np.ndarray, confidence: float = 0.99) -> tuple[bool, float | None]:
    """Measure drift; tell whether it is one, and the stability index."""
    found = measure_drift("size", BASE, values, confidence, LIMITS, seed=0)
    return found.drifted, found.psi


def test_few_rows_that_lie_far_off_by_chance_do_not_drift() -> None:
    found = [measure(RNG.choice(TRAINED, 25)) for _ in range(20)]

    assert max(psi or 0 for _, psi in found) > LIMITS.max_psi
    assert not any(drifted for drifted, _ in found)


@pytest.mark.parametrize("rows", [500, 50_000])
@pytest.mark.parametrize(
    "move",
    [lambda x: x * 1.5, lambda x: np.where(np.arange(len(x)) % 2, np.nan, x), lambda x: np.full(len(x), np.nan)],
    ids=["larger", "half missing", "all missing"],
)
def test_values_that_moved_drift(rows, move) -> None:
    assert measure(move(RNG.choice(TRAINED, rows)))[0]


def test_values_like_those_of_training_do_not_drift() -> None:
    assert not any(measure(RNG.choice(TRAINED, rows))[0] for rows in (30, 300, 3000, 30_000))


def test_value_that_was_always_missing_and_still_is_does_not_drift() -> None:
    nothing = np.full(100, np.nan)

    found = measure_drift("size", profile_values(nothing), nothing, 0.99, LIMITS, seed=0)

    assert (found.distance, found.psi, found.drifted) == (None, None, False)
