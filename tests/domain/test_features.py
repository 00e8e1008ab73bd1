"""The feature transform: same numbers in training and in serving, from what is known at the start alone."""

import subprocess
import sys

import numpy as np
import pytest

from domain.contract import CONTRACT
from domain.features import compute_features

N = 50
NUMBERS = ("pickup_zone", "dropoff_zone", "distance_miles", "trip_type")


@pytest.fixture(name="columns")
def fixture_columns() -> dict[str, np.ndarray]:
    """The columns known at the start, and no other, for a few invented trips."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2024-01-01", "us")
    columns = {
        "pickup_at": start + rng.integers(0, 30 * 24 * 3600, N).astype("timedelta64[s]"),
        "pickup_zone": rng.integers(1, 266, N).astype(float),
        "dropoff_zone": rng.integers(1, 266, N).astype(float),
        "distance_miles": rng.gamma(2, 2, N).round(2),
        "trip_type": rng.choice([1, 2, np.nan], N),
    }
    assert set(columns) == {column["name"] for column in CONTRACT["columns"] if column["known"] == "start"}
    return columns


def test_each_feature_is_float32_with_one_value_a_row(columns: dict[str, np.ndarray]) -> None:
    for name, values in compute_features(columns).items():
        assert values.shape == (N,), name
        assert values.dtype == np.float32, name


def test_columns_known_at_the_end_change_no_feature(columns: dict[str, np.ndarray]) -> None:
    late = [column["name"] for column in CONTRACT["columns"] if column["known"] == "end"]
    times = columns["pickup_at"] + np.timedelta64(7, "m")
    known = {name: times if name.endswith("_at") else np.full(N, 7.0) for name in late}

    features = compute_features(columns | known)

    assert late
    for name, values in compute_features(columns).items():
        np.testing.assert_array_equal(features[name], values, err_msg=name)
    assert len(features) == len(compute_features(columns))


def test_missing_stays_missing(columns: dict[str, np.ndarray]) -> None:
    missing = np.isnan(columns["trip_type"])

    assert 0 < missing.sum() < N
    np.testing.assert_array_equal(np.isnan(compute_features(columns)["trip_type"]), missing)


def test_row_alone_has_the_features_it_has_in_a_batch(columns: dict[str, np.ndarray]) -> None:
    batch = compute_features(columns)

    for row in range(N):
        alone = compute_features({name: values[row : row + 1] for name, values in columns.items()})
        for name, values in batch.items():
            np.testing.assert_array_equal(alone[name], values[row : row + 1], err_msg=name)


def test_inputs_are_left_as_they_were(columns: dict[str, np.ndarray]) -> None:
    before = {name: values.copy() for name, values in columns.items()}

    compute_features(columns)

    for name, values in columns.items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize(
    ("time", "weekday", "hour"),
    [
        ("2024-01-01T00:00:00", 0, 0),
        ("2024-02-29T08:30:00", 3, 8.5),
        ("2024-09-15T23:45:59", 6, 23.75),
        ("1969-12-31T18:00:00", 2, 18),
    ],
)
def test_hour_and_weekday_of_a_known_date(time: str, weekday: float, hour: float) -> None:
    columns = {name: np.ones(1) for name in NUMBERS} | {"pickup_at": np.array([time], "datetime64[us]")}

    features = compute_features(columns)

    assert (features["weekday"][0], features["hour"][0]) == (weekday, hour)


def test_each_pair_of_zones_has_a_number_of_its_own() -> None:
    pickup, dropoff = (zones.ravel().astype(float) for zones in np.meshgrid(np.arange(1, 266), np.arange(1, 266)))
    columns = {name: np.ones(pickup.size) for name in NUMBERS}
    columns |= {
        "pickup_zone": pickup,
        "dropoff_zone": dropoff,
        "pickup_at": np.zeros(pickup.size, "datetime64[us]"),
    }

    assert np.unique(compute_features(columns)["zone_pair"]).size == 265**2


def test_absurd_distance_is_cut() -> None:
    columns = {name: np.ones(1) for name in NUMBERS} | {"pickup_at": np.zeros(1, "datetime64[us]")}

    assert compute_features(columns | {"distance_miles": np.array([900.0])})["distance_miles"][0] == 100


def test_serving_needs_neither_pandas_nor_scikit_learn_nor_pyarrow() -> None:
    code = (
        "import sys\n"
        "from domain import CONTRACT, compute_features, compute_slices\n"
        "print({'pandas', 'sklearn', 'scipy', 'pyarrow'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
