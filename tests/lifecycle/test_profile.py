"""Profiles: two sets of values compared without their rows."""

import numpy as np
import pytest

from lifecycle.data.profile import QUANTILES, measure_distance, measure_stability, profile_values

RNG = np.random.default_rng(0)
VALUES = RNG.normal(10, 2, 20_000)


def test_the_same_values_lie_nowhere_else() -> None:
    profile = profile_values(VALUES)

    assert measure_distance(profile, profile) == 0
    assert measure_stability(profile, profile) == 0
    assert len(profile["quantiles"]) == QUANTILES


def test_distance_of_a_shift_is_the_shift_in_standard_deviations() -> None:
    shifted = profile_values(VALUES + 3)

    assert measure_distance(profile_values(VALUES), shifted) == pytest.approx(3 / VALUES.std(), rel=0.01)


def test_stability_index_agrees_with_its_definition_on_the_rows() -> None:
    other = RNG.normal(11, 2.5, 20_000)
    edges = np.quantile(VALUES, np.linspace(0, 1, 11))
    expected, found = (np.histogram(x, [-np.inf, *edges[1:-1], np.inf])[0] / x.size for x in (VALUES, other))
    psi = ((found - expected) * np.log(found / expected)).sum()

    assert measure_stability(profile_values(VALUES), profile_values(other)) == pytest.approx(psi, abs=0.05)


def test_values_that_went_missing_move_the_stability_index() -> None:
    holes = np.where(np.arange(VALUES.size) % 2 == 0, np.nan, VALUES)

    assert profile_values(holes)["missing"] == 0.5
    assert measure_stability(profile_values(VALUES), profile_values(holes)) > 1
    assert measure_distance(profile_values(VALUES), profile_values(holes)) < 0.05


def test_codes_that_fill_several_tenths_are_one_bin() -> None:
    before, after = np.repeat([1.0, 2.0], [900, 100]), np.repeat([1.0, 2.0], [500, 500])

    assert 0.2 < measure_stability(profile_values(before), profile_values(after)) < 2


@pytest.mark.parametrize("values", [np.array([]), np.full(5, np.nan)])
def test_nothing_to_compare_is_none(values: np.ndarray) -> None:
    nothing = profile_values(values)

    assert measure_distance(profile_values(VALUES), nothing) is None
    assert measure_stability(nothing, profile_values(VALUES)) is None
    assert measure_distance(profile_values(np.ones(9)), profile_values(VALUES)) is None
