"""Months of readings whose figures are known, and what is found in them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import readings
from sklearn.linear_model import LinearRegression

from lifecycle.data.contract import read_contract
from lifecycle.exploration.findings import Findings, find_all
from lifecycle.exploration.survey import Model, survey_month
from lifecycle.predictor import Predictor
from lifecycle.train import convert_model
from lifecycle.views.explore_words import About

ABOUT = About("Readings", "seconds", "seconds", "the champion", "", False, 0.25, 10, 0.95, 5)


def convert_readings() -> bytes:
    """Make the model as a file."""
    regression = LinearRegression().fit(np.array([[0, 0], [100, 0], [0, 1]], np.float32), [30.0, 40.0, 30.0])
    return convert_model(regression, ("size", "is_fine"))


def make_model(trained_on: tuple[str, ...] = ()) -> Model:
    """Make a model that answers 30 + size / 10."""
    return Model(Predictor(convert_readings()), "the champion", trained_on)


def make_month(rows: int, seed: int = 1, shift: float = 0.0, month: str = "2024-01") -> pa.Table:
    """Make a month whose measurements take 30 + size / 10 seconds; a shift moves the sizes."""
    rng = np.random.default_rng(seed)
    at = np.datetime64(month, "us") + rng.integers(0, 28 * 86_400, rows).astype("m8[s]")
    size = np.clip(rng.normal(50 + shift, 10, rows), 0, 100)
    seconds = np.round(30 + size / 10 + rng.normal(0, 1, rows), 3)
    kind = pa.array(rng.choice(["coarse", "fine"], rows), mask=rng.random(rows) < 0.1)
    return pa.table({"begun_at": at, "size": size, "kind": kind, "ended": at + (seconds * 1e6).astype("m8[us]")})


def write(folder: Path, table: pa.Table, month: str = "2024-01") -> Path:
    """Write a month in many small row groups."""
    folder.mkdir(exist_ok=True)
    path = folder / readings.NAME.format(month=month)
    pq.write_table(table, path, row_group_size=700)
    return path


def find(folder: Path, tables: dict[str, pa.Table], model: Model | None = None, most: int = 10**6) -> Findings:
    """Survey months, and find what stands out in them."""
    months = [survey_month(write(folder, one, month), month, readings, model, most) for month, one in tables.items()]
    return find_all(months, read_contract(readings.CONTRACT), 12, 10, 0.95)
