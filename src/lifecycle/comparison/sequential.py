"""Decide between two models while their labels come in, with an error that holds however often one looks.

The bound is the asymptotic confidence sequence by a Gaussian mixture of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024): after
t requests a mean lies within

    sigma_t * sqrt(2 (t rho^2 + 1) / (t^2 rho^2) * log(sqrt(t rho^2 + 1) / alpha))

of its estimate, at all t at once, with probability 1 - alpha. It holds for independent requests whose losses have a
variance, and the better the more of them the first decision takes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

PROMOTE, KEEP, CONTINUE, UNDECIDED = "promote", "keep", "continue", "undecided"
Outcome = Literal["promote", "keep", "continue", "undecided"]


@dataclass(frozen=True)
class Rule:
    """When to decide; declared before the first label comes.

    Attributes
    ----------
    alpha : float
        Largest probability that the challenger is promoted, or the champion kept, wrongly.
    min_requests, max_requests : int
        Requests of the rarer model that a decision takes at least, and that end the comparison.
    min_gain : float
        By which share of the champion's loss the challenger's must be lower; 0 asks for any gain.
    """

    alpha: float
    min_requests: int
    max_requests: int
    min_gain: float


@dataclass(frozen=True)
class Decision:
    """What was decided, after how many requests of the rarer model; the gain is per request, in the loss's unit."""

    outcome: Outcome
    requests: int
    gain: float
    low: float
    high: float


def compare_paired(champion: np.ndarray, challenger: np.ndarray, rule: Rule) -> Decision:
    """Compare two models on the same requests.

    Parameters
    ----------
    champion, challenger : ndarray of shape (n_requests,)
        Losses, in the order of time.
    rule : Rule

    Returns
    -------
    Decision
        Of the first request after which the rule could decide.
    """
    gains = (1 - rule.min_gain) * champion - challenger
    mean, variance = _run(gains)
    return _decide(np.arange(1, len(gains) + 1), np.arange(1, len(gains) + 1), mean, np.sqrt(variance), rule)


def compare_split(losses: np.ndarray, is_challenger: np.ndarray, rule: Rule) -> Decision:
    """Compare two models on requests of which each answered its part.

    Parameters
    ----------
    losses : ndarray of shape (n_requests,)
        Of the model that answered, in the order of time.
    is_challenger : ndarray of shape (n_requests,), bool
        Which model that was.
    rule : Rule

    Returns
    -------
    Decision
        Of the first request after which the rule could decide.
    """
    champion, champion_variance, n_champion = _run_where(losses, ~is_challenger)
    challenger, challenger_variance, n_challenger = _run_where(losses, is_challenger)
    total, weight = np.arange(1, len(losses) + 1), 1 - rule.min_gain
    with np.errstate(divide="ignore", invalid="ignore"):
        # The variance that a mean of this many requests would have, were it one sample.
        variance = total * (weight**2 * champion_variance / n_champion + challenger_variance / n_challenger)
    return _decide(
        total, np.minimum(n_champion, n_challenger), weight * champion - challenger, np.sqrt(variance), rule
    )


def compute_radius(requests: np.ndarray, rule: Rule) -> np.ndarray:
    """Compute the radius of the confidence sequence, in standard deviations of one request.

    Parameters
    ----------
    requests : ndarray of shape (n,)
        Counts of requests, from 1 on.
    rule : Rule

    Returns
    -------
    ndarray of shape (n,)
    """
    # The rho of the source that is tightest where the comparison may first end.
    spread = -2 * np.log(rule.alpha)
    squared = (spread + np.log(spread + 1)) / rule.min_requests
    grown = requests * squared + 1
    return np.sqrt(2 * grown / (requests**2 * squared) * np.log(np.sqrt(grown) / rule.alpha))


def _run(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and variance of the first 1, 2, ... values."""
    counts = np.arange(1, len(values) + 1)
    # Around the first value, so that the squares of large numbers do not swallow the variance.
    shifted = values - values[:1]
    mean = np.cumsum(shifted) / counts
    return mean + values[:1], np.maximum(np.cumsum(shifted**2) / counts - mean**2, 0)


def _run_where(values: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute mean, variance and count of the chosen ones among the first 1, 2, ... values; NaN before the first."""
    counts = np.cumsum(chosen)
    mean, variance = (np.concatenate([[np.nan], of_chosen])[counts] for of_chosen in _run(values[chosen]))
    return mean, variance, counts


def _decide(total: np.ndarray, compared: np.ndarray, gain: np.ndarray, deviation: np.ndarray, rule: Rule) -> Decision:
    """Find the first request after which the rule decides, or else say what is known after the last one."""
    end = np.searchsorted(compared, rule.max_requests) + 1
    eligible = np.flatnonzero(compared[:end] >= rule.min_requests)
    if eligible.size == 0:
        return Decision(CONTINUE, int(compared[-1]) if compared.size else 0, np.nan, np.nan, np.nan)
    radius = deviation * compute_radius(total, rule)
    low, high = gain - radius, gain + radius
    sure = eligible[(low[eligible] > 0) | (high[eligible] < 0)]
    at = int(sure[0] if sure.size else eligible[-1])
    outcome: Outcome = PROMOTE if low[at] > 0 else KEEP if high[at] < 0 else CONTINUE
    if outcome == CONTINUE and compared[at] == rule.max_requests:
        outcome = UNDECIDED
    return Decision(outcome, int(compared[at]), float(gain[at]), float(low[at]), float(high[at]))
