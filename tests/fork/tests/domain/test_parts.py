"""The fork's domain: nothing is known too early, the target is right, and hotter parts fail sooner."""

import numpy as np
import pytest

from domain.contract import CONTRACT, derive_columns
from domain.features import compute_features
from domain.hyperparameters import Hyperparameters
from domain.model import build_model
from domain.sample import generate_month

Columns = dict[str, np.ndarray]


@pytest.fixture(name="parts")
def fixture_parts() -> Columns:
    """Inspections of a month."""
    table = generate_month("2025-01", 600, seed=7)
    return {name: table[name].to_numpy() for name in table.column_names}


def test_failure_and_what_is_derived_from_it_are_no_features() -> None:
    late = {column["name"] for column in CONTRACT["columns"] if column["known"] == "end"}

    assert late == {"days_to_failure", "fails_within_week"}


def test_part_fails_within_a_week_or_later_or_never() -> None:
    derived = derive_columns({"days_to_failure": np.array([0, 7, 7.1, np.nan])})

    np.testing.assert_array_equal(derived["fails_within_week"], [1, 1, 0, 0])


def test_hotter_parts_are_more_likely_to_fail(parts: Columns) -> None:
    def stack(columns: Columns) -> np.ndarray:
        return np.column_stack(list(compute_features(columns).values()))

    model = build_model(tuple(compute_features(parts)), Hyperparameters(penalty=1, max_iter=100), seed=0)
    model.fit(stack(parts), derive_columns(parts)["fails_within_week"])
    cool, hot = (
        model.predict_proba(stack(parts | {"temperature_celsius": np.full(600, celsius)})) for celsius in (50, 90)
    )

    assert (hot[:, 1] > cool[:, 1]).all()
