"""Requests whose right answers are known, because the model that ships was asked before."""

import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.data.contract import read_contract
from lifecycle.delivery.service import Service
from lifecycle.errors import RefusedError
from lifecycle.params import read_params
from lifecycle.paths import CHALLENGER, ONNX
from lifecycle.predictor import Predictor
from lifecycle.prepare import ARROW_TYPES, stream_clean
from lifecycle.sample import mark_sample
from lifecycle.seam import Columns, Domain
from lifecycle.serving.journal import PROBE
from lifecycle.serving.service import MANIFEST

# As many as a sample needs for so many clean ones.
ROWS, RAW_ROWS = 20, 200
# Another machine may round the last digits otherwise.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class KnownAnswers:
    """Rows as a caller sends them, and what each model that may answer predicts of them."""

    rows: tuple[dict[str, Any], ...]
    predictions: tuple[np.ndarray, ...]

    def check(self, service: Service, version: str) -> float:
        """Ask a version, and compare.

        Returns
        -------
        float
            How long the answer took, in milliseconds.

        Raises
        ------
        RefusedError
            If it fails, or answers otherwise.
        """
        answer, took_ms = self.ask(service, version)
        if answer.get("statusCode") != 200:
            raise RefusedError(f"version {version} answers {answer.get('statusCode')} to rows of the sample.")
        found = read_predictions(answer)
        worst = min(np.abs(found - own).max() if found.shape == own.shape else np.inf for own in self.predictions)
        if not worst <= TOLERANCE:
            raise RefusedError(
                f"version {version} predicts otherwise than the model that was approved, by {worst:g}."
            )
        return took_ms

    def ask(self, service: Service, version: str) -> tuple[dict[str, Any], float]:
        """Ask a version, and return its answer, whatever its status, and how many milliseconds that took."""
        start = time.perf_counter()
        answer = service.invoke(version, make_event({"rows": self.rows}, f"{PROBE}{uuid4()}"))
        return answer, 1000 * (time.perf_counter() - start)

    def is_served(self, service: Service, version: str) -> bool:
        """Tell whether a version answers, also where it predicts otherwise or refuses rows that it does not know."""
        try:
            answer, _ = self.ask(service, version)
        except RefusedError:
            return False
        return int(answer.get("statusCode", HTTPStatus.INTERNAL_SERVER_ERROR)) < HTTPStatus.INTERNAL_SERVER_ERROR


def read_predictions(answer: Mapping[str, Any]) -> np.ndarray:
    """Read the predictions of an answer with status 200.

    Returns
    -------
    ndarray of shape (n_rows,) or (n_rows, n_classes)
        The target, or the classes' probabilities.
    """
    predictions = json.loads(answer["body"])["predictions"]
    plain = [list(one["probabilities"].values()) if isinstance(one, dict) else one for one in predictions]
    return np.array(plain, dtype=float)


def make_event(body: Any, request_id: str) -> dict[str, Any]:
    """Make the event of a request for predictions, as a function's address hands it over."""
    return {
        "version": "2.0",
        "rawPath": "/predict",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json", "x-request-id": request_id},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def read_answers(bundle: Path) -> KnownAnswers:
    """Ask a bundle's model, here, for synthetic rows: nobody's data are sent, or needed where a deploy runs.

    Parameters
    ----------
    bundle : Path
        The zip file.

    Returns
    -------
    KnownAnswers

    Raises
    ------
    RefusedError
        If the bundle holds no model, or the sample no clean row.
    """
    models = read_models(bundle)
    params = read_params()
    domain = params.load_domain()
    columns = make_rows(params.sample.months[-1], params.sample.seed, domain)
    features = domain.compute_features(columns)
    X = np.column_stack([np.asarray(features[name], np.float32) for name in models[0].features])
    rows = tuple({name: write_value(values[row]) for name, values in columns.items()} for row in range(len(X)))
    return KnownAnswers(rows, tuple(np.asarray(model.predict(X), dtype=float) for model in models))


def read_models(bundle: Path) -> list[Predictor]:
    """Load the models that answer callers in a bundle: in a split two; a shadow answers nobody."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            split = json.loads(archive.read(MANIFEST)).get("serve", {}).get("mode") == "split"
            return [Predictor(archive.read(path.name)) for path in ((ONNX, CHALLENGER) if split else (ONNX,))]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RefusedError(f"{bundle} holds no model: {error}; build it anew with: make bundle") from error


def make_rows(month: str, seed: int, domain: Domain) -> Columns:
    """Make clean rows of a month, as a caller knows them."""
    contract = read_contract(domain.CONTRACT)
    known = contract.known_at_start()

    def build(columns: Columns) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {one.name: pa.array(columns[one.name], ARROW_TYPES[one.type]) for one in known}
        )

    with TemporaryDirectory() as folder:
        path = Path(folder) / "sample.parquet"
        pq.write_table(mark_sample(domain.generate_month(month, RAW_ROWS, seed)), path)
        batches = [batch for batch, _ in stream_clean(path, month, contract, domain, build) if batch]
    if not batches:
        raise RefusedError(f"none of {RAW_ROWS} rows of the sample meets the data contract; mend its generator.")
    table = pa.Table.from_batches(batches).slice(0, ROWS)
    return {one.name: table[one.name].to_numpy() for one in known}


def write_value(value: Any) -> Any:
    """Write a value as JSON has it; null where it is missing."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value
