"""The sample: synthetic months of inspections, made from a seed."""

import numpy as np
import pyarrow as pa

from domain.contract import SITES

SECONDS_PER_DAY = 24 * 60 * 60
# Of the rows: the sensor is broken and says 999 degrees; there is no vibration sensor.
FAULT_SHARE, NO_SENSOR_SHARE = 0.01, 0.1
# Parts are taken out at this age after the inspection, if they have not failed.
SERVICE_DAYS = 180
# How much hotter the bearings of each site are.
SITE_CELSIUS = {"foundry": 15, "harbour": 0, "mill": 5}


def generate_month(month: str, rows: int, seed: int) -> pa.Table:
    """Generate one synthetic month.

    Parameters
    ----------
    month : str
        Such as ``2025-01``.
    rows : int
    seed : int
        With the month, it fixes every row.

    Returns
    -------
    pa.Table
        Sorted by time.
    """
    start, end = (np.datetime64(month, "M") + n for n in (0, 1))
    seconds = (end.astype("M8[s]") - start.astype("M8[s]")).astype(int)
    rng = np.random.default_rng([seed, start.astype(int)])
    site = rng.choice(SITES, rows)
    age = rng.uniform(0, 3 * 365, rows)
    celsius = 60 + np.vectorize(SITE_CELSIUS.get)(site) + rng.normal(0, 8, rows)
    vibration = rng.lognormal(0.5, 0.5, rows)
    failures_per_day = np.exp(-6 + age / 600 + (celsius - 60) / 12 + vibration / 2)
    days = rng.exponential(1 / failures_per_day)
    return pa.table(
        {
            "timestamp": start.astype("M8[s]") + np.sort(rng.integers(0, seconds, rows)),
            "site": site,
            "age_days": age.round(),
            "temperature_celsius": np.where(rng.random(rows) < FAULT_SHARE, 999, celsius.round(1)),
            "vibration_mm_per_s": pa.array(vibration.round(2), mask=rng.random(rows) < NO_SENSOR_SHARE),
            "days_to_failure": pa.array(days.round(1), mask=days > SERVICE_DAYS),
        }
    )
