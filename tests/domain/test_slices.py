"""The slices: each trip in the right group, at the edges too."""

import numpy as np
import pytest

from domain.boroughs import name_boroughs
from domain.slices import compute_slices

# Monday to Sunday.
WEEK = np.arange("2024-01-01", "2024-01-08", dtype="datetime64[D]")


def slice_trips(kind: str, **values: list) -> list[str]:
    """Compute one kind of slice for trips that differ from a usual one in the given columns."""
    n = len(next(iter(values.values())))
    usual = {"pickup_at": ["2024-01-03T12:00"] * n, "pickup_zone": [74.0] * n, "distance_miles": [2.5] * n}
    types = {"pickup_at": "datetime64[us]"}
    columns = {name: np.array(column, types.get(name, float)) for name, column in (usual | values).items()}
    return compute_slices(columns)[kind].tolist()


@pytest.mark.parametrize(
    ("zone", "borough"),
    [
        (1, "Newark"),
        (3, "Bronx"),
        (7, "Queens"),
        (74, "Manhattan"),
        (97, "Brooklyn"),
        (132, "Queens"),
        (221, "Staten Island"),
        (263, "Manhattan"),
        (264, "unknown"),
        (265, "unknown"),
    ],
)
def test_zone_lies_in_its_borough(zone: int, borough: str) -> None:
    assert slice_trips("borough", pickup_zone=[zone]) == [borough]


def test_boroughs_have_as_many_zones_as_tlc_gives_them() -> None:
    names, counts = np.unique(name_boroughs(np.arange(1, 266)), return_counts=True)

    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "Bronx": 43,
        "Brooklyn": 61,
        "Manhattan": 69,
        "Newark": 1,
        "Queens": 69,
        "Staten Island": 20,
        "unknown": 2,
    }


@pytest.mark.parametrize(
    ("first", "last", "band"),
    [
        ("00:00:00", "05:59:59.999999", "00-06 night"),
        ("06:00:00", "09:59:59.999999", "06-10 morning"),
        ("10:00:00", "15:59:59.999999", "10-16 midday"),
        ("16:00:00", "19:59:59.999999", "16-20 evening"),
        ("20:00:00", "23:59:59.999999", "20-24 late"),
    ],
)
def test_hour_band_begins_at_its_first_hour_and_ends_before_the_next(first: str, last: str, band: str) -> None:
    assert slice_trips("hour_band", pickup_at=[f"2024-01-03T{first}", f"2024-01-03T{last}"]) == [band, band]


def test_weekdays_sort_from_monday_to_sunday() -> None:
    labels = slice_trips("weekday", pickup_at=WEEK.tolist())

    assert labels == ["1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun"]
    assert labels == sorted(labels)


def test_distance_bands_include_their_lower_bound_and_sort_by_length() -> None:
    labels = slice_trips("distance_band", distance_miles=[0, 0.99, 1, 1.99, 2, 4.99, 5, 9.99, 10, 1000])

    bands = ["0-1 miles", "1-2 miles", "2-5 miles", "5-10 miles", "over 10 miles"]
    assert labels == [band for band in bands for _ in range(2)]
    assert labels == sorted(labels)


def test_each_slice_is_text_of_one_label_a_row() -> None:
    columns = {
        "pickup_at": WEEK.astype("datetime64[us]"),
        "pickup_zone": np.full(7, 74.0),
        "distance_miles": np.full(7, 1.5),
    }

    slices = compute_slices(columns)

    assert list(slices) == ["borough", "hour_band", "weekday", "distance_band"]
    assert all(labels.shape == (7,) and labels.dtype.kind == "U" for labels in slices.values())
