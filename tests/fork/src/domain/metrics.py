"""Metrics of this task that scikit-learn has no scorer for; named with their direction (_error, _score)."""

import numpy as np

# Parts are taken out from this probability on: a failure costs as much as four parts.
ALARM_PROBABILITY = 0.25


def missed_failures_error(target: np.ndarray, prediction: np.ndarray) -> float:
    """Compute the share of the failing parts that stay in.

    Parameters
    ----------
    target : ndarray of shape (n_samples,)
    prediction : ndarray of shape (n_samples, 2)
        The probabilities of 0 and 1.
    """
    return float(np.mean(prediction[target == 1, 1] < ALARM_PROBABILITY))


METRICS = {"missed_failures_error": missed_failures_error}
