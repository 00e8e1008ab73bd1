"""Metrics of this task that scikit-learn has no scorer for; named with their direction (_error, _score)."""

import numpy as np


def p90_absolute_error(target: np.ndarray, prediction: np.ndarray) -> float:
    """Compute the absolute error, in minutes, that nine trips in ten stay below; both of shape (n_samples,)."""
    return float(np.quantile(np.abs(target - prediction), 0.9))


def within_5_minutes_score(target: np.ndarray, prediction: np.ndarray) -> float:
    """Compute the share of trips predicted to within 5 minutes; both of shape (n_samples,)."""
    return float(np.mean(np.abs(target - prediction) <= 5))


METRICS = {metric.__name__: metric for metric in (p90_absolute_error, within_5_minutes_score)}
