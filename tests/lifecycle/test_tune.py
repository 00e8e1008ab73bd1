"""The search for hyperparameters: what it keeps, what it measures, and what it dares to say."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pyarrow as pa
import pytest
from conftest import run_git, run_here, run_python
from optuna.trial import FixedTrial

from lifecycle.comparison.paired import Comparison
from lifecycle.data.rows import read_rows
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.metrics import load_metrics
from lifecycle.params import read_params
from lifecycle.paths import TEST, TRAIN, TUNE, TUNE_JOURNAL
from lifecycle.seam import Domain
from lifecycle.tune import main, name_search, parse_time, parse_trials
from lifecycle.tuning.outcome import AS_GOOD, BASELINE, BETTER, DEFAULT, WORSE, decide
from lifecycle.tuning.search import Plan, open_journal
from lifecycle.tuning.space import read_space, suggest_values
from lifecycle.tuning.workers import Setting
from lifecycle.views.markdown import escape_text
from rehearsal.remote import change_params


@dataclass(frozen=True)
class Hyperparameters:
    """A default."""

    penalty: float = 5000.0
    max_iter: int = 7
    kind: str = "plain"


def read_report(folder: Path) -> dict[str, Any]:
    """Read what the search wrote."""
    report: dict[str, Any] = json.loads((folder / TUNE).read_text(encoding="utf-8"))
    return report


def describe_search(folder: Path) -> tuple[Setting, Plan]:
    """Describe the search that a folder asks for."""
    params = read_params(folder / "params.yaml")
    domain, default = params.load_domain(), params.train.hyperparameters
    metric = load_metrics(params.evaluate.metrics, domain)[0]
    plan = Plan(read_space(domain, default), asdict(default), metric.name, params.train.folds, params.tune)
    return Setting(params, domain, metric, read_rows(folder / TRAIN)), plan


def count_ended(folder: Path) -> int:
    """Count the ends of trials in the journal of a search."""
    path = folder / TUNE_JOURNAL
    return path.read_bytes().count(b'"state":1') if path.exists() else 0


def shuffle_targets(folder: Path) -> None:
    """Give the rows of a folder each other's targets."""
    for path in folder.glob("*.arrow"):
        with pa.ipc.open_file(path) as file:
            table = file.read_all()
        target = np.random.default_rng(0).permutation(table["target"].to_numpy())
        table = table.set_column(table.column_names.index("target"), "target", pa.array(target))
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)


def test_better_hyperparameters_are_found_measured_and_committed_to_a_branch(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_bytes()

    printed = run_here(workspace, "lifecycle.tune", "--trials", "8", "--branch", "tune/penalty").stdout

    report = read_report(workspace)
    assert report["verdict"] == BETTER
    assert "Better than the default: log_loss on the test rows" in printed
    assert len(report["trials"]) == 8
    assert report["trials"][0]["values"] == {"penalty": 5000.0}
    assert report["test"]["winner"] < report["test"]["default"] < report["test"]["baseline"]
    changed = run_git(workspace, "diff", "--unified=0", "main", "tune/penalty")
    assert re.findall(r"^[-+] .*", changed, re.M) == [
        "-  penalty: 5000.0",
        f"+  penalty: {report['winner']['values']['penalty']}",
    ]
    assert (workspace / "params.yaml").read_bytes() == before
    run_here(workspace, "lifecycle.tune", "--trials", "8")
    assert read_report(workspace) == report
    assert run_git(workspace, "worktree", "list").count("\n") == 1
    assert escape_text(report["sentence"], 500) in (workspace / "out/tune.md").read_text(encoding="utf-8")
    assert (workspace / "out/tune.html").read_text(encoding="utf-8").count("data:image/png") == 3


@pytest.mark.acceptance
def test_search_that_was_killed_goes_on_without_a_loss(workspace: Path) -> None:
    command = [sys.executable, "-m", "lifecycle.tune", "--trials", "60"]
    environment = {**os.environ, "PYTHONPATH": str(workspace / "src")}
    with subprocess.Popen(command, cwd=workspace, env=environment, stderr=subprocess.DEVNULL) as killed:
        until = time.monotonic() + 120
        while count_ended(workspace) < 5 and time.monotonic() < until:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    ended = count_ended(workspace)
    with (workspace / TUNE_JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":')

    run_python(workspace, "lifecycle.tune", "--trials", str(ended + 3))

    report = read_report(workspace)
    assert 5 <= ended < 60
    assert len(report["trials"]) == ended + 3
    assert report["trials"][0]["values"] == {"penalty": 5000.0}


def test_search_with_another_seed_another_default_or_other_rows_is_another_one(workspace: Path) -> None:
    first, again = (name_search(*describe_search(workspace)) for _ in range(2))
    change_params(workspace, {"tune": {"seed": 1}})
    seeded = name_search(*describe_search(workspace))
    change_params(workspace, {"train": {"penalty": 4.0}})
    moved = name_search(*describe_search(workspace))
    shuffle_targets(workspace / TRAIN)
    shuffled = name_search(*describe_search(workspace))

    assert first == again
    assert len({first, seeded, moved, shuffled}) == 4


@pytest.mark.acceptance
def test_nothing_beats_the_baseline_on_random_targets(workspace: Path) -> None:
    for folder in (TRAIN, TEST):
        shuffle_targets(workspace / folder)

    printed = run_python(workspace, "lifecycle.tune", "--trials", "12", "--branch", "tune/luck").stdout

    assert read_report(workspace)["verdict"] == BASELINE
    assert "tune: Nothing beats the baseline" in printed
    assert "tune/luck" not in run_git(workspace, "branch", "--all")


@pytest.mark.parametrize(
    ("bounds", "beaten", "is_default", "verdict", "said"),
    [
        ((-0.2, -0.1), True, False, BETTER, "Better than the default"),
        ((-0.2, 0.1), True, False, AS_GOOD, "Nothing surely beats the default"),
        ((0.1, 0.2), True, False, WORSE, "Nothing beats the default: what won the folds lost the test"),
        ((0.0, 0.0), True, True, DEFAULT, "Nothing beats the default: no other trial"),
        ((-0.2, -0.1), False, False, BASELINE, "Nothing beats the baseline"),
    ],
)
def test_sentence_says_no_more_than_the_test_rows(
    bounds: tuple[float, float], beaten: bool, is_default: bool, verdict: str, said: str
) -> None:
    low, high = bounds
    against = Comparison("on the test rows", 1.0, 1 + (low + high) / 2, (low + high) / 2, low, high)

    found, sentence = decide("log_loss", against, against, beaten, is_default)

    assert found == verdict
    assert sentence.startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "neither trials nor a time is given; expected TRIALS=40 or BUDGET=10m."),
        (["--trials", "0"], "TRIALS is '0'; expected a whole number above 0, such as 40."),
        (["--trials", "2", "--branch", "main"], "there is a branch 'main' already; name another one"),
    ],
)
def test_misuse_is_told_before_anything_is_fitted(workspace: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        main(arguments)

    assert not (workspace / TUNE_JOURNAL).exists()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_time_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0m", "m", "-1m", "ten minutes"])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match="expected a time such as 90s, 10m or 2h"):
        parse_time(text)


def test_trials_are_a_whole_number() -> None:
    assert parse_trials("40") == 40
    with pytest.raises(MisuseError, match="expected a whole number above 0"):
        parse_trials("4.5")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "the domain declares no SPACE"),
        ({"penalti": {"low": 1, "high": 2}}, "SPACE names 'penalti'; expected one of penalty, max_iter"),
        ({"penalty": {"low": 2, "high": 1}}, "penalty is .*low below high"),
        ({"penalty": {"low": 0, "high": 1, "log": True}}, "low above 0, for its logarithm"),
        ({"penalty": {"choices": [1.0, 2.0], "low": 1}}, "either choices, or low and high"),
        ({"penalty": {"low": 1.0, "high": 2.0}}, r"train.penalty is 5000.0, outside of the domain's SPACE"),
        ({"max_iter": {"low": 1, "high": 900, "when": {"sort": ["x"]}}}, "SPACE names 'sort'"),
    ],
)
def test_space_that_makes_no_sense_is_refused(space: dict[str, Any], said: str) -> None:
    domain = cast(Domain, SimpleNamespace(SPACE=space))

    with pytest.raises(MisuseError, match=said):
        read_space(domain, Hyperparameters())


def test_hyperparameter_is_searched_only_where_the_others_have_its_values() -> None:
    depth = {"low": 1, "high": 9, "when": {"kind": ["deep"]}}
    domain = cast(Domain, SimpleNamespace(SPACE={"kind": {"choices": ["plain", "deep"]}, "max_iter": depth}))
    space, default = read_space(domain, Hyperparameters()), asdict(Hyperparameters())

    plain, deep = (
        suggest_values(FixedTrial({"kind": value, "max_iter": 3}), space, default) for value in ("plain", "deep")
    )

    assert (plain["max_iter"], deep["max_iter"]) == (7, 3)


def test_journal_is_opened_by_one_search_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "tune.journal"

    with open_journal(path), pytest.raises(RefusedError, match="is in use by another search"):
        with open_journal(path):
            pass


def test_unfinished_line_of_a_journal_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "tune.journal"
    with open_journal(path) as storage:
        optuna.create_study(storage=storage, study_name="first")
    with path.open("ab") as file:
        file.write(b'{"op_code":')

    with open_journal(path) as storage:
        optuna.create_study(storage=storage, study_name="second")

    with open_journal(path) as storage:
        assert optuna.get_all_study_names(storage) == ["first", "second"]
