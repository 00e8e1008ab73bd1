"""How far the values of two states lie apart."""

import numpy as np

from lifecycle.comparison.changes import compare_profiles
from lifecycle.data.profile import profile_values

SIZES = np.random.default_rng(0).uniform(0, 100, 1000)
BASE = {"size": profile_values(SIZES), "weight": profile_values(SIZES)}


def test_values_are_ranked_by_how_far_they_lie_from_the_bases() -> None:
    half_missing = np.where(np.arange(1000) % 2, SIZES, np.nan)
    here = {"weight": profile_values(half_missing), "size": profile_values(SIZES + 40), "new": profile_values(SIZES)}

    size, weight = compare_profiles(BASE, here)

    # A value that the base does not have has nothing to be held against.
    assert (size["name"], weight["name"]) == ("size", "weight")
    assert abs(size["distance"] - 40 / SIZES.std()) < 0.01 and size["psi"] > 0.25
    assert (weight["missing"], weight["base_missing"]) == (0.5, 0) and weight["distance"] < 0.1


def test_same_profiles_are_told_by_nothing() -> None:
    assert compare_profiles(BASE, dict(BASE)) == []
