"""How much a metric owes to each feature."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.inspection import permutation_importance

from lifecycle.cluster import map_tasks
from lifecycle.data.rows import Rows
from lifecycle.metrics import Metric, Predictions
from lifecycle.predictor import Predictor
from lifecycle.views.numbers import round_figure

# Permuting a column tells its importance as well on this many rows as on millions.
IMPORTANCE_ROWS = 20_000
IMPORTANCE_REPEATS = 3


def measure_importance(metric: Metric, model: bytes, rows: Rows, seed: int) -> list[dict[str, Any]]:
    """Measure how much worse the metric gets when a feature's column is shuffled; on a cluster a feature is a task.

    Source: Breiman, Random Forests, 2001; computed by scikit-learn's permutation_importance.
    """
    chosen = np.random.default_rng(seed).permutation(len(rows.y))[:IMPORTANCE_ROWS]
    shuffle = partial(shuffle_columns, metric, model, rows.X[chosen], rows.y[chosen], seed)
    found = map_tasks(shuffle, range(len(rows.features)))
    return [
        {"feature": feature, "importance": round_figure(mean), "spread": round_figure(spread)}
        for feature, (mean, spread) in zip(rows.features, found, strict=True)
    ]


def shuffle_columns(
    metric: Metric, model: bytes, X: np.ndarray, y: np.ndarray, seed: int, columns: Sequence[int]
) -> Iterator[tuple[float, float]]:
    """Measure how much worse a metric gets when a column is shuffled: mean and spread of each of some columns."""
    predictor = Predictor(model)
    sign = -1 if metric.lower_is_better else 1

    def measure(seen: np.ndarray) -> float:
        return sign * metric.measure(Predictions(y, predictor.predict(seen), predictor.classes))

    whole = measure(X)
    for column in columns:

        def score(_: Any, shuffled: np.ndarray, __: np.ndarray, column: int = column) -> float:
            if np.array_equal(shuffled[:, 0], X[:, column], equal_nan=True):
                return whole
            seen = X.copy()
            seen[:, column] = shuffled[:, 0]
            return measure(seen)

        found = permutation_importance(
            DummyRegressor(),
            X[:, [column]],
            y,
            scoring=score,
            n_repeats=IMPORTANCE_REPEATS,
            random_state=seed,
        )
        yield found.importances_mean[0], found.importances_std[0]
