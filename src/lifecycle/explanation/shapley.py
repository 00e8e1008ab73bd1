"""Shapley values of one prediction: what each input adds to it, against rows drawn from training.

They are the only shares that add up to the prediction less the background's mean, give equal inputs equal shares, and
give nothing to an input that changes nothing. Source: Shapley, A Value for n-Person Games, 1953; Lundberg and Lee, A
Unified Approach to Interpreting Model Predictions, 2017, whose library computes them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lifecycle.errors import RefusedError

# Each further input doubles the work; of more of them, the values are estimated from permutations.
MOST_EXACT = 12
PERMUTATIONS = 20


@dataclass(frozen=True)
class Shares:
    """What is explained: ``prediction`` is ``base`` plus the sum of ``values``, but for ``gap``."""

    prediction: float
    base: float
    values: tuple[float, ...]
    gap: float
    is_exact: bool


def share_out(
    function: Callable[[np.ndarray], np.ndarray], row: np.ndarray, background: np.ndarray, tolerance: float, seed: int
) -> Shares:
    """Share a prediction out among its inputs.

    Parameters
    ----------
    function : callable
        From a matrix of shape (n_rows, n_inputs) to predictions of shape (n_rows,).
    row : ndarray of shape (n_inputs,)
    background : ndarray of shape (n_rows, n_inputs)
        An input that is left out takes the values that it has here.
    tolerance : float
        How far base and values together may lie from the prediction.
    seed : int
        Of the permutations, where there are too many inputs for exact values.

    Returns
    -------
    Shares

    Raises
    ------
    RefusedError
        If the values do not add up.
    """
    # Compiling its loops takes seconds, and running them as they are a fraction of one.
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    # It takes seconds to import, and nothing else needs it.
    import shap  # pylint: disable=import-outside-toplevel

    is_exact = len(row) <= MOST_EXACT
    masker = shap.maskers.Independent(background, max_samples=len(background))
    if is_exact:
        found = shap.explainers.Exact(function, masker)(row[None, :], silent=True)
    else:
        explainer = shap.explainers.Permutation(function, masker, seed=seed)
        found = explainer(row[None, :], max_evals=PERMUTATIONS * (2 * len(row) + 1), silent=True)
    # pylint: disable-next=no-member  # what comes is no list, but the library's record of an explanation
    values = tuple(float(value) for value in found.values[0])
    prediction, base = float(function(row[None, :])[0]), float(np.mean(function(background)))
    return check_sum(Shares(prediction, base, values, abs(base + sum(values) - prediction), is_exact), tolerance)


def check_sum(shares: Shares, tolerance: float) -> Shares:
    """Refuse values that do not add up to the prediction less the base."""
    if not shares.gap <= tolerance:
        raise RefusedError(
            f"the contributions add up to {shares.base + sum(shares.values):g} and the prediction is "
            f"{shares.prediction:g}; expected them to agree to {tolerance:g}. Raise explain.tolerance if the model's "
            "own figures are as rough as that."
        )
    return shares
