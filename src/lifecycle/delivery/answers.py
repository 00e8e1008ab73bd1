"""Requests whose right answers are known, because the model that ships was asked before."""

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifecycle.data.rows import read_rows
from lifecycle.delivery.service import Service
from lifecycle.errors import RefusedError
from lifecycle.paths import ONNX, TEST
from lifecycle.predictor import load_predictor

ROWS = 20
# Another machine may round the last digits otherwise.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class KnownAnswers:
    """Rows as a caller sends them, and what the model predicts of them."""

    rows: tuple[dict[str, Any], ...]
    predictions: np.ndarray

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
            raise RefusedError(f"version {version} answers {answer.get('statusCode')} to rows of the test set.")
        predictions = json.loads(answer["body"])["predictions"]
        found = np.array([list(one.values()) if isinstance(one, dict) else one for one in predictions], dtype=float)
        worst = np.abs(found - self.predictions).max() if found.shape == self.predictions.shape else np.inf
        if not worst <= TOLERANCE:
            raise RefusedError(
                f"version {version} predicts otherwise than the model that was approved, by {worst:g}."
            )
        return took_ms

    def ask(self, service: Service, version: str) -> tuple[dict[str, Any], float]:
        """Ask a version, and return its answer, whatever it is, and how many milliseconds that took."""
        start = time.perf_counter()
        answer = service.invoke(version, make_event({"rows": self.rows}))
        return answer, 1000 * (time.perf_counter() - start)


def make_event(body: Any) -> dict[str, Any]:
    """Make the event of a request for predictions, as a function's address hands it over."""
    return {
        "version": "2.0",
        "rawPath": "/predict",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def read_answers() -> KnownAnswers:
    """Ask out/model.onnx for the first rows of the test set."""
    test = read_rows(TEST)
    chosen = np.linspace(0, len(test.y) - 1, ROWS).astype(int)
    rows = tuple({name: _write(values[row]) for name, values in test.columns.items()} for row in chosen)
    return KnownAnswers(rows, np.asarray(load_predictor(ONNX).predict(test.X[chosen]), dtype=float))


def _write(value: Any) -> Any:
    """Write a value as JSON has it."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.floating):
        return None if np.isnan(value) else float(value)
    return value
