"""Metrics by scikit-learn's scorer names or the domain's own, their direction, and their bootstrap intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from lifecycle.cluster import map_tasks
from lifecycle.errors import MisuseError
from lifecycle.metric_names import LOWER_ENDINGS, is_lower_better
from lifecycle.seam import Domain

# Enough that a task outweighs its way to a worker and back.
TASK_RESAMPLES = 10


class _Lookup(BaseEstimator):
    """An estimator whose samples are row numbers, and which answers with predictions made before."""

    def __init__(self, prediction: np.ndarray, classes: tuple[float, ...] | None = None) -> None:
        self.prediction = prediction
        self.classes = classes
        self.classes_ = np.asarray(classes)

    def fit(self, *_: np.ndarray) -> "_Lookup":
        """Do nothing: the predictions are there."""
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Look the rows' predictions up."""
        found = self.prediction[X]
        return found if self.classes is None else self.classes_[found.argmax(axis=1)]


class _RegressionLookup(RegressorMixin, _Lookup):
    """Looks up predictions of a regression."""


class _ClassificationLookup(ClassifierMixin, _Lookup):
    """Looks up probabilities of classes."""

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Look the rows' probabilities up."""
        return self.prediction[X]


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for known targets; ``classes`` is None for a regression."""

    target: np.ndarray
    prediction: np.ndarray
    classes: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Metric:
    """A named figure of a model; its name ends in _error or _loss where lower is better, in _score otherwise."""

    name: str
    measure_rows: Callable[[Predictions, np.ndarray], float]

    @property
    def lower_is_better(self) -> bool:
        """Tell the metric's direction."""
        return is_lower_better(self.name)

    def measure(self, predictions: Predictions) -> float:
        """Compute the figure over all rows."""
        return self.measure_rows(predictions, np.arange(len(predictions.target)))


def load_metrics(names: list[str], domain: Domain) -> list[Metric]:
    """Find metrics by their names in params.yaml.

    Parameters
    ----------
    names : list of str
        scikit-learn's scorer names, or keys of the domain's METRICS.
    domain : Domain

    Returns
    -------
    list of Metric

    Raises
    ------
    MisuseError
        If a name is neither.
    """
    return [_load_metric(name, domain) for name in names]


def _load_metric(name: str, domain: Domain) -> Metric:
    """Find one metric."""
    if name in domain.METRICS:
        function = domain.METRICS[name]
        if not name.endswith((*LOWER_ENDINGS, "_score")):
            raise MisuseError(f"the domain's metric {name!r} has no direction; end it in _error, _loss or _score.")
        return Metric(name, lambda made, rows: float(function(made.target[rows], made.prediction[rows])))
    if name not in get_scorer_names():
        raise MisuseError(
            f"evaluate.metrics names {name!r}; expected one of scikit-learn's scorers or of the domain's METRICS."
        )
    scorer = get_scorer(name)
    plain = name.removeprefix("neg_")
    sign = -1 if plain != name else 1
    if sign < 0:
        shown = plain if plain.endswith(LOWER_ENDINGS) else f"{plain}_error"
    else:
        shown = plain if plain.endswith("_score") else f"{plain}_score"

    def measure_rows(made: Predictions, rows: np.ndarray) -> float:
        kind = _RegressionLookup if made.classes is None else _ClassificationLookup
        if made.classes is not None and len(np.unique(made.target[rows])) < 2:
            # Many metrics of classes are undefined where there is only one; some scorers fail, some warn.
            return float("nan")
        return sign * float(scorer(kind(made.prediction, made.classes), rows, made.target[rows]))

    return Metric(shown, measure_rows)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], n_rows: int, confidence: float, resamples: int, seed: int
) -> tuple[float, float, float]:
    """Bootstrap a statistic of rows.

    Parameters
    ----------
    statistic : callable
        Takes row numbers of shape (n_rows,).
    n_rows : int
    confidence : float
        Coverage of the interval, between 0 and 1.
    resamples : int
    seed : int

    Returns
    -------
    low, high, spread : float
        The percentile interval and the standard error. Source: Efron and Tibshirani, An Introduction to the
        Bootstrap, 1993, chapter 13.
    """
    generator = np.random.default_rng(seed)
    return _summarise([statistic(generator.integers(0, n_rows, n_rows)) for _ in range(resamples)], confidence)


def bootstrap_metrics(
    metrics: Sequence[Metric], made: Predictions, confidence: float, resamples: int, seed: int
) -> list[tuple[float, float, float]]:
    """Bootstrap metrics, all on the same resamples; on a cluster a few resamples are a task.

    Returns
    -------
    list of tuple of float
        What `bootstrap_interval` gives for each metric.
    """
    draws = list(_list_draws(len(made.target), resamples, seed))
    drawn = np.array(list(map_tasks(partial(_measure_draws, metrics, made), draws)))
    return [_summarise(values, confidence) for values in drawn.T]


def _list_draws(n_rows: int, resamples: int, seed: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """List states of a generator, and how many resamples to draw from each: together, what it draws in one go."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, TASK_RESAMPLES):
        count = min(TASK_RESAMPLES, resamples - start)
        yield generator.bit_generator.state, count
        for _ in range(count):
            generator.integers(0, n_rows, n_rows)


def _measure_draws(
    metrics: Sequence[Metric], made: Predictions, draws: Sequence[tuple[Mapping[str, Any], int]]
) -> Iterator[list[float]]:
    """Measure every metric on resamples that a generator draws from its states on."""
    n_rows, bits = len(made.target), np.random.PCG64()
    for state, count in draws:
        bits.state = state
        generator = np.random.Generator(bits)
        for _ in range(count):
            rows = generator.integers(0, n_rows, n_rows)
            yield [metric.measure_rows(made, rows) for metric in metrics]


def _summarise(drawn: Sequence[float] | np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Compute percentile interval and standard error; a resample on which the figure is undefined is left out."""
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high), float(np.nanstd(drawn, ddof=1))
