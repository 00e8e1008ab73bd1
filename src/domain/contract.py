"""The data contract: what a month of green-taxi trips promises.

Plain data, read by the batch check, by the check of a single request and by the generated documentation.
Source of the meanings: TLC's data dictionary of green trip records.
"""

import numpy as np

CONTRACT = {
    # The column that must lie inside the month of its file, and by which the data are split.
    "time": "pickup_at",
    "target": "duration_minutes",
    "title": "Duration of New York green-taxi trips",
    "caveats": [
        "distance_miles is what the taximeter drove. It is known only at the end of a trip; here it stands for the "
        "length of the planned route, as in every published result on these data. A service must send the length "
        "of the route that it plans.",
        "Trips shorter than 1 minute or longer than 60 are left out of training and of every figure here.",
    ],
    # "known" is the moment from which a value is known: at the "start" of the trip, or only at its "end".
    # Only what is known at the start may become a feature.
    "columns": [
        {
            "name": "pickup_at",
            "meaning": "when the meter was engaged",
            "spellings": ["lpep_pickup_datetime", "tpep_pickup_datetime"],
            "type": "timestamp",
            "unit": "New York local time",
            "known": "start",
            "max_broken_share": 0.02,
        },
        {
            "name": "pickup_zone",
            "meaning": "taxi zone of the pickup; 264 and 265 mean unknown",
            "spellings": ["PULocationID"],
            "type": "number",
            "unit": "zone number",
            "known": "start",
            "minimum": 1,
            "maximum": 265,
            "max_broken_share": 0.02,
        },
        {
            "name": "dropoff_zone",
            "meaning": "taxi zone of the destination; 264 and 265 mean unknown",
            "spellings": ["DOLocationID"],
            "type": "number",
            "unit": "zone number",
            "known": "start",
            "minimum": 1,
            "maximum": 265,
            "max_broken_share": 0.02,
        },
        {
            "name": "distance_miles",
            # TLC records what the taximeter drove; it stands here for the length of the planned route.
            "meaning": "length of the route",
            "spellings": ["trip_distance"],
            "type": "number",
            "unit": "miles",
            "known": "start",
            "minimum": 0,
            "maximum": 1000,
            "max_broken_share": 0.02,
        },
        {
            "name": "trip_type",
            "meaning": "1 hailed in the street, 2 dispatched",
            "type": "number",
            "unit": "code",
            "known": "start",
            "nullable": True,
            "minimum": 1,
            "maximum": 2,
            "max_broken_share": 0.02,
        },
        {
            "name": "dropoff_at",
            "meaning": "when the meter was disengaged",
            "spellings": ["lpep_dropoff_datetime", "tpep_dropoff_datetime"],
            "type": "timestamp",
            "unit": "New York local time",
            "known": "end",
            "max_broken_share": 0.02,
        },
        {
            "name": "duration_minutes",
            "meaning": "from pickup to dropoff",
            "derived": True,
            "type": "number",
            "unit": "minutes",
            "known": "end",
            "minimum": 1,
            "maximum": 60,
            "max_broken_share": 0.15,
        },
    ],
}


def derive_columns(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the columns that the contract derives from others.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        The columns of the file, under the contract's names.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
        ``duration_minutes``, float64; missing (NaN) where either time is missing.
    """
    elapsed = columns["dropoff_at"] - columns["pickup_at"]
    return {"duration_minutes": elapsed / np.timedelta64(1, "m")}
