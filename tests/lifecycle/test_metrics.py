"""Metrics by name, their direction and their intervals."""

import numpy as np
import pytest

from lifecycle.errors import MisuseError
from lifecycle.metric_names import choose_unit, is_lower_better
from lifecycle.metrics import Predictions, bootstrap_interval, bootstrap_metrics, load_metrics
from lifecycle.params import read_params
from lifecycle.seam import Domain


@pytest.fixture(name="domain", scope="module")
def fixture_domain() -> Domain:
    """The repository's own domain."""
    return read_params().load_domain()


REGRESSION = Predictions(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
CLASSIFICATION = Predictions(
    np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), (0, 1)
)


@pytest.mark.parametrize(
    ("scorer", "made", "name", "value"),
    [
        ("neg_mean_absolute_error", REGRESSION, "mean_absolute_error", 1.0),
        ("neg_root_mean_squared_error", REGRESSION, "root_mean_squared_error", np.sqrt(5 / 3)),
        ("r2", REGRESSION, "r2_score", 1 - 5 / (14 / 3)),
        ("accuracy", CLASSIFICATION, "accuracy_score", 0.75),
        ("roc_auc", CLASSIFICATION, "roc_auc_score", 1.0),
        ("neg_log_loss", CLASSIFICATION, "log_loss", -np.mean(np.log([0.9, 0.8, 0.4, 0.7]))),
        ("neg_brier_score", CLASSIFICATION, "brier_score_error", np.mean([0.01, 0.04, 0.36, 0.09])),
    ],
)
def test_scorer_is_shown_under_a_name_with_its_direction(
    domain: Domain, scorer: str, made: Predictions, name: str, value: float
) -> None:
    metric = load_metrics([scorer], domain)[0]
    assert metric.name == name
    assert metric.lower_is_better == scorer.startswith("neg_")
    assert metric.measure(made) == pytest.approx(value)


def test_domain_metric_is_measured(domain: Domain) -> None:
    class Own:
        """A domain with a metric of its own."""

        METRICS = {**domain.METRICS, "largest_error": lambda target, prediction: abs(target - prediction).max()}

    metric = load_metrics(["largest_error"], Own())[0]
    assert metric.lower_is_better
    assert metric.measure(REGRESSION) == 2


def test_metric_of_classes_is_undefined_where_there_is_one_class(domain: Domain) -> None:
    for metric in load_metrics(["neg_log_loss", "roc_auc"], domain):
        assert np.isnan(metric.measure_rows(CLASSIFICATION, np.array([1, 2])))


def test_metric_of_some_rows_sees_only_them(domain: Domain) -> None:
    metric = load_metrics(["neg_mean_absolute_error"], domain)[0]
    assert metric.measure_rows(REGRESSION, np.array([2, 2])) == 2


def test_unknown_metric_is_misuse(domain: Domain) -> None:
    with pytest.raises(MisuseError, match="evaluate.metrics names 'rmse'; expected one of scikit-learn's scorers"):
        load_metrics(["rmse"], domain)


def test_metric_without_direction_is_misuse(domain: Domain) -> None:
    class Nameless:
        """A domain with a metric that does not say its direction."""

        METRICS = {**domain.METRICS, "closeness": lambda target, prediction: 0.0}

    with pytest.raises(MisuseError, match="'closeness' has no direction"):
        load_metrics(["closeness"], Nameless())


@pytest.mark.parametrize(
    ("name", "lower", "unit"),
    [("p90_absolute_error", True, "min"), ("log_loss", True, ""), ("r2_score", False, ""), ("x", False, "")],
)
def test_name_tells_direction_and_unit(name: str, lower: bool, unit: str) -> None:
    assert is_lower_better(name) is lower
    assert choose_unit(name, "min") == unit


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Means of 100 samples of 200 normal values, at 90 %: from 81 to 98 of them hold the true mean (3 sigma)."""
    rng = np.random.default_rng(0)
    hits = 0
    for values in rng.normal(5, 2, (100, 200)):
        low, high, spread = bootstrap_interval(lambda rows, v=values: float(v[rows].mean()), 200, 0.9, 200, 1)
        hits += low < 5 < high
        assert spread == pytest.approx(2 / np.sqrt(200), rel=0.3)
    assert 81 <= hits <= 98


def test_interval_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(3).normal(size=50)
    first, again, other = (
        bootstrap_interval(lambda rows: float(values[rows].mean()), 50, 0.9, 100, seed) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_metrics_that_are_bootstrapped_together_have_the_intervals_that_each_has_alone(domain: Domain) -> None:
    target = np.random.default_rng(0).normal(size=200)
    made = Predictions(target, target + np.random.default_rng(1).normal(size=200))
    metrics = load_metrics(["neg_mean_absolute_error", "r2"], domain)

    # No whole number of tasks.
    together = bootstrap_metrics(metrics, made, 0.9, 57, 3)

    assert together == [
        bootstrap_interval(lambda rows, metric=metric: metric.measure_rows(made, rows), 200, 0.9, 57, 3)
        for metric in metrics
    ]
