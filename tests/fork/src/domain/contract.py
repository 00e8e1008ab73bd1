"""The data contract: what a month of inspections promises."""

import numpy as np

SITES = ("foundry", "harbour", "mill")
ALARM_DAYS = 7

CONTRACT = {
    "time": "inspected_at",
    "target": "fails_within_week",
    "title": "Machine parts that fail within a week",
    "caveats": ["Every inspection is invented."],
    # "known" is the moment from which a value is known: at the "start" (the inspection), or only at the "end".
    "columns": [
        {
            "name": "inspected_at",
            "meaning": "when the sensors were read",
            "spellings": ["timestamp"],
            "type": "timestamp",
            "unit": "UTC",
            "known": "start",
            "max_broken_share": 0.01,
        },
        {
            "name": "site",
            "meaning": "where the machine stands",
            "type": "text",
            "unit": "name",
            "known": "start",
            "values": SITES,
            "max_broken_share": 0.02,
        },
        {
            "name": "age_days",
            "meaning": "since the part was built in",
            "type": "number",
            "unit": "days",
            "known": "start",
            "minimum": 0,
            "max_broken_share": 0.01,
        },
        {
            "name": "temperature_celsius",
            "meaning": "of the bearing",
            "type": "number",
            "unit": "degrees Celsius",
            "known": "start",
            "minimum": -40,
            "maximum": 400,
            "max_broken_share": 0.05,
        },
        {
            "name": "vibration_mm_per_s",
            "meaning": "root mean square; some machines have no such sensor",
            "type": "number",
            "unit": "mm/s",
            "known": "start",
            "nullable": True,
            "minimum": 0,
            "max_broken_share": 0.01,
        },
        {
            "name": "days_to_failure",
            "meaning": "from the inspection to the failure; null for a part that was taken out whole",
            "type": "number",
            "unit": "days",
            "known": "end",
            "nullable": True,
            "minimum": 0,
            "max_broken_share": 0.01,
        },
        {
            "name": "fails_within_week",
            "meaning": "1 if the part fails within 7 days, otherwise 0",
            "derived": True,
            "type": "number",
            "unit": "probability",
            "known": "end",
            "minimum": 0,
            "maximum": 1,
            "max_broken_share": 0.01,
        },
    ],
}


def derive_columns(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the target; every array is of shape (n_rows,), and a part that never failed has NaN days."""
    return {"fails_within_week": (columns["days_to_failure"] <= ALARM_DAYS).astype(np.float64)}
