"""What a model was asked, as a row of numbers, and the function from such rows to its predictions.

The inputs are a request's columns where the request is known, and else the features that the log holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifecycle.data.contract import Column
from lifecycle.predictor import Predictor
from lifecycle.seam import Columns


@dataclass(frozen=True)
class Inputs:
    """Named inputs of a prediction; ``read`` makes rows of shape (n_rows, n_inputs) of columns, ``show`` a text.

    ``features`` holds what the model saw, of shape (n_features,).
    """

    names: tuple[str, ...]
    row: np.ndarray
    features: np.ndarray
    read: Callable[[Columns], np.ndarray]
    predict: Callable[[np.ndarray], np.ndarray]
    show: Callable[[str, float], str]


def compute_matrix(compute: Callable[[Columns], Columns], columns: Columns, names: tuple[str, ...]) -> np.ndarray:
    """Compute the features of columns, of shape (n_rows, n_features) and float32."""
    found = compute(columns)
    return np.column_stack([np.asarray(found[name], np.float32) for name in names])


def predict_last(predictor: Predictor, X: np.ndarray) -> np.ndarray:
    """Predict rows; of a classifier, the probability of the last class."""
    predicted = predictor.predict(np.ascontiguousarray(X, np.float32))
    return predicted if predictor.classes is None else predicted[:, -1]


def take_features(features: dict[str, float], predictor: Predictor, compute: Callable[[Columns], Columns]) -> Inputs:
    """Take the features of a log line as the inputs."""
    row = np.array([features[name] for name in predictor.features], np.float32)
    return Inputs(
        names=predictor.features,
        row=row.astype(np.float64),
        features=row,
        read=lambda columns: compute_matrix(compute, columns, predictor.features).astype(np.float64),
        predict=lambda X: predict_last(predictor, X),
        show=lambda _, value: _show(value),
    )


def take_columns(
    asked: Columns,
    background: Columns,
    known: tuple[Column, ...],
    predictor: Predictor,
    compute: Callable[[Columns], Columns],
) -> Inputs:
    """Take a request's columns as the inputs, each as a number: microseconds of a time, the place of a text.

    Parameters
    ----------
    asked : dict of str to ndarray of shape (1,)
    background : dict of str to ndarray of shape (n_rows,)
        Its texts get places, those of the request too.
    known : tuple of Column
        Those that a request holds.
    predictor : Predictor
    compute : callable
        The domain's ``compute_features``.
    """
    kinds = {column.name: column.type for column in known}
    texts = {
        name: list(dict.fromkeys([*asked[name], *background[name]])) for name, kind in kinds.items() if kind == "text"
    }

    def read(columns: Columns) -> np.ndarray:
        return np.column_stack([_encode(columns[name], texts.get(name)) for name in kinds])

    def predict(X: np.ndarray) -> np.ndarray:
        columns = {
            name: _decode(values, kinds[name], texts.get(name)) for name, values in zip(kinds, X.T, strict=True)
        }
        return predict_last(predictor, compute_matrix(compute, columns, predictor.features))

    def show(name: str, value: float) -> str:
        return _show(_decode(np.array([value]), kinds[name], texts.get(name))[0])

    features = compute_matrix(compute, asked, predictor.features)[0]
    return Inputs(tuple(kinds), read(asked)[0], features, read, predict, show)


def _show(value: Any) -> str:
    """Show a text, a number, or a time to the minute."""
    if isinstance(value, str):
        return value
    if value is None or np.isnan(value) or (isinstance(value, np.datetime64) and np.isnat(value)):
        return "missing"
    return (
        str(value.astype("datetime64[m]")).replace("T", " ") if isinstance(value, np.datetime64) else f"{value:.6g}"
    )


def _encode(values: np.ndarray, texts: list[Any] | None) -> np.ndarray:
    """Write values as numbers."""
    if texts is not None:
        places = {text: float(place) for place, text in enumerate(texts)}
        return np.array([places.get(value, np.nan) for value in values])
    if values.dtype.kind == "M":
        times = values.astype("datetime64[us]")
        return np.where(np.isnat(times), np.nan, times.view(np.int64).astype(np.float64))
    return values.astype(np.float64)


def _decode(numbers: np.ndarray, kind: str, texts: list[Any] | None) -> np.ndarray:
    """Read values from numbers."""
    if texts is not None:
        return np.array([None if np.isnan(one) else texts[int(one)] for one in numbers], object)
    if kind == "timestamp":
        missing = np.isnan(numbers)
        times = np.where(missing, 0, numbers).astype(np.int64).view("datetime64[us]")
        return np.where(missing, np.datetime64("NaT", "us"), times)
    return numbers
