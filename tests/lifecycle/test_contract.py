"""The data contract's machinery: the same promises for a file of millions of rows and for one request."""

from copy import deepcopy

import numpy as np
import pytest
from readings import CONTRACT

from lifecycle.data.contract import (
    Column,
    Contract,
    check_shares,
    describe_range,
    find_breaks,
    find_missing,
    list_rules,
    read_contract,
    read_request,
)
from lifecycle.errors import ContractError, MisuseError

READINGS = read_contract(CONTRACT)
MONTH = (np.datetime64("2024-02-01", "us"), np.datetime64("2024-03-01", "us"))
GOOD = {"at": "2024-02-03T10:00:00", "size": 7.5, "kind": "fine"}


def make_columns(**changes):
    """Make the contract's columns of clean rows, some of them changed."""
    n = max((len(values) for values in changes.values()), default=1)
    columns = {
        "at": np.full(n, "2024-02-03T10:00:00", "datetime64[us]"),
        "size": np.full(n, 7.5),
        "kind": np.full(n, "fine", object),
        "ended": np.full(n, "2024-02-03T10:00:30", "datetime64[us]"),
        "seconds": np.full(n, 30.0),
    }
    return columns | changes


def find_reasons(columns):
    """Name the reason for which each row is left out."""
    rules = list_rules(READINGS, MONTH)
    return ["" if code == 0 else rules[code - 1].reason for code in find_breaks(rules, columns)]


def test_declaration_becomes_records() -> None:
    assert READINGS.find_column("kind").values == ("coarse", "fine")
    assert READINGS.find_column("at").spellings == ("begun_at", "Start_Time")
    assert [column.name for column in READINGS.known_at_start()] == ["at", "size", "kind"]
    assert not READINGS.caveats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "the domain's CONTRACT is not understood: .*colour"),
        ({"title": ...}, "the domain's CONTRACT is not understood: .*title"),
        ({"columns": ...}, "the domain's CONTRACT is not understood: 'columns'"),
        ({"time": "begin"}, "the domain's CONTRACT names 'begin'; expected exactly one column of that name"),
        ({"target": "cost"}, "the domain's CONTRACT names 'cost'; expected exactly one column of that name"),
    ],
)
def test_declaration_that_makes_no_sense_is_refused(change, message) -> None:
    declaration = {key: value for key, value in (CONTRACT | change).items() if value is not ...}

    with pytest.raises(MisuseError, match=message):
        read_contract(declaration)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("minimun", 0, "not understood: .*minimun"),
        ("unit", ..., "not understood: .*unit"),
        ("type", "money", "'size' is of type 'money'.*expected one of number, text, timestamp"),
        ("known", "later", "'size' is of type 'number', known at 'later'.*start or end"),
        ("name", "at", "names 'at'; expected exactly one column of that name"),
    ],
)
def test_declaration_of_a_column_that_makes_no_sense_is_refused(key, value, message) -> None:
    declaration = deepcopy(CONTRACT)
    declaration["columns"][1][key] = value
    if value is ...:
        del declaration["columns"][1][key]

    with pytest.raises(MisuseError, match=message):
        read_contract(declaration)


@pytest.mark.parametrize(
    ("name", "values", "reasons"),
    [
        ("size", [0, 100, -0.1, 100.1, np.nan], ["", "", "size below 0", "size above 100", "size missing"]),
        ("size", [-np.inf, np.inf], ["size below 0", "size above 100"]),
        (
            "kind",
            np.array(["coarse", None, "Fine", ""], object),
            ["", "", "kind none of its values", "kind none of its values"],
        ),
        (
            "at",
            np.array(
                ["2024-02-01", "2024-02-29T23:59:59.999999", "2024-03-01", "2024-01-31T23:59:59", "NaT"], "M8[us]"
            ),
            ["", "", "at outside the file's month", "at outside the file's month", "at missing"],
        ),
        ("ended", np.array(["2025-01-01", "NaT"], "M8[us]"), ["", "ended missing"]),
        ("seconds", [1, 60, 0.99, 61], ["", "", "seconds below 1", "seconds above 60"]),
    ],
)
def test_row_is_left_out_for_the_rule_that_it_breaks(name, values, reasons) -> None:
    assert find_reasons(make_columns(**{name: np.asarray(values)})) == reasons


def test_row_that_breaks_several_rules_counts_once_for_the_first() -> None:
    broken = make_columns(
        at=np.array(["2023-02-03", "2024-02-03", "2024-02-03"], "M8[us]"),
        size=np.array([-1.0, -1.0, 5.0]),
        seconds=np.array([0.0, 0.0, 0.0]),
    )

    assert find_reasons(broken) == ["at outside the file's month", "size below 0", "seconds below 1"]


def test_month_binds_the_time_column_alone() -> None:
    columns = make_columns(at=np.array(["1999-01-01"], "M8[us]"))

    assert find_breaks(list_rules(READINGS), columns).tolist() == [0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1.0, np.nan, np.inf]), [False, True, False]),
        (np.array(["2024-01-01", "NaT"], "M8[us]"), [False, True]),
        (np.array(["", None, "x"], object), [False, True, False]),
    ],
)
def test_missing_is_nan_nat_or_none(values, expected) -> None:
    missing = find_missing(values)

    assert missing.tolist() == expected
    assert missing.dtype == bool


def count_rows(**broken):
    """Count 100 rows by code, some of them broken for a reason."""
    reasons = [rule.reason.replace(" ", "_") for rule in list_rules(READINGS)]
    counts = np.zeros(len(reasons) + 1, np.int64)
    for reason, n in broken.items():
        counts[reasons.index(reason) + 1] = n
    counts[0] = 100 - counts.sum()
    return counts


def test_share_of_broken_rows_may_be_what_the_contract_allows() -> None:
    counts = count_rows(size_below_0=12, size_missing=8, seconds_above_60=20)

    check_shares(READINGS, list_rules(READINGS), counts, "month.parquet")


def test_share_above_what_the_contract_allows_is_refused_with_its_main_reason() -> None:
    counts = count_rows(size_below_0=12, size_missing=9)

    with pytest.raises(ContractError) as refused:
        check_shares(READINGS, list_rules(READINGS), counts, "month.parquet")

    assert str(refused.value) == (
        "month.parquet: size breaks the contract in 21 of 100 rows (21.0%), mostly by 'size below 0'; the contract "
        "allows 20.0%. Fix the source, or raise the column's max_broken_share."
    )


def test_file_without_a_row_is_refused() -> None:
    counts = np.zeros(len(list_rules(READINGS)) + 1, np.int64)

    with pytest.raises(ContractError, match=r"^month\.parquet has no rows; expected a month of data"):
        check_shares(READINGS, list_rules(READINGS), counts, "month.parquet")


def test_request_becomes_the_columns_of_the_batch_path() -> None:
    expected = make_columns(kind=np.array(["fine", None], object), size=np.array([7.5, 3.0]))

    columns = read_request(READINGS, [GOOD, GOOD | {"kind": None, "size": 3}])

    assert list(columns) == ["at", "size", "kind"]
    for name, values in columns.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == expected[name].dtype


def test_nullable_field_may_be_absent() -> None:
    columns = read_request(READINGS, [{"at": "2024-02-03T10:00:00", "size": 1}])

    assert columns["kind"].tolist() == [None]


SIZE = r"a number from 0 to 100 \(mm\)"
KIND = r"a text out of coarse, fine \(name\), or null"
AT = r"a time such as 2024-01-31T08:30:00 \(UTC\)"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("size", None, SIZE),
        ("size", "7.5", SIZE),
        ("size", True, SIZE),
        ("size", float("nan"), SIZE),
        ("size", float("inf"), SIZE),
        ("size", 10**400, SIZE),
        ("size", [7.5], SIZE),
        ("size", -1, SIZE),
        ("size", 101, SIZE),
        ("kind", 3, KIND),
        ("kind", "Fine", KIND),
        ("kind", "", KIND),
        ("at", None, AT),
        ("at", 1706955600, AT),
        ("at", "yesterday", AT),
        ("at", "2024-02-30T10:00:00", AT),
        ("at", "2024-02-03T10:00:00Z", AT),
        ("at", "2024-02-03T10:00:00+01:00", AT),
    ],
)
def test_bad_field_is_told_with_its_value_and_what_was_expected(field, value, expected) -> None:
    with pytest.raises(ContractError) as refused:
        # The second row, so that the value is that of the row at fault.
        read_request(READINGS, [GOOD, GOOD | {field: value}])

    refused.match(rf"; expected {expected}\.$")
    assert str(refused.value).startswith(f"{field} is {value!r}; ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_without_a_range_is_finite_all_the_same(value) -> None:
    column = Column("n", "rows", "number", "rows", "start", 0.1, nullable=True)

    with pytest.raises(ContractError, match=rf"^n is {value!r}; expected a number \(rows\), or null\.$"):
        read_request(Contract("n", "n", (column,), "t"), [{"n": value}])


def test_missing_field_is_told() -> None:
    with pytest.raises(ContractError, match=rf"^size is None; expected {SIZE}\.$"):
        read_request(READINGS, [{"at": "2024-02-03T10:00:00"}])


@pytest.mark.parametrize("field", ["colour", "ended", "seconds"])
def test_field_that_is_unknown_or_known_too_late_is_refused(field) -> None:
    with pytest.raises(ContractError, match=rf"^'{field}' is no field of a request; expected at, size, kind\.$"):
        read_request(READINGS, [GOOD | {field: 1}])


def test_open_range_is_described_by_what_it_has() -> None:
    column = Column("n", "rows", "number", "rows", "start", 0.1, minimum=1)
    plain = Column("n", "rows", "number", "rows", "start", 0.1, nullable=True)

    assert describe_range(column) == "a number from 1 (rows)"
    assert describe_range(plain) == "a number (rows), or null"


def test_column_is_found_by_its_name_in_a_contract_of_two() -> None:
    first, second = (Column(name, "m", "number", "u", "start", 0.1) for name in ("a", "b"))

    assert Contract("a", "b", (first, second), "t").find_column("b") is second
