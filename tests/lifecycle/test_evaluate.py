"""What is measured of a model, and that it is the same twice."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run_here

from lifecycle.data.rows import Rows
from lifecycle.evaluate import format_rows, measure_metrics, measure_slices, predict_baseline
from lifecycle.metrics import Predictions, load_metrics
from lifecycle.params import EvaluateParams, read_params
from lifecycle.paths import CARD, METRICS, PLOTS

EVALUATE = EvaluateParams(seed=0, metrics=["x"], confidence=0.9, resamples=50, min_slice_rows=3)


def make_rows(y: list[float]) -> Rows:
    """Make rows with one feature."""
    n = len(y)
    return Rows(("x",), np.zeros((n, 1), np.float32), np.array(y), np.arange(n).astype("datetime64[s]"), {})


def test_baseline_predicts_the_mean_of_the_training_rows() -> None:
    made = predict_baseline(make_rows([1, 2, 6]), make_rows([10, 20]), None)
    assert made.prediction.tolist() == [3, 3]
    assert made.target.tolist() == [10, 20]


def test_baseline_of_a_classifier_predicts_the_shares_of_the_classes() -> None:
    made = predict_baseline(make_rows([0, 0, 0, 1]), make_rows([1, 0]), (0, 1))
    assert made.prediction.tolist() == [[0.75, 0.25], [0.75, 0.25]]


def test_metric_lies_in_its_interval_beside_the_baseline() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=300)
    made = Predictions(target, target + rng.normal(0, 0.5, 300))
    metrics = load_metrics(["neg_mean_absolute_error", "r2"], read_params().load_domain())
    measured = measure_metrics(metrics, made, Predictions(target, np.zeros(300)), EVALUATE)
    assert list(measured) == ["mean_absolute_error", "r2_score"]
    for figures in measured.values():
        assert figures["low"] < figures["value"] < figures["high"]
    assert measured["mean_absolute_error"]["baseline"] == pytest.approx(np.abs(target).mean(), rel=1e-5)


@pytest.mark.parametrize(("scorer", "worst"), [("neg_mean_absolute_error", "b"), ("r2", "b")])
def test_slices_name_the_worst_judged_group(scorer: str, worst: str) -> None:
    target = np.array([1.0, 2, 3, 1, 2, 3, 50, 60])
    made = Predictions(target, target + np.array([0.1, 0, 0.1, 1, -1, 1, 9, -9]))
    labels = np.array(["a", "a", "a", "b", "b", "b", "few", "few"])
    metric = load_metrics([scorer], read_params().load_domain())[0]
    groups, gaps = measure_slices(metric, made, {"kind": labels}, EVALUATE.min_slice_rows)
    assert [(row["group"], row["rows"], row["judged"]) for row in groups] == [
        ("a", 3, True),
        ("b", 3, True),
        ("few", 2, False),
    ]
    assert gaps["kind"]["worst"] == worst
    assert gaps["kind"]["best"] == "a"


def test_group_whose_metric_is_undefined_is_null_and_not_judged() -> None:
    """A group of one class has no ROC curve."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    made = Predictions(np.array([0, 1, 1, 1]), probabilities, (0, 1))
    metric = load_metrics(["roc_auc"], read_params().load_domain())[0]
    groups, gaps = measure_slices(metric, made, {"kind": np.array(["both", "both", "one", "one"])}, 1)
    written = json.loads(format_rows(groups), parse_constant=pytest.fail)
    assert [(row["group"], row["error"], row["judged"]) for row in written] == [
        ("both", 1, True),
        ("one", None, False),
    ]
    assert not gaps


def test_model_beats_the_baseline_and_the_card_says_so(workspace: Path) -> None:
    measured = json.loads(METRICS.read_text(encoding="utf-8"))
    first = next(iter(measured.values()))
    assert first["high"] < first["baseline"]
    card = CARD.read_text(encoding="utf-8")
    assert "better by" in card
    assert "Synthetic data" in card
    assert str(workspace) not in card


def test_evaluating_again_gives_the_same_bytes(workspace: Path) -> None:
    paths = [METRICS, CARD, *sorted(PLOTS.iterdir())]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert len(paths) == 10
    for path in paths:
        path.unlink()
    run_here(workspace, "lifecycle.evaluate")
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == before
