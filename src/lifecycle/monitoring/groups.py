"""What each version did under each variant: how much, how fast, and how far from what came true."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
import numpy as np

from lifecycle.metrics import Predictions
from lifecycle.seam import Columns


@dataclass(frozen=True)
class Day:
    """The predictions of one day, and how many have a label."""

    day: date
    predictions: int
    labelled: int


@dataclass(frozen=True)
class Group:  # pylint: disable=too-many-instance-attributes  # the columns of one table
    """The predictions of a version under a variant; times in UTC, and None for what no line tells."""

    version: str
    variant: str
    predictions: int
    labelled: int
    first: datetime
    last: datetime
    p50_ms: float | None
    p99_ms: float | None
    label_lag_hours: float | None
    days: tuple[Day, ...]


def list_groups(log: duckdb.DuckDBPyConnection) -> list[Group]:
    """List the groups, those that predicted last first.

    Latencies are of requests, and the lag of labels a median; both are approximated by a t-digest (Dunning and Ertl,
    2019).
    """
    rows = log.execute("""
        select version, variant, count(*), count(label), min(time), max(time),
            approx_quantile(latency_ms, 0.5) filter (first), approx_quantile(latency_ms, 0.99) filter (first),
            approx_quantile((epoch_us(labelled_at) - epoch_us(time)) / 3.6e9, 0.5)
        from pair group by version, variant order by max(time) desc, version, variant
    """).fetchall()
    days = log.execute("""
        select version, variant, time::DATE as day, count(*), count(label)
        from pair group by all order by version, variant, day
    """).fetchall()
    return [Group(*row, tuple(Day(*day[2:]) for day in days if day[:2] == row[:2])) for row in rows]


def read_pairs(log: duckdb.DuckDBPyConnection, group: Group, max_rows: int) -> tuple[Predictions, np.ndarray]:
    """Read the labelled predictions of a group, in order of time.

    Parameters
    ----------
    log : DuckDBPyConnection
    group : Group
    max_rows : int
        Of more, those whose hashes are the smallest are taken: a random sample, and always the same one.

    Returns
    -------
    Predictions
        Rows of a classifier whose label is none of its classes are left out.
    ndarray of shape (n_rows,), datetime64[us]
    """
    found = log.execute(
        "select * from (select time, prediction, label from pair where version = ? and variant = ? "
        "and label is not null order by key limit ?) order by time",
        [group.version, group.variant, max_rows],
    ).fetchnumpy()
    time, target = found["time"].astype("datetime64[us]"), np.asarray(found["label"], np.float64)
    prediction, classes = read_predictions(found["prediction"])
    kept = slice(None) if classes is None else np.isin(target, classes)
    return Predictions(target[kept], prediction[kept], classes), time[kept]


def read_predictions(logged: np.ndarray) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Read predictions as the log has them.

    Parameters
    ----------
    logged : ndarray of shape (n_rows,)
        JSON: numbers, or objects with ``probabilities`` by class.

    Returns
    -------
    ndarray of shape (n_rows,) or (n_rows, n_classes)
    tuple of float or None
        The classes in order; None for a regression.
    """
    values = [json.loads(text) for text in logged]
    if not values or not isinstance(values[0], dict):
        return np.array(values, np.float64), None
    names = sorted(values[0]["probabilities"], key=float)
    rows = [[value["probabilities"].get(name, np.nan) for name in names] for value in values]
    return np.array(rows, np.float64), tuple(float(name) for name in names)


def read_inputs(log: duckdb.DuckDBPyConnection, group: Group, max_rows: int) -> Columns:
    """Read what the model of a group saw, and what it predicted.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
        By feature, NaN where it was null, and ``prediction``; of a classifier, the probability of the last class.
    """
    found = log.execute(
        "select unnest(features), prediction as _prediction from prediction where version = ? and variant = ? "
        "order by key limit ?",
        [group.version, group.variant, max_rows],
    ).fetchnumpy()
    predicted, classes = read_predictions(found.pop("_prediction"))
    columns = {name: np.ma.filled(values.astype(np.float64), np.nan) for name, values in found.items()}
    finite = {name: np.where(np.isfinite(values), values, np.nan) for name, values in columns.items()}
    return {**finite, "prediction": predicted if classes is None else predicted[:, -1]}


def count_requests(log: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Count the requests that the log tells of, those that broke and those that were refused.

    Returns
    -------
    dict
        ``total``, ``broken`` (a fault of ours), ``refused`` (the caller's) and ``broken_share``; the share is None
        where the log holds predictions alone.
    """
    row = log.execute("""
        select count(distinct key), count(distinct key) filter (reason = 'fault' or status >= 500),
            count(distinct key) filter (status between 400 and 499)
        from line where reason in ('request', 'fault')
    """).fetchone()
    total, broken, refused = row or (0, 0, 0)
    share = broken / total if total else None
    return {"total": total, "broken": broken, "refused": refused, "broken_share": share}
