"""What came of a search: its winner, measured once on rows that the search never saw."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifecycle.comparison.paired import Comparison, Pair, compare
from lifecycle.data.rows import Rows, read_rows
from lifecycle.evaluate import predict_baseline, predict_rows
from lifecycle.metrics import Predictions
from lifecycle.predictor import Predictor
from lifecycle.train import train
from lifecycle.tuning.space import Values
from lifecycle.tuning.workers import Setting

BETTER, AS_GOOD, WORSE, DEFAULT, BASELINE = "better", "as_good", "worse", "default", "baseline"


@dataclass(frozen=True)
class Outcome:
    """A verdict in a word and in a sentence, and the first metric of the test rows."""

    verdict: str
    sentence: str
    figures: dict[str, float]


def measure_outcome(setting: Setting, default: Values, winner: Values, looks: int, test_folder: Path) -> Outcome:
    """Fit winner and default on the whole training set, and compare them on the test rows, pair by pair.

    Parameters
    ----------
    setting : Setting
    default, winner : dict of str to value
        Of every hyperparameter.
    looks : int
        How many winners of this search were held against these rows, this one included; they share the confidence
        (Bonferroni), so that looking often does not make a false success likely.
    test_folder : Path

    Returns
    -------
    Outcome

    Raises
    ------
    ParityError
        If a model does not convert.
    """
    test = read_rows(test_folder)
    former = _fit_and_predict(setting, default, test)
    made = former if winner == default else _fit_and_predict(setting, winner, test)
    baseline = predict_baseline(setting.rows, test, former.classes)
    against = {
        "baseline": _compare(setting, made, baseline, looks),
        "default": _compare(setting, made, former, looks),
    }
    beaten = against["baseline"].high < 0 or _compare(setting, former, baseline, 1).high < 0
    verdict, sentence = decide(
        setting.metric.name, against["default"], against["baseline"], beaten, winner == default
    )
    figures = {
        "baseline": against["baseline"].champion,
        "default": against["default"].champion,
        "winner": against["default"].challenger,
        "low": against["default"].low,
        "high": against["default"].high,
    }
    return Outcome(verdict, sentence, figures)


def _fit_and_predict(setting: Setting, values: Values, test: Rows) -> Predictions:
    """Predict the test rows as the model would serve them."""
    _, converted, _ = train(setting.rows, setting.build_model(values), setting.params.train)
    return predict_rows(Predictor(converted), test)


def _compare(setting: Setting, challenger: Predictions, champion: Predictions, looks: int) -> Comparison:
    """Compare two models on all test rows."""
    params = setting.params.evaluate
    confidence = 1 - (1 - params.confidence) / looks
    rows = np.arange(len(champion.target))
    return compare(setting.metric, Pair(challenger, champion), "on the test rows", rows, confidence, params)


def decide(metric: str, default: Comparison, baseline: Comparison, beaten: bool, is_default: bool) -> tuple[str, str]:
    """Say what a search found.

    Parameters
    ----------
    metric : str
    default, baseline : Comparison
        The winner against either, on the test rows.
    beaten : bool
        Whether winner or default is surely better than the baseline.
    is_default : bool
        Whether the winner is the default itself.

    Returns
    -------
    verdict, sentence : str
    """
    if not beaten:
        return BASELINE, f"Nothing beats the baseline: {metric} {baseline} than the trivial model."
    if is_default:
        return DEFAULT, f"Nothing beats the default: no other trial had a better {metric} over the folds."
    if default.high < 0:
        return BETTER, f"Better than the default: {metric} {default}."
    if default.low > 0:
        return WORSE, f"Nothing beats the default: what won the folds lost the test, {metric} {default}."
    return AS_GOOD, f"Nothing surely beats the default: {metric} {default}."
