"""The fork drill: another task takes the first one's place, and nothing of the machinery changes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import FORK, commit_all, copy_repository, run_git, run_python

pytestmark = pytest.mark.acceptance

# What a fork replaces, or what a run makes of it.
REPLACED = ("src/domain/", "tests/domain/", "params.yaml", "data.dvc", "dvc.lock")
REPORT_CHARACTERS = 60_000


@dataclass(frozen=True)
class Drill:
    """The copy as the drill left it, its first commit, and what the gate printed and decided on the way."""

    folder: Path
    template: str
    first: tuple[str, dict[str, Any]]
    committed: tuple[str, dict[str, Any]]
    improved: tuple[str, dict[str, Any]]


def swap_domain(folder: Path) -> None:
    """Put the fork's task in the place of the first one, with data of its own."""
    for name in ("src/domain", "tests/domain"):
        shutil.rmtree(folder / name)
        shutil.copytree(FORK / name, folder / name)
    shutil.copy(FORK / "params.yaml", folder)
    for name in ("data.dvc", "dvc.lock"):
        (folder / name).unlink(missing_ok=True)
    run_python(folder, "lifecycle.sample")
    run_python(folder, "dvc", "add", "--quiet", "data")


def judge(folder: Path) -> tuple[str, dict[str, Any]]:
    """Run the gate; give what it printed, and its verdict."""
    printed = run_python(folder, "lifecycle.gate").stdout
    return printed, json.loads((folder / "out" / "verdict.json").read_text(encoding="utf-8"))


@pytest.fixture(name="drill", scope="module")
def fixture_drill(tmp_path_factory: pytest.TempPathFactory) -> Drill:
    """Do the drill: swap the task, train and commit its first model, then improve it."""
    folder = tmp_path_factory.mktemp("fork")
    copy_repository(folder)
    commit_all(folder, "Start from the template")
    template = run_git(folder, "rev-parse", "HEAD").strip()
    swap_domain(folder)
    run_python(folder, "dvc", "repro", "--quiet")
    first = judge(folder)
    commit_all(folder, "Train the first model")
    committed = judge(folder)
    params = folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("penalty: 1000.0", "penalty: 1.0"), encoding="utf-8")
    run_python(folder, "dvc", "repro", "--quiet")
    return Drill(folder, template, first, committed, judge(folder))


def test_first_model_of_a_fork_is_judged_against_the_baseline(drill: Drill) -> None:
    _, verdict = drill.first

    assert (verdict["outcome"], verdict["champion"]) == ("pass", "baseline")


def test_committed_model_of_a_fork_is_its_champion(drill: Drill) -> None:
    _, verdict = drill.committed

    assert verdict["outcome"] == "unchanged"
    assert verdict["champion"].startswith("part-failure at ")


def test_better_model_of_a_fork_passes(drill: Drill) -> None:
    _, verdict = drill.improved

    assert verdict["outcome"] == "pass"
    assert verdict["champion"] == drill.committed[1]["champion"]
    # Of the first metric, log_loss, for which lower is better.
    assert verdict["figures"]["challenger"] < verdict["figures"]["champion"]
    assert verdict["figures"]["high"] < 0


def test_metrics_of_a_fork_are_named_and_shown_with_their_direction(drill: Drill) -> None:
    measured = json.loads((drill.folder / "out" / "metrics.json").read_text(encoding="utf-8"))

    printed = [line.split()[:2] for line in drill.improved[0].splitlines()[1:5]]

    assert printed == [
        ["log_loss", "↓"],
        ["roc_auc_score", "↑"],
        ["accuracy_score", "↑"],
        ["missed_failures_error", "↓"],
    ]
    assert list(measured) == [name for name, _ in printed]
    assert measured["log_loss"]["value"] < measured["log_loss"]["baseline"]
    assert measured["roc_auc_score"]["value"] > measured["roc_auc_score"]["baseline"] == 0.5


def test_report_of_a_fork_says_what_changed(drill: Drill) -> None:
    run_python(drill.folder, "lifecycle.report", "--base", "HEAD")

    report = (drill.folder / "out" / "report.md").read_text(encoding="utf-8")

    assert "pass" in report.splitlines()[0]
    assert all(word in report for word in ("log_loss", "roc_auc_score", "penalty"))
    assert len(report) < REPORT_CHARACTERS


def test_fork_meets_its_own_tests_and_the_borders_of_the_rooms(drill: Drill) -> None:
    printed = run_python(drill.folder, "pytest", "tests/domain", "tests/test_rooms.py").stdout

    assert "passed" in printed


def test_fork_changes_no_line_of_the_machinery(drill: Drill) -> None:
    run_git(drill.folder, "add", "--all")

    counted = run_git(drill.folder, "diff", "--cached", "--numstat", "--no-renames", drill.template)
    changed = [line.split("\t")[2] for line in counted.splitlines()]

    assert "src/domain/contract.py" in changed
    assert [path for path in changed if not path.startswith((*REPLACED, "out/"))] == []
