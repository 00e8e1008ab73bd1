"""Stage ``train``: fit the model, cross-validate it forward in time, convert it to ONNX and prove the two agree."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.base import clone, is_classifier
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from lifecycle.data.rows import Rows, read_train
from lifecycle.errors import ParityError, run
from lifecycle.metrics import Metric, Predictions, load_metrics
from lifecycle.params import TrainParams, read_params
from lifecycle.paths import CROSS_VALIDATION, MODEL, ONNX
from lifecycle.predictor import METADATA, Predictor
from lifecycle.views.numbers import round_figure

# The parity check looks at this many rows, and at as many broken ones for each feature.
PARITY_ROWS = 2000
# No feature holds it: an unseen category, and far outside of any number's range.
UNSEEN = 8_388_607.0

log = logging.getLogger(__name__)


def fit_model(model: Any, rows: Rows) -> Any:
    """Fit a fresh copy of a model on rows; a classifier gets whole numbers as its classes."""
    y = rows.y.astype(np.int64) if is_classifier(model) else rows.y
    return clone(model).fit(rows.X, y)


def predict_fitted(model: Any, X: np.ndarray) -> np.ndarray:
    """Predict with a fitted scikit-learn model: the target, or the classes' probabilities."""
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


def cross_validate(model: Any, rows: Rows, folds: int, metrics: list[Metric]) -> Iterator[dict[str, float]]:
    """Fit on the past and measure on what came next, fold by fold.

    Parameters
    ----------
    model : estimator
        Not fitted.
    rows : Rows
        In order of time.
    folds : int
    metrics : list of Metric

    Yields
    ------
    dict of str to float
        ``fold``, ``train_rows``, ``test_rows`` and each metric.
    """
    for fold, (past, next_) in enumerate(TimeSeriesSplit(folds).split(rows.X), start=1):
        fitted = fit_model(model, Rows(rows.features, rows.X[past], rows.y[past], rows.time[past], {}))
        classes = tuple(fitted.classes_.tolist()) if is_classifier(fitted) else None
        made = Predictions(rows.y[next_], predict_fitted(fitted, rows.X[next_]), classes)
        yield {
            "fold": fold,
            "train_rows": len(past),
            "test_rows": len(next_),
            **{metric.name: metric.measure(made) for metric in metrics},
        }


def convert_model(model: Any, features: tuple[str, ...]) -> bytes:
    """Convert a fitted model to ONNX.

    Parameters
    ----------
    model : estimator
        Fitted on a float32 matrix of shape (n_samples, n_features).
    features : tuple of str
        The matrix's columns.

    Returns
    -------
    bytes
        The same bytes for the same model.
    """
    classes = model.classes_.tolist() if is_classifier(model) else None
    options = {"zipmap": False} if classes else None
    sample = np.zeros((1, len(features)), dtype=np.float32)
    converted = to_onnx(model, sample, name="model", options=options)
    entry = converted.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps({"features": features, "classes": classes})
    # The converter lists its operator sets in the order of a set of strings, another one in each process.
    converted.opset_import.sort(key=lambda opset: opset.domain)
    return converted.SerializeToString(deterministic=True)


def list_parity_rows(X: np.ndarray, seed: int) -> np.ndarray:
    """Choose real rows, and copies of them in which one feature at a time was never seen, or is missing.

    Only features that are missing in some real row are made missing: the contract keeps the others whole.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    seed : int

    Returns
    -------
    ndarray of shape (n_chosen, n_features)
    """
    chosen = X[np.random.default_rng(seed).permutation(len(X))[:PARITY_ROWS]]
    blocks = [chosen]
    for column in range(X.shape[1]):
        for value in (np.nan, UNSEEN) if np.isnan(X[:, column]).any() else (UNSEEN,):
            broken = chosen[: PARITY_ROWS // 10].copy()
            broken[:, column] = value
            blocks.append(broken)
    return np.concatenate(blocks)


def check_parity(model: Any, predictor: Predictor, X: np.ndarray, tolerance: float) -> float:
    """Compare the fitted model's predictions with the converted one's.

    Parameters
    ----------
    model : estimator
    predictor : Predictor
    X : ndarray of shape (n_samples, n_features)
    tolerance : float
        In the target's unit, or in probability.

    Returns
    -------
    float
        The largest difference.

    Raises
    ------
    ParityError
        If it is above the tolerance, or not a number.
    """
    difference = np.abs(predict_fitted(model, X) - predictor.predict(X)).reshape(len(X), -1).max(axis=1)
    largest = float(difference.max())
    if not largest <= tolerance:
        row = dict(zip(predictor.features, X[int(np.nanargmax(difference))].tolist(), strict=True))
        raise ParityError(
            f"the ONNX model differs from the fitted one by {largest:g} at {row}; train.parity_tolerance allows "
            f"{tolerance:g}. Some step of the model converts wrongly; choose another one."
        )
    return largest


def train(rows: Rows, model: Any, params: TrainParams) -> tuple[Any, bytes, float]:
    """Fit, convert and compare.

    Parameters
    ----------
    rows : Rows
    model : estimator
        Not fitted.
    params : TrainParams

    Returns
    -------
    fitted : estimator
    converted : bytes
    difference : float
        The largest one between the two on real, missing and unseen values.
    """
    fitted = fit_model(model, rows)
    converted = convert_model(fitted, rows.features)
    X = list_parity_rows(rows.X, params.seed)
    return fitted, converted, check_parity(fitted, Predictor(converted), X, params.parity_tolerance)


def main(_argv: list[str] | None = None) -> None:
    """Train on out/train."""
    params = read_params()
    domain = params.load_domain()
    rows = read_train(params.train)
    metrics = load_metrics(params.evaluate.metrics, domain)
    model = domain.build_model(rows.features, params.train.hyperparameters, params.train.seed)
    folds = []
    # Only the libraries that are loaded by now can be told.
    with threadpool_limits(params.train.threads):
        for fold in cross_validate(model, rows, params.train.folds, metrics):
            log.info("train fold=%d train_rows=%d %s=%.4g", fold["fold"], fold["train_rows"], *list(fold.items())[3])
            folds.append({key: round_figure(it) if isinstance(it, float) else it for key, it in fold.items()})
        fitted, converted, difference = train(rows, model, params.train)
    log.info("train rows=%d size_bytes=%d parity=%.2g", len(rows.y), len(converted), difference)
    joblib.dump(fitted, MODEL, compress=("xz", 3))
    ONNX.write_bytes(converted)
    CROSS_VALIDATION.write_text(json.dumps(folds, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
