"""The sentences of the page of Explore: each says what its figures say, also where there is little to say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from surveys import ABOUT, find, make_model, make_month

from lifecycle.views.explore_page import render_explore
from lifecycle.views.explore_words import say_column, say_columns, say_drift, say_errors, say_groups, say_target


def spoil(table: pa.Table, share: float, value: float | None) -> pa.Table:
    """Give the first rows another size."""
    rows = round(share * len(table))
    return table.set_column(1, "size", pa.array([value] * rows + table["size"].to_pylist()[rows:], pa.float64()))


def fill(table: pa.Table, kinds: list[str | None]) -> pa.Table:
    """Give all rows these kinds in turn."""
    return table.set_column(2, "kind", pa.array((kinds * len(table))[: len(table)], pa.string()))


def test_months_without_a_clean_row_have_a_page_that_says_so(tmp_path: Path) -> None:
    found = find(tmp_path, {"2024-01": spoil(make_month(300), 1, -1.0)}, make_model())
    page = render_explore(found, ABOUT)

    assert found.overall is None
    assert say_target(found, ABOUT) == "No clean row has a target."
    assert "No clean row has a feature." in page
    assert "No row was predicted, so there are no errors to show." in page
    assert "Without errors there is no worst group." in page
    assert page.count("<svg") == 0


def test_month_without_a_clean_row_is_compared_with_no_other_one(tmp_path: Path) -> None:
    months = {"2024-01": make_month(300), "2024-02": spoil(make_month(300, 2, month="2024-02"), 1, -1.0)}

    found = find(tmp_path, months, make_model())

    assert say_drift(found, ABOUT) == "There are no two months that differ."
    assert found.overall.rows == 300
    assert say_target(found, ABOUT).endswith("seconds on average.")


def test_month_with_the_largest_errors_is_named(tmp_path: Path) -> None:
    late = make_month(300, 2, month="2024-02")
    ended = pa.array(late["ended"].to_numpy() + np.timedelta64(5, "s"))
    months = {"2024-01": make_month(300), "2024-02": late.set_column(3, "ended", ended)}

    said = say_errors(find(tmp_path, months, make_model()), ABOUT)

    assert said.startswith("On the 2 months that it did not learn from, the model errs by 2.895 seconds")
    assert said.endswith("; most in 2024-02, by 4.928 seconds.")


def test_groups_that_are_too_small_are_told(tmp_path: Path) -> None:
    found = find(tmp_path, {"2024-01": make_month(9)}, make_model())

    assert not found.groups
    assert say_groups(found, ABOUT) == "No group has 10 predicted rows."


def test_columns_without_a_fault_are_told(tmp_path: Path) -> None:
    found = find(tmp_path, {"2024-01": fill(make_month(300), ["fine", "coarse"])})

    assert say_columns(found) == "Nothing is missing, and nothing breaks the contract."
    assert {say_column(one, ["2024-01"]) for one in found.columns} == {"Nothing is missing, broken or moved."}


def test_missing_values_are_not_told_twice_and_rare_faults_not_at_all(tmp_path: Path) -> None:
    rare = spoil(spoil(make_month(4000), 0.1, None), 0.00025, -1.0)
    found = find(tmp_path, {"2024-01": rare})
    size = next(one for one in found.columns if one.column.name == "size")

    assert set(size.broken) == {"size missing", "size below 0"}
    assert say_column(size, ["2024-01"]) == "Missing in 9.98 % to 9.98 % of the rows, most in 2024-01."


def test_column_that_goes_missing_is_told_with_its_shares(tmp_path: Path) -> None:
    months = {
        "2024-01": fill(make_month(400), ["fine", "coarse"]),
        "2024-02": fill(make_month(400, 2, month="2024-02"), ["fine", None, "coarse", None]),
    }

    said = say_drift(find(tmp_path, months), replace(ABOUT, model=None))

    assert said.startswith("kind moved most, from 2024-01 to 2024-02: stability index ")
    assert "; it is missing in 0 % of the rows, then in 50 %. 1 of 5 columns moved by more than 0.25" in said
