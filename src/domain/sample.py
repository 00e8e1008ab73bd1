"""The sample: synthetic months in TLC's own schema, every trip invented from a seed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from domain.boroughs import name_boroughs

SCHEMA = pa.schema(
    [
        ("VendorID", pa.int32()),
        ("lpep_pickup_datetime", pa.timestamp("us")),
        ("lpep_dropoff_datetime", pa.timestamp("us")),
        ("store_and_fwd_flag", pa.large_string()),
        ("RatecodeID", pa.int64()),
        ("PULocationID", pa.int32()),
        ("DOLocationID", pa.int32()),
        ("passenger_count", pa.int64()),
        ("trip_distance", pa.float64()),
        ("fare_amount", pa.float64()),
        ("extra", pa.float64()),
        ("mta_tax", pa.float64()),
        ("tip_amount", pa.float64()),
        ("tolls_amount", pa.float64()),
        ("ehail_fee", pa.float64()),
        ("improvement_surcharge", pa.float64()),
        ("total_amount", pa.float64()),
        ("payment_type", pa.int64()),
        ("trip_type", pa.int64()),
        ("congestion_surcharge", pa.float64()),
    ]
)
# Columns that come empty together.
BLOCK = {"store_and_fwd_flag", "RatecodeID", "passenger_count", "payment_type", "trip_type"}
BLOCK |= {"congestion_surcharge"}

# Borough -> miles east and north of Midtown, miles of spread, demand in a zone, miles per hour.
BOROUGHS = {
    "Bronx": (3.5, 7.0, 1.8, 10, 15.0),
    "Brooklyn": (2.5, -6.0, 2.4, 25, 14.0),
    "Manhattan": (0.0, 2.0, 1.9, 35, 11.0),
    "Newark": (-10.0, -3.0, 0.5, 0.2, 24.0),
    "Queens": (7.5, -0.5, 2.8, 29, 16.0),
    "Staten Island": (-6.5, -11.0, 2.2, 0.8, 21.0),
}
# The share of trips between two zones falls to one in e over each of these miles.
GRAVITY_MILES = 1.4
# Streets make a route longer than the line between its ends.
DETOUR = 1.25
# Weekend, then workday, by hour of the day: demand, tenths of the zones' speed, dollars of surcharge.
DEMAND = np.array(
    [
        [8, 7, 6, 5, 4, 2, 2, 3, 4, 6, 8, 9, 10, 10, 10, 10, 10, 11, 11, 10, 9, 8, 8, 8],
        [3, 2, 1, 1, 1, 2, 5, 10, 12, 11, 10, 10, 10, 11, 12, 14, 15, 16, 14, 11, 8, 7, 6, 4],
    ]
)
SPEED = np.array(
    [
        [12, 13, 13, 13, 13, 14, 13, 12.5, 12, 11, 10.5, 10, 10, 9.5, 9, 9, 9, 9.5, 10, 10, 11, 11, 12, 12],
        [13, 13, 14, 15, 15, 14, 11.5, 9, 8, 8.5, 9, 9, 9, 9, 8.5, 8, 7.5, 7, 8, 9.5, 10.5, 11, 12, 12],
    ]
)
EXTRA = np.array([[1] * 6 + [0] * 14 + [1] * 4, [1] * 6 + [0] * 10 + [2.5] * 4 + [1] * 4])

# Kind of dirt -> share of the rows, near those of TLC's months. No row has two kinds.
DIRT = {
    "block_null": 0.06,
    "unmetered": 0.025,
    "aborted": 0.025,
    "unknown_dropoff": 0.01,
    "unknown_pickup": 0.003,
    "reversed": 0.003,
    "day_long": 0.003,
    "instant": 0.001,
    "backward": 0.0005,
    "absurd": 0.0005,
    "bad_rate": 0.0003,
}
STRAY_SHARE = 0.0004
# Near the time at which a taximeter that lost its clock begins again.
CLOCK_RESET = np.datetime64("2008-12-31T12:00:00")
DAY_SECONDS = 24 * 60 * 60
# Kind of dirt -> how long its trips last: at least, and less than.
LASTING_SECONDS = {
    "aborted": (1, 60),
    "day_long": (DAY_SECONDS - 3600, DAY_SECONDS),
    "instant": (0, 1),
    "backward": (-600, 0),
}


@dataclass(frozen=True)
class World:
    """What all months of a seed share; one row a zone, zone 1 first."""

    miles: np.ndarray  # of shape (n_zones, 2): east and north
    miles_per_hour: np.ndarray
    pickup_share: np.ndarray
    dropoff_share: np.ndarray  # of shape (n_zones, n_zones): of the pickup zone's trips


def generate_month(month: str, rows: int, seed: int) -> pa.Table:
    """Generate one synthetic month of trips, dirt included.

    Parameters
    ----------
    month : str
        Year and month, such as ``2024-09``.
    rows : int
        Number of trips.
    seed : int
        Fixes the zones, which all months share; with the month, it fixes the trips.

    Returns
    -------
    pa.Table
        In the schema of TLC's months from 2023-02 to 2024-12, sorted by pickup time.

    Raises
    ------
    ValueError
        If the month is not written like ``2024-09``, or the seed is negative.
    """
    year, number = (int(part) for part in month.split("-"))
    rng = np.random.default_rng([seed, year, number])
    trips = _draw_trips(_build_world(seed), _draw_pickups(month, rows, rng), rng)
    ends = np.cumsum([round(share * rows) for share in DIRT.values()])
    dirt = dict(zip(DIRT, np.split(rng.permutation(rows), ends), strict=False))
    columns = _draw_dollars(trips, dirt["reversed"], rng) | _break_records(trips, dirt, rng)
    empty = dict.fromkeys(BLOCK, np.isin(np.arange(rows), dirt["block_null"]))
    empty["ehail_fee"] = np.full(rows, True)
    return pa.table([pa.array(columns[f.name], f.type, mask=empty.get(f.name)) for f in SCHEMA], SCHEMA)


def _build_world(seed: int) -> World:
    """Invent the zones: where they lie, how fast their traffic is, who travels from where to where."""
    rng = np.random.default_rng(seed)
    names = name_boroughs(np.arange(1, 264))
    east, north, spread, demand, speed = np.array([BOROUGHS[name] for name in names]).T
    miles = np.stack([east, north], axis=1) + spread[:, None] * rng.normal(size=(names.size, 2))
    pickups = demand * rng.lognormal(0, 1.5, names.size)
    apart = np.linalg.norm(miles[:, None] - miles, axis=2)
    dropoffs = rng.lognormal(0, 1, names.size) * np.exp(-apart / GRAVITY_MILES)
    return World(
        miles=miles,
        miles_per_hour=speed * rng.lognormal(0, 0.2, names.size),
        pickup_share=pickups / pickups.sum(),
        dropoff_share=dropoffs / dropoffs.sum(axis=1, keepdims=True),
    )


def _look_up(profile: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Read a profile, by weekend or workday and hour, at times of shape (n,)."""
    hours = times.astype("datetime64[h]").astype(np.int64) % 24
    return profile[np.is_busday(times.astype("datetime64[D]")).astype(int), hours]


def _draw_pickups(month: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Draw sorted pickup times; strays lie on the day before the month, or near a clock's reset."""
    start = np.datetime64(month, "M")
    hours = np.arange(start, start + 1, dtype="datetime64[h]")
    demand = _look_up(DEMAND, hours)
    pickups = rng.choice(hours, rows, p=demand / demand.sum()) + rng.integers(0, 3600, rows).astype("m8[s]")
    strays = np.arange(round(STRAY_SHARE * rows))
    origin = np.where(strays % 2, CLOCK_RESET, start - np.timedelta64(DAY_SECONDS, "s"))
    pickups[strays] = origin + rng.integers(0, DAY_SECONDS, strays.size).astype("m8[s]")
    return np.sort(pickups)


def _draw_dropoffs(world: World, start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw where the trips go that begin in the zones ``start``; both of shape (n,), zone 1 being 0."""
    zones = world.pickup_share.size
    # One search for all rows: the cumulative shares of a pickup zone's trips follow those of the zone before.
    bounds = (world.dropoff_share.cumsum(axis=1) + np.arange(zones)[:, None]).ravel()
    return np.clip(np.searchsorted(bounds, start + rng.random(start.size)) - start * zones, 0, zones - 1)


def _draw_trips(world: World, pickups: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the trips that begin at the times of shape (n,), without what they cost."""
    n = pickups.size
    start = rng.choice(world.pickup_share.size, n, p=world.pickup_share)
    end = _draw_dropoffs(world, start, rng)
    line = world.miles[end] - world.miles[start] + rng.normal(0, 0.4, (n, 2))
    miles = np.round(DETOUR * np.linalg.norm(line, axis=1) * rng.lognormal(0, 0.1, n) + 0.3, 2)
    speed = np.sqrt(world.miles_per_hour[start] * world.miles_per_hour[end]) * _look_up(SPEED, pickups) / 10
    # Long routes take highways.
    speed *= (1 + 0.05 * np.minimum(miles, 15)) * rng.lognormal(0, 0.2, n)
    stops_minutes = rng.lognormal(0.5, 1, n)
    dispatched = rng.random(n) < 0.03
    return {
        "VendorID": rng.choice([1, 2], n, p=[0.13, 0.87]),
        "lpep_pickup_datetime": pickups,
        "lpep_dropoff_datetime": pickups + (3600 * miles / speed + 60 * stops_minutes).astype("m8[s]"),
        "store_and_fwd_flag": np.where(rng.random(n) < 0.003, "Y", "N"),
        "RatecodeID": np.where(dispatched, 5, 1),
        "PULocationID": start + 1,
        "DOLocationID": end + 1,
        "passenger_count": rng.choice(7, n, p=[0.01, 0.84, 0.09, 0.01, 0.005, 0.03, 0.015]),
        "trip_distance": miles,
        "payment_type": rng.choice([1, 2, 3, 4], n, p=[0.67, 0.32, 0.007, 0.003]),
        "trip_type": np.where(dispatched, 2, 1),
    }


def _draw_dollars(
    trips: dict[str, np.ndarray], reversed_rows: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw what the trips cost, in dollars; negative in the rows that reverse an earlier record."""
    n, miles = trips["trip_distance"].size, trips["trip_distance"]
    minutes = (trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]) / np.timedelta64(1, "m")
    due = {
        # The meter counts fifths of a mile, or minutes where they are more.
        "fare_amount": 3 + 0.7 * np.floor(np.maximum(5 * miles, minutes)),
        "extra": _look_up(EXTRA, trips["lpep_pickup_datetime"]),
        "mta_tax": np.full(n, 0.5),
        "tolls_amount": np.where((miles > 8) & (rng.random(n) < 0.3), 6.94, 0),
        "improvement_surcharge": np.ones(n),
        "congestion_surcharge": np.where(name_boroughs(trips["DOLocationID"]) == "Manhattan", 2.75, 0),
    }
    tip_share = rng.choice([0, 0.1, 0.15, 0.2, 0.25], n, p=[0.3, 0.05, 0.1, 0.45, 0.1])
    tip = sum(due.values()) * np.where(trips["payment_type"] == 1, tip_share, 0)
    paid = due | {"tip_amount": tip, "ehail_fee": np.zeros(n), "total_amount": sum(due.values()) + tip}
    sign = np.where(np.isin(np.arange(n), reversed_rows), -1, 1)
    return {name: np.round(sign * amount, 2) for name, amount in paid.items()}


def _break_records(
    trips: dict[str, np.ndarray], dirt: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Copy the trips and break the rows that ``dirt`` names by kind."""
    broken = {name: values.copy() for name, values in trips.items()}
    broken["trip_distance"][np.concatenate([dirt["unmetered"], dirt["aborted"]])] = 0
    broken["trip_distance"][dirt["absurd"]] = rng.integers(20_000, 300_000, dirt["absurd"].size)
    broken["PULocationID"][dirt["unknown_pickup"]] = rng.choice([264, 265], dirt["unknown_pickup"].size)
    broken["DOLocationID"][dirt["unknown_dropoff"]] = rng.choice([264, 265], dirt["unknown_dropoff"].size)
    broken["RatecodeID"][dirt["bad_rate"]] = 99
    for kind, (shortest, end) in LASTING_SECONDS.items():
        seconds = rng.integers(shortest, end, dirt[kind].size).astype("m8[s]")
        broken["lpep_dropoff_datetime"][dirt[kind]] = trips["lpep_pickup_datetime"][dirt[kind]] + seconds
    return broken
