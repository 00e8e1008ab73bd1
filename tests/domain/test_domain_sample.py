"""The synthetic months: reproducible, in TLC's schema, and as dirty as real ones."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.sample import BLOCK, generate_month

SEED = 7
# TLC's months from 2023-02 to 2024-12, written down apart from the generator.
TLC_SCHEMA = {
    "VendorID": "int32",
    "lpep_pickup_datetime": "timestamp[us]",
    "lpep_dropoff_datetime": "timestamp[us]",
    "store_and_fwd_flag": "large_string",
    "RatecodeID": "int64",
    "PULocationID": "int32",
    "DOLocationID": "int32",
    "passenger_count": "int64",
    "trip_distance": "double",
    "fare_amount": "double",
    "extra": "double",
    "mta_tax": "double",
    "tip_amount": "double",
    "tolls_amount": "double",
    "ehail_fee": "double",
    "improvement_surcharge": "double",
    "total_amount": "double",
    "payment_type": "int64",
    "trip_type": "int64",
    "congestion_surcharge": "double",
}
# Kind of dirt -> the rows that have it, and the least and the largest share of them.
DIRT = {
    "block nulls": (lambda trips: trips.payment_type.isna(), 0.03, 0.48),
    "pickup outside the month": (lambda trips: trips.lpep_pickup_datetime < "2024-09-01", 0.0001, 0.002),
    "pickup in 2008 or 2009": (lambda trips: trips.lpep_pickup_datetime < "2010-01-01", 0.0001, 0.001),
    "a trip of a day": (lambda trips: trips.minutes > 20 * 60, 0.001, 0.005),
    "zero duration": (lambda trips: trips.minutes == 0, 0.0005, 0.003),
    "negative duration": (lambda trips: trips.minutes < 0, 0.0001, 0.002),
    "negative fare": (lambda trips: (trips.fare_amount < 0) & (trips.total_amount < 0), 0.001, 0.005),
    "zero distance": (lambda trips: trips.trip_distance == 0, 0.02, 0.08),
    "absurd distance": (lambda trips: trips.trip_distance > 10_000, 0.0001, 0.001),
    "unknown pickup zone": (lambda trips: trips.PULocationID.isin([264, 265]), 0.001, 0.02),
    "unknown dropoff zone": (lambda trips: trips.DOLocationID.isin([264, 265]), 0.001, 0.02),
    "rate code 99": (lambda trips: trips.RatecodeID == 99, 0.0001, 0.001),
}


@pytest.fixture(name="month", scope="module")
def fixture_month() -> pa.Table:
    """One synthetic month."""
    return generate_month("2024-09", 15_000, SEED)


@pytest.fixture(name="trips", scope="module")
def fixture_trips(month: pa.Table) -> pd.DataFrame:
    """The month as a frame, with the minutes that each trip took."""
    trips = month.to_pandas()
    return trips.assign(minutes=(trips.lpep_dropoff_datetime - trips.lpep_pickup_datetime).dt.total_seconds() / 60)


def count_pickups(table: pa.Table) -> np.ndarray:
    """Count pickups by zone."""
    return np.bincount(table["PULocationID"].to_numpy(), minlength=266)


def test_month_is_the_same_for_the_same_seed(month: pa.Table) -> None:
    assert generate_month("2024-09", 15_000, SEED).equals(month)


def test_months_of_one_seed_differ_but_share_their_zones(month: pa.Table) -> None:
    october = generate_month("2024-10", 15_000, SEED)

    assert not october["trip_distance"].equals(month["trip_distance"])
    assert np.corrcoef(count_pickups(october), count_pickups(month))[0, 1] > 0.95


def test_another_seed_makes_another_world(month: pa.Table) -> None:
    other = generate_month("2024-09", 15_000, SEED + 1)

    assert np.corrcoef(count_pickups(other), count_pickups(month))[0, 1] < 0.5


def test_schema_is_tlcs_own(month: pa.Table) -> None:
    assert {field.name: str(field.type) for field in month.schema} == TLC_SCHEMA
    assert month.schema.names == list(TLC_SCHEMA)


def test_rows_are_as_many_as_asked_and_sorted_by_pickup(month: pa.Table) -> None:
    assert month.num_rows == 15_000
    assert month["lpep_pickup_datetime"].to_pandas().is_monotonic_increasing
    assert month["lpep_pickup_datetime"].to_pandas().max() < pd.Timestamp("2024-10-01")


@pytest.mark.parametrize("kind", DIRT)
def test_month_holds_the_dirt_of_real_months(kind: str, trips: pd.DataFrame) -> None:
    find, least, most = DIRT[kind]

    assert least <= find(trips).mean() <= most


def test_columns_of_the_block_are_null_together_and_no_other_is(trips: pd.DataFrame) -> None:
    nulls = trips.isna()

    assert nulls.ehail_fee.all()
    assert all(nulls[name].equals(nulls.payment_type) for name in BLOCK)
    assert not nulls.drop(columns=["ehail_fee", *BLOCK]).any(axis=None)


def test_most_trips_are_plausible(trips: pd.DataFrame) -> None:
    plausible = trips.minutes.between(1, 60) & trips.trip_distance.between(0.1, 60)

    assert plausible.mean() > 0.9


def test_all_zones_exist_and_some_draw_most_trips(trips: pd.DataFrame) -> None:
    shares = trips.PULocationID.value_counts(normalize=True)

    assert trips.PULocationID.between(1, 265).all()
    assert shares.index.nunique() > 200
    assert shares.head(26).sum() > 0.4


def test_rush_hour_is_busier_and_slower_than_the_night(trips: pd.DataFrame) -> None:
    ridden = trips[trips.minutes.between(1, 60) & trips.trip_distance.between(1, 60)]
    hour = ridden.lpep_pickup_datetime.dt.hour[ridden.lpep_pickup_datetime.dt.day_of_week < 5]
    speed = (60 * ridden.trip_distance / ridden.minutes).groupby(hour).median()

    assert hour.value_counts()[17] > 3 * hour.value_counts()[4]
    assert speed[17] < 0.8 * speed[4]


def test_fares_follow_distance_and_duration(trips: pd.DataFrame) -> None:
    ridden = trips[trips.minutes.between(1, 60) & trips.trip_distance.between(0.1, 60) & (trips.fare_amount > 0)]

    assert ridden.fare_amount.corr(ridden.trip_distance) > 0.8
    assert ridden.fare_amount.corr(ridden.minutes) > 0.8


def test_four_months_stay_small_on_disk(tmp_path) -> None:
    for month in ("2024-09", "2024-10", "2024-11", "2024-12"):
        pq.write_table(generate_month(month, 15_000, SEED), tmp_path / f"{month}.parquet", compression="zstd")

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_600_000


@pytest.mark.parametrize("rows", [0, 1, 40])
def test_small_months_work(rows: int) -> None:
    assert generate_month("2023-02", rows, SEED).num_rows == rows


@pytest.mark.parametrize("month", ["2024-13", "2024", "september"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError):
        generate_month(month, 10, SEED)
