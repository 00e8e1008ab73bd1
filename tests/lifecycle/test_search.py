"""The search's bookkeeping: what becomes of trials that fail, are stopped or were interrupted, and what is told."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pytest
import readings
from distributed import LocalCluster
from sklearn.base import BaseEstimator, RegressorMixin

from lifecycle.cluster import ADDRESS
from lifecycle.data.rows import Rows
from lifecycle.errors import RefusedError
from lifecycle.metrics import load_metrics
from lifecycle.params import read_params
from lifecycle.seam import Domain
from lifecycle.tune import count_looks, describe_search
from lifecycle.tuning.outcome import DEFAULT, Outcome
from lifecycle.tuning.search import Budget, Plan, list_counted, open_journal, open_study, search
from lifecycle.tuning.space import Dimension, suggest_values
from lifecycle.tuning.workers import Setting
from lifecycle.views.tune_page import render_tune
from lifecycle.views.tune_plots import draw_tune

SPACE = {"rate": Dimension(low=-100.0, high=100.0), "depth": Dimension(choices=[3, 4])}


class Constant(RegressorMixin, BaseEstimator):
    """Predicts its rate; a negative one cannot be fitted, and 99 is predicted as nothing."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def fit(self, *_: np.ndarray) -> "Constant":
        """Refuse what is negative."""
        if self.rate < 0:
            raise ValueError("the rate is\nnegative")
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Give the same for each row."""
        return np.full(len(X), np.nan if self.rate == 99 else self.rate)


def build_model(_features: tuple[str, ...], hyperparameters: readings.Hyperparameters, _seed: int) -> Constant:
    """Build the model."""
    return Constant(hyperparameters.rate)


def measure_gap(target: np.ndarray, prediction: np.ndarray) -> float:
    """Measure how far predictions lie from their targets."""
    return float(np.mean(np.abs(target - prediction)))


def make_search(folder: Path, rate: float = 0.5) -> tuple[Setting, Plan]:
    """Make a search for the rate of which nothing is left to predict, and its first one."""
    domain = SimpleNamespace(
        METRICS={"gap_error": measure_gap}, Hyperparameters=readings.Hyperparameters, build_model=build_model
    )
    params = read_params(readings.write_params(folder, {"tune": {"startup_trials": 1}}))
    metric = load_metrics(["gap_error"], cast(Domain, domain))[0]
    rows = Rows(("size",), np.zeros((12, 1)), np.zeros(12), np.arange(12), {})
    plan = Plan(SPACE, {"rate": rate, "depth": 3}, metric.name, params.train.folds, params.tune)
    return Setting(params, cast(Domain, domain), metric, rows), plan


@pytest.fixture(name="here")
def fixture_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, and fit in a thread of this process."""
    monkeypatch.chdir(tmp_path)
    loopback = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(1, threads_per_worker=1, processes=False, **loopback) as cluster:
        monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
        yield tmp_path


def test_trials_that_fail_or_are_stopped_are_told_and_the_best_one_wins(here: Path) -> None:
    setting, plan = make_search(here)
    with open_journal(here / "tune.journal") as storage:
        study = open_study(storage, "first", True, plan)
        for rate, depth in ((-1.0, 4), (99.0, 4), (60.0, 4), (0.0, 3)):
            study.enqueue_trial({"rate": rate, "depth": depth})

        search(study, plan, Budget(5, None), setting)
        search(study, plan, Budget(5, None), setting)

        outcome = Outcome(
            DEFAULT, "Nothing beats the default.", dict.fromkeys(("baseline", "default", "winner"), 1.0)
        )
        count_looks(study)
        report = describe_search(study, plan, suggest_values(study.best_trial, SPACE, plan.default), outcome)

    told = [(trial["state"], trial["folds"], trial["fault"]) for trial in report["trials"]]
    assert told == [
        ("complete", [0.5, 0.5], None),
        ("fail", [], "ValueError: the rate is negative"),
        ("fail", [], "gap_error is no finite number"),
        ("pruned", [60.0], None),
        ("complete", [0.0, 0.0], None),
    ]
    assert report["winner"] == {"trial": 4, "values": {"rate": 0.0, "depth": 3}, "folds": 0.0}
    assert report["choices"] == [
        {"name": "depth", "choice": 3, "trials": 2, "best": 0.0},
        {"name": "depth", "choice": 4, "trials": 3, "best": None},
    ]
    # Of two trials that ran to their end nobody can say what mattered.
    assert report["importance"] == {}
    expect_page(report)


def expect_page(report: dict[str, Any]) -> None:
    """Expect choices on the page, and nothing of what mattered."""
    page = render_tune(report)
    assert "5 trials in 0 min" in page and "2 complete, 1 stopped early, 2 failed." in page
    choices = page.partition("### Choices")[2].partition("###")[0]
    assert [line.count("`depth`") for line in choices.splitlines() if "`depth`" in line] == [1, 1]
    assert "What mattered" not in page
    assert {*draw_tune(report)} == {"history", "cost"}


def test_default_that_cannot_be_fitted_ends_the_search_and_names_the_section(here: Path) -> None:
    setting, plan = make_search(here, rate=-1.0)

    with open_journal(here / "tune.journal") as storage:
        study = open_study(storage, "first", True, plan)
        with pytest.raises(
            RefusedError, match="cannot be measured: ValueError: the rate is negative. Correct .* train"
        ):
            search(study, plan, Budget(3, None), setting)

        assert list_counted(study) == []


def test_interrupted_trial_is_drawn_once_more_and_no_third_time(tmp_path: Path) -> None:
    _, plan = make_search(tmp_path)
    with open_journal(tmp_path / "tune.journal") as storage:

        def draw_and_leave() -> optuna.Trial:
            """Go on as the next run does, and leave a trial behind, as one that is killed."""
            trial = open_study(storage, "killed", True, plan).ask()
            suggest_values(trial, plan.space, plan.default)
            return trial

        # Before the default has ended it comes first, however often that takes.
        defaults = [draw_and_leave() for _ in range(3)]
        defaults[-1].study.tell(defaults[-1], 0.5)
        first, again, other = (draw_and_leave() for _ in range(3))

        assert [trial.params for trial in defaults] == [plan.default] * 3
        assert (again.params, again.user_attrs) == (first.params, {"again": first.number})
        assert other.params != first.params and not other.user_attrs
