"""Yardsticks of this task: published errors on the same trips, and how the published way prepares them.

Source of both: the course DataTalksClub/mlops-zoomcamp, which keeps trips of 1 to 60 minutes, both included.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction import DictVectorizer

from lifecycle.data.contract import read_contract
from lifecycle.data.months import file_name, map_batches
from lifecycle.data.rows import Rows
from lifecycle.params import Params
from lifecycle.predictor import Predictor
from lifecycle.seam import Columns
from lifecycle.train import convert_model, fit_model
from tests.bench.line import Line

# Month to train on and its trips, month to test on and its trips, published best RMSE, and ours at most.
PUBLISHED = (
    ("2021-01", 73_908, "2021-02", 61_921, 6.3040, 5.38),
    ("2023-01", 65_946, "2023-02", 62_574, 5.1993, 4.31),
)
# Months to train and test on, and months that come later, each from another year: what does the monitor say of them?
TRAINED, WATCHED = ("2021-01", "2021-02"), ("2022-01", "2023-01", "2025-01")


def prepare_slowly(path: Path) -> object:
    """Prepare a month as the course does: strings, one dictionary a trip, DictVectorizer."""
    trips = pd.read_parquet(path)
    duration = trips.lpep_dropoff_datetime - trips.lpep_pickup_datetime
    trips["duration"] = duration.apply(lambda elapsed: elapsed.total_seconds() / 60)
    trips = trips[(trips.duration >= 1) & (trips.duration <= 60)].copy()
    trips["PU_DO"] = trips["PULocationID"].astype(str) + "_" + trips["DOLocationID"].astype(str)
    return DictVectorizer().fit_transform(trips[["PU_DO", "trip_distance"]].to_dict(orient="records"))


def read_trips(path: Path, params: Params) -> Rows:
    """Read the trips that the yardsticks keep, which are more than the contract does."""
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)

    def work(columns: Columns) -> tuple[Columns, np.ndarray]:
        target = columns[contract.target]
        kept = (target >= 1) & (target <= 60)
        start = {column.name: columns[column.name][kept] for column in contract.known_at_start()}
        return domain.compute_features(start), target[kept]

    batches = list(map_batches(path, contract, domain.derive_columns, work))
    y = np.concatenate([target for _, target in batches]).astype(np.float32)
    X = np.concatenate([np.column_stack(list(features.values())) for features, _ in batches]).astype(np.float32)
    return Rows(tuple(batches[0][0]), X, y, np.zeros(len(y), "datetime64[us]"), {})


def measure_errors(source: Path, params: Params) -> Iterator[Line]:
    """Train and test on the yardsticks' own trips, with the model of params.yaml as it is served."""
    name = file_name(params.ingest.source)
    for train_month, train_rows, test_month, test_rows, published, limit in PUBLISHED:
        train, test = (read_trips(source / name.format(month=month), params) for month in (train_month, test_month))
        if (len(train.y), len(test.y)) != (train_rows, test_rows):
            raise RuntimeError(
                f"{len(train.y):,} and {len(test.y):,} trips; expected {train_rows:,} and {test_rows:,}"
            )
        model = params.load_domain().build_model(train.features, params.train.hyperparameters, params.train.seed)
        predictor = Predictor(convert_model(fit_model(model, train), train.features))
        error = float(np.sqrt(np.mean((predictor.predict(test.X) - test.y) ** 2)))
        note = f"published best {published:.4f}; {train_rows:,} and {test_rows:,} trips"
        yield Line(f"RMSE in minutes, {train_month} -> {test_month}", error, ceiling=limit, note=note)
