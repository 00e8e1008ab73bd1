"""Read what champion and challenger predicted of live requests and what came true, and make losses of it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.serving.service import SHADOW, SPLIT

COLUMNS = ("time", "request_id", "row", "variant", "model_version", "model_hash", "prediction", "label")
# What the log calls a challenger -> how it serves.
MODES = {SHADOW: "shadow", SPLIT: "split"}
# A probability that a 32-bit float cannot tell from 0.
LEAST = 1e-7


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


def read_pairs(path: Path) -> list[dict[str, Any]]:
    """Read joined predictions and labels.

    Parameters
    ----------
    path : Path
        Parquet, or JSON lines, with the keys of COLUMNS.

    Returns
    -------
    list of dict

    Raises
    ------
    MisuseError
        If there is no such file.
    RefusedError
        If it is neither, or a column is missing.
    """
    try:
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise MisuseError(f"{path} cannot be read: {error}; name a file of joined rows.") from error
    # What pyarrow raises of a broken file is a ValueError as well.
    except ValueError as error:
        raise RefusedError(f"{path} is neither parquet nor JSON lines: {' '.join(str(error).split())}") from error
    for number, row in enumerate(rows, 1):
        if missing := [name for name in COLUMNS if not isinstance(row, dict) or name not in row]:
            raise RefusedError(f"{path}: row {number} lacks {', '.join(missing)}; expected {', '.join(COLUMNS)}.")
    return rows


def measure_losses(rows: Iterable[dict[str, Any]], loss: str) -> Losses:
    """Compute the losses of the newest challenger and of the champion that it was up against.

    Parameters
    ----------
    rows : iterable of dict
        As `read_pairs` gives them; a label of None has not come yet.
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
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"request_id": str})
    frame["time"] = _read_times(frame["time"])
    frame = frame.sort_values(["time", "request_id"], kind="stable", ignore_index=True)
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


def _read_times(times: pd.Series) -> pd.Series:
    """Read the times of the log."""
    try:
        return pd.to_datetime(times, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise RefusedError(f"a time of the log cannot be read: {' '.join(str(error).split())}.") from error


def _find_models(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Find the newest prediction of a challenger, and the newest one of a champion beside it."""
    beside = frame[frame["variant"].isin(MODES)]
    if beside.empty:
        raise RefusedError(f"none of {len(frame):,} predictions is a challenger's; deploy a bundle with one.")
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
