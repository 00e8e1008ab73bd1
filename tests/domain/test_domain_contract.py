"""The contract's declaration, and the guard against features that are known too late."""

from copy import deepcopy

import numpy as np
import pytest

import domain
from domain.contract import CONTRACT, derive_columns
from lifecycle.data.contract import read_contract

# What TLC's data dictionary says is settled, paid or recorded as the trip ends, in its files' spellings.
# RatecodeID is the *final* rate code, in effect at the end.
KNOWN_AT_THE_END = (
    "lpep_dropoff_datetime",
    "tpep_dropoff_datetime",
    "store_and_fwd_flag",
    "RatecodeID",
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "ehail_fee",
    "improvement_surcharge",
    "total_amount",
    "payment_type",
    "congestion_surcharge",
    "cbd_congestion_fee",
    "airport_fee",
)


def fold(name: str) -> str:
    """Bring spellings that differ by case or underscores to one: TLC writes Airport_fee and airport_fee."""
    return name.replace("_", "").lower()


def find_leaks(contract: dict) -> list[str]:
    """Name the columns that claim to be known at the start and are not."""
    late = {fold(name) for name in KNOWN_AT_THE_END}
    # What is derived here is derived from the dropoff time.
    late |= {fold(column["name"]) for column in contract["columns"] if column.get("derived")}
    late.add(fold(contract["target"]))
    early = [column for column in contract["columns"] if column["known"] == "start"]
    return [c["name"] for c in early if {fold(name) for name in [c["name"], *c.get("spellings", [])]} & late]


def test_no_column_known_only_at_the_end_may_become_a_feature() -> None:
    assert not find_leaks(CONTRACT), (
        "TLC's data dictionary says that these are known only when the trip ends; they cannot be features. "
        'Set "known": "end" in domain/contract.py.'
    )


@pytest.mark.parametrize("spelling", KNOWN_AT_THE_END)
def test_guard_sees_a_late_column_under_any_name(spelling: str) -> None:
    contract = deepcopy(CONTRACT)
    contract["columns"].append({"name": "innocent", "spellings": ["Other", spelling.upper()], "known": "start"})

    assert find_leaks(contract) == ["innocent"]


@pytest.mark.parametrize("name", ["dropoff_at", "duration_minutes"])
def test_guard_sees_a_late_column_that_is_declared_early(name: str) -> None:
    contract = deepcopy(CONTRACT)
    next(column for column in contract["columns"] if column["name"] == name)["known"] = "start"

    assert find_leaks(contract) == [name]


def test_machinery_understands_the_contract() -> None:
    contract = read_contract(CONTRACT)

    assert {contract.time, contract.target} <= {column.name for column in contract.columns}
    assert contract.target not in {column.name for column in contract.known_at_start()}


@pytest.mark.parametrize("column", read_contract(CONTRACT).columns, ids=lambda column: column.name)
def test_column_promises_what_can_be_kept(column) -> None:
    assert column.meaning and column.unit
    assert 0 <= column.max_broken_share < 0.5
    if column.minimum is not None and column.maximum is not None:
        assert column.minimum < column.maximum


def test_no_two_columns_share_a_name_or_a_spelling() -> None:
    columns = read_contract(CONTRACT).columns
    names = [fold(column.name) for column in columns]
    spellings = [fold(name) for column in columns for name in column.spellings or (column.name,)]

    assert len(set(names)) == len(names)
    assert len(set(spellings)) == len(spellings)


def test_duration_runs_from_pickup_to_dropoff_and_is_missing_with_either() -> None:
    pickup = np.array(["2024-01-01T10:00:00", "2024-01-01T10:00:00", "NaT"], "datetime64[us]")
    dropoff = np.array(["2024-01-01T10:07:30", "2024-01-01T09:59:00", "2024-01-01T10:00:00"], "datetime64[us]")

    derived = derive_columns({"pickup_at": pickup, "dropoff_at": dropoff})

    np.testing.assert_array_equal(derived["duration_minutes"], [7.5, -1, np.nan])


def test_every_derived_column_is_derived() -> None:
    times = np.zeros(3, "datetime64[us]")

    derived = derive_columns({"pickup_at": times, "dropoff_at": times})

    assert set(derived) == {column["name"] for column in CONTRACT["columns"] if column.get("derived")}


@pytest.mark.parametrize("name", ["CONTRACT", "METRICS", "SPACE", "Hyperparameters", "generate_month", "build_model"])
def test_seam_exports_the_name(name: str) -> None:
    assert getattr(domain, name) is not None


def test_seam_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = domain.predict
