"""The monitor on this task's own months: quiet while nothing happens, and awake when the streets get slower."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import commit_all, copy_repository, run_python

from domain.features import compute_features
from domain.sample import generate_month
from lifecycle.data.profile import profile_values
from lifecycle.metrics import Predictions, load_metrics
from lifecycle.monitor import monitor
from lifecycle.monitoring.reference import Reference
from lifecycle.params import Params, read_params
from lifecycle.serve import get_service
from rehearsal.replay import Replay, ask, make_labels, read_month, write_days

pytestmark = pytest.mark.acceptance

MONTH, NEXT = "2025-01", datetime(2025, 2, 1, 12)
ROWS, REPLAYS = 6_000, 20


@dataclass(frozen=True)
class Traffic:
    """A month's rows, and the lines that the handler wrote of them, in the same order."""

    replay: Replay
    lines: list[dict[str, Any]]
    params: Params

    @property
    def predicted(self) -> np.ndarray:
        """The predictions, of shape (n_rows,)."""
        return np.array([line["prediction"] for line in self.lines])


@pytest.fixture(name="traffic", scope="module")
def fixture_traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """A month that the committed model has never seen, through the real handler."""
    folder, here, path = copy_repository(tmp_path_factory.mktemp("copy")), Path.cwd(), sys.path[:]
    commit_all(folder, "Copy")
    run_python(folder, "dvc", "pull", "--quiet", "out/model.onnx")
    pq.write_table(generate_month(MONTH, ROWS, 20240901), folder / "month.parquet")
    os.chdir(folder)
    get_service.cache_clear()
    params = read_params()
    domain = params.load_domain()
    replay = read_month(folder / "month.parquet", domain)
    lines = list(ask(replay, "replay"))
    yield Traffic(replay, lines, shorten(params))
    get_service.cache_clear()
    os.chdir(here)
    sys.path[:] = path


def shorten(params: Params) -> Params:
    """Measure a whole month, by the metric that decides, with the limits of params.yaml."""
    evaluate = params.evaluate.model_copy(update={"metrics": params.evaluate.metrics[:1], "resamples": 100})
    return params.model_copy(
        update={"evaluate": evaluate, "monitor": params.monitor.model_copy(update={"window_days": 33})}
    )


def make_reference(traffic: Traffic, rows: np.ndarray) -> Reference:
    """Make what evaluate would write of some rows."""
    chosen = traffic.replay.choose(rows)
    (metric,) = load_metrics(traffic.params.evaluate.metrics, traffic.params.load_domain())
    profile = {name: profile_values(values) for name, values in compute_features(chosen.columns).items()}
    profile["prediction"] = profile_values(traffic.predicted[rows])
    tested = metric.measure(Predictions(chosen.target, traffic.predicted[rows]))
    return Reference({metric.name: tested}, profile)


def watch(traffic: Traffic, rows: np.ndarray, reference: Reference, folder: Path, slower: float = 1) -> str:
    """Log some of the rows, with targets that are longer by a factor; give the verdict."""
    labels = list(make_labels(replace(traffic.replay, target=slower * traffic.replay.target), "replay"))
    write_days((traffic.lines[row] for row in rows), folder / "predictions", "a")
    write_days((labels[row] for row in rows), folder / "labels", "a")
    version = traffic.lines[0]["model_version"]
    found = monitor(str(folder / "predictions"), str(folder / "labels"), NEXT, traffic.params, {version: reference})
    return str(found["verdict"])


def test_halves_of_a_month_raise_at_most_one_false_alarm_in_twenty(traffic, tmp_path) -> None:
    verdicts = []
    for trial in range(REPLAYS):
        rows = np.random.default_rng(trial).permutation(len(traffic.lines))
        reference = make_reference(traffic, rows[::2])
        verdicts.append(watch(traffic, rows[1::2], reference, tmp_path / str(trial)))

    assert sum(verdict != "ok" for verdict in verdicts) <= 1, verdicts


def test_slow_down_of_15_percent_is_degraded_within_the_declared_sample(traffic, tmp_path) -> None:
    verdicts = []
    for trial in range(REPLAYS // 2):
        rows = np.random.default_rng(trial).permutation(len(traffic.lines))
        reference = make_reference(traffic, rows[::2])
        # A few are left out, since what is longer may be too long for the contract.
        sample = rows[1::2][: int(1.1 * traffic.params.monitor.min_rows)]
        verdicts.append(watch(traffic, sample, reference, tmp_path / str(trial), slower=1.15))

    assert verdicts == ["degraded"] * len(verdicts)
