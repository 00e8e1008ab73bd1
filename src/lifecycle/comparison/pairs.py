"""Read what champion and challenger predicted of live requests and what came true, and make losses of it."""

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from lifecycle.errors import RefusedError
from lifecycle.serving.service import SHADOW, SPLIT

COLUMNS = ("time", "request_id", "row", "variant", "model_version", "model_hash", "prediction", "label")
# What the log calls a challenger -> how it serves.
MODES = {SHADOW: "shadow", SPLIT: "split"}
# A probability that a 32-bit float cannot tell from 0.
LEAST = 1e-7
# The log keeps no ids, but their hashes; and a row's is as good as its number.
NEWEST = f"""
select time, request as request_id, key as row, variant, version as model_version, hash as model_hash, prediction,
    label
from pair where time >= (select min(time) from prediction where variant in {tuple(MODES)} and hash =
    (select arg_max(hash, time) from prediction where variant in {tuple(MODES)}))
"""


@dataclass(frozen=True)
class Model:
    """A model as the log names it; the hash is the SHA-256 of its bytes."""

    version: str
    hash: str


@dataclass(frozen=True)
class Losses:
    """Losses of two models by request, in the order of time.

    Attributes
    ----------
    mode : str
        ``shadow`` (both models predicted each request) or ``split`` (one of them did).
    loss : str
        As a metric is named.
    champion, challenger : Model
    values : DataFrame of shape (n_requests, 3)
        ``time``, ``champion`` and ``challenger``: the mean loss over the request's rows, NaN where the model did not
        predict it.
    left_out : dict
        Reason -> rows of the log.
    """

    mode: str
    loss: str
    champion: Model
    challenger: Model
    values: pd.DataFrame
    left_out: dict[str, int]


def read_pairs(log: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Read the joined predictions and labels from the newest challenger's first one on.

    Parameters
    ----------
    log : DuckDBPyConnection
        As `lifecycle.monitoring.log.open_log` gives it.

    Returns
    -------
    DataFrame of shape (n_rows, 8)
        With the columns of COLUMNS; a label is NaN while it has not come.
    """
    rows = log.execute(NEWEST).df()
    rows["time"] = rows["time"].dt.tz_localize("UTC")
    rows["prediction"] = [json.loads(text) for text in rows["prediction"]]
    return rows


def measure_losses(rows: pd.DataFrame, loss: str) -> Losses:
    """Compute the losses of the newest challenger and of the champion that it was up against.

    Parameters
    ----------
    rows : DataFrame
        As `read_pairs` gives them.
    loss : {'squared_error', 'absolute_error'}
        For predictions that are numbers; of probabilities it is the log loss.

    Returns
    -------
    Losses

    Raises
    ------
    RefusedError
        If no challenger or no champion is among them, or a row cannot be understood.
    """
    frame = rows.sort_values(["time", "request_id"], kind="stable", ignore_index=True)
    newest, champion = _find_models(frame)
    is_challenger = (frame["model_hash"] == newest["model_hash"]) & (frame["variant"] == newest["variant"])
    known = is_challenger | ((frame["model_hash"] == champion["model_hash"]) & ~frame["variant"].isin(MODES))
    # Before the challenger came, the champion had other callers.
    known &= frame["time"] >= frame.loc[is_challenger, "time"].min()
    labelled = known & frame["label"].notna()
    kept = frame[labelled].drop_duplicates(["request_id", "row", "model_hash"])
    left_out = {
        "of another model or time": int((~known).sum()),
        "without a label": int((known & ~labelled).sum()),
        "doubled": int(labelled.sum()) - len(kept),
    }
    measured = np.array([_measure_loss(*row, loss) for row in zip(kept["prediction"], kept["label"], strict=True)])
    by_challenger = is_challenger[kept.index].to_numpy()
    kept = kept.assign(
        champion=np.where(by_challenger, np.nan, measured), challenger=np.where(by_challenger, measured, np.nan)
    )
    by_row = kept.groupby(["request_id", "row"]).agg({"time": "min", "champion": "first", "challenger": "first"})
    both = by_row[["champion", "challenger"]].notna().all(axis=1)
    mode = MODES[newest["variant"]]
    fits = both if mode == "shadow" else ~both
    left_out["predicted by one model" if mode == "shadow" else "predicted by both models"] = int((~fits).sum())
    by_request = (
        by_row[fits].groupby(level="request_id").agg({"time": "min", "champion": "mean", "challenger": "mean"})
    )
    values = by_request.sort_values("time", kind="stable").reset_index(drop=True)
    name = "log_loss" if len(kept) and isinstance(kept["prediction"].iloc[0], dict) else loss
    return Losses(mode, name, _name(champion), _name(newest), values, left_out)


def _find_models(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Find the newest prediction of a challenger, and the newest one of a champion beside it."""
    beside = frame[frame["variant"].isin(MODES)]
    if beside.empty:
        raise RefusedError("no prediction in the log is a challenger's; deploy a bundle with one.")
    newest = beside.iloc[-1]
    since = beside.loc[beside["model_hash"] == newest["model_hash"], "time"].min()
    others = frame[~frame["variant"].isin(MODES) & (frame["model_hash"] != newest["model_hash"])]
    others = others[others["time"] >= since]
    if others.empty:
        raise RefusedError(f"no champion answered while {newest['model_version']} was challenger; widen the window.")
    return newest, others.iloc[-1]


def _name(prediction: pd.Series) -> Model:
    """Name the model that made a prediction."""
    return Model(str(prediction["model_version"]), str(prediction["model_hash"]))


def _measure_loss(prediction: Any, label: Any, loss: str) -> float:
    """Compute the loss of one prediction."""
    try:
        if isinstance(prediction, dict):
            shares = {float(name): float(share) for name, share in prediction["probabilities"].items()}
            # Sure and wrong is as bad as a 32-bit float can say.
            measured = -np.log(np.clip(shares[float(label)], LEAST, 1))
        else:
            gap = float(prediction) - float(label)
            measured = gap**2 if loss == "squared_error" else abs(gap)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RefusedError(
            f"a prediction and its label do not fit: {str(prediction)[:60]} and {str(label)[:60]}."
        ) from error
    if not np.isfinite(measured):
        raise RefusedError(f"the loss of {str(prediction)[:60]} with the label {str(label)[:60]} is no number.")
    return float(measured)
