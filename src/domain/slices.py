"""The slices: groups of trips for which the error is shown and judged apart."""

import numpy as np

from domain.boroughs import name_boroughs
from domain.features import EPOCH_WEEKDAY

# Each band begins at its own bound, included, and ends below the next one.
HOUR_BOUNDS = (0, 6, 10, 16, 20)
HOUR_BANDS = ("00-06 night", "06-10 morning", "10-16 midday", "16-20 evening", "20-24 late")
DISTANCE_BOUNDS = (0, 1, 2, 5, 10)
DISTANCE_BANDS = ("0-1 miles", "1-2 miles", "2-5 miles", "5-10 miles", "over 10 miles")
WEEKDAYS = ("1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun")


def compute_slices(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the slices that each trip belongs to, from what is known when it starts.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        The contract's columns that are known at the start, rows that break the contract left out.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), str
        Kind of slice -> label of each trip's slice; the labels sort in their natural order.
    """
    days = columns["pickup_at"].astype("datetime64[D]")
    hours = (columns["pickup_at"] - days) // np.timedelta64(1, "h")
    return {
        "borough": name_boroughs(columns["pickup_zone"]),
        "hour_band": _label_bands(hours, HOUR_BOUNDS, HOUR_BANDS),
        "weekday": np.array(WEEKDAYS)[(days.astype(np.int64) + EPOCH_WEEKDAY) % 7],
        "distance_band": _label_bands(columns["distance_miles"], DISTANCE_BOUNDS, DISTANCE_BANDS),
    }


def _label_bands(values: np.ndarray, bounds: tuple[float, ...], labels: tuple[str, ...]) -> np.ndarray:
    """Label values of shape (n_rows,), none below the first bound, with the band that each lies in."""
    return np.array(labels)[np.digitize(values, bounds) - 1]
