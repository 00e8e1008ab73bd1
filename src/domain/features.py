"""The feature transform: one function for training and for serving, on NumPy arrays alone."""

import numpy as np

MINUTES_PER_DAY = 24 * 60
# 1970-01-01 was a Thursday; Monday is 0.
EPOCH_WEEKDAY = 3
# Larger than any zone number, so that each pair of zones has a number of its own (exact in float32).
PAIR_BASE = 1000
# Longer records are taximeter faults more often than routes.
LONGEST_ROUTE_MILES = 100


def compute_features(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute what the model sees from what is known when a trip starts.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        The contract's columns that are known at the start; missing numbers are NaN.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), float32
        One array a feature, in the order in which the model takes them.
    """
    minutes = columns["pickup_at"].astype("datetime64[us]", copy=False).view(np.int64) // 60_000_000
    days = minutes // MINUTES_PER_DAY
    weekdays = (days + EPOCH_WEEKDAY).astype(np.int32)
    # NumPy's remainder takes ten times as long as a division and a product.
    weekdays -= weekdays // 7 * 7
    pickup_zone = columns["pickup_zone"].astype(np.float32)
    dropoff_zone = columns["dropoff_zone"].astype(np.float32)
    return {
        "pickup_zone": pickup_zone,
        "dropoff_zone": dropoff_zone,
        "zone_pair": pickup_zone * np.float32(PAIR_BASE) + dropoff_zone,
        "distance_miles": np.minimum(columns["distance_miles"], LONGEST_ROUTE_MILES).astype(np.float32),
        "hour": (minutes - days * MINUTES_PER_DAY).astype(np.float32) / np.float32(60),
        "weekday": weekdays.astype(np.float32),
        "trip_type": columns["trip_type"].astype(np.float32),
    }
