"""Reproduce: a lock is believed only as far as a run confirms it."""

import json
from pathlib import Path

import pytest
from conftest import commit_all, replace_text, run_git, run_python

from lifecycle.comparison.lock import DIFFERENT, FRESH, STALE, UNAVAILABLE, list_far_metrics
from lifecycle.repository import find_hash, read_lock
from rehearsal.remote import change_params


def check(folder: Path, base: str = "main") -> tuple[int, dict, str]:
    """Hold the lock of HEAD against a run, as the workflow does."""
    done = run_python(folder, "lifecycle.reproduce", "--check", "--base", base, check=False)
    path = folder / "out/lock.json"
    return done.returncode, json.loads(path.read_text()) if path.exists() else {}, done.stdout + done.stderr


def test_lock_that_is_true_is_fresh_and_nothing_runs(workspace: Path) -> None:
    code, found, _ = check(workspace)

    assert (code, found["state"], found["ran"]) == (0, FRESH, [])
    assert run_git(workspace, "status", "--porcelain") == ""


@pytest.mark.acceptance
def test_lock_without_its_inputs_is_stale_and_the_command_is_told(workspace: Path) -> None:
    run_git(workspace, "checkout", "--quiet", "-b", "change")
    change_params(workspace, {"train": {"penalty": 10.0}})
    commit_all(workspace, "Change only params.yaml")
    before = json.loads((workspace / "out/metrics.json").read_text())

    code, found, said = check(workspace)

    assert (code, found["state"]) == (1, STALE)
    assert "stage train: params (train.penalty)" in found["reasons"]
    assert found["ran"] == ["train", "evaluate"]
    assert "Mend it with: make pipeline &&" in said
    # The folder holds what the change makes, so that a report can tell.
    assert json.loads((workspace / "out/metrics.json").read_text()) != before

    run_python(workspace, "dvc", "push", "--quiet")
    commit_all(workspace, "Mend the lock")
    code, found, _ = check(workspace)
    # The fit itself comes out of DVC's cache of runs.
    assert (code, found["state"], found["ran"]) == (0, FRESH, ["evaluate"])


@pytest.mark.acceptance
def test_metrics_that_the_lock_does_not_name_are_found_out(workspace: Path) -> None:
    run_git(workspace, "checkout", "--quiet", "-b", "change")
    metrics = json.loads((workspace / "out/metrics.json").read_text())
    metrics["log_loss"]["value"] /= 2
    (workspace / "out/metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    commit_all(workspace, "Claim better metrics")

    code, found, _ = check(workspace)

    assert (code, found["state"]) == (1, DIFFERENT)
    assert found["reasons"] == ["out/metrics.json in Git is not what dvc.lock names"]


def test_lock_that_names_bytes_which_nobody_pushed_is_unavailable(workspace: Path) -> None:
    md5 = find_hash(read_lock(None), "out/model.joblib")
    next((workspace / ".dvc/sample-store").rglob(md5[2:])).unlink()
    commit_all(workspace, "Lose a blob")

    code, found, said = check(workspace)

    assert (code, found["state"]) == (1, UNAVAILABLE)
    assert found["reasons"] == ["out/model.joblib is not in the remote."]
    assert "dvc push" in said


def test_uncommitted_changes_are_not_lost(workspace: Path) -> None:
    replace_text(workspace / "dvc.lock", "schema: '2.0'", "schema: '2.0' # mine")

    code, found, said = check(workspace)

    assert (code, found) == (2, {})
    assert "commit them first" in said
    assert "# mine" in (workspace / "dvc.lock").read_text()


def test_stage_that_fails_leaves_the_lock_as_it_was(workspace: Path) -> None:
    run_git(workspace, "checkout", "--quiet", "-b", "change")
    replace_text(workspace / "src/lifecycle/train.py", "import json\n", "import no_such_library\n")
    commit_all(workspace, "Break the training")
    lock = (workspace / "dvc.lock").read_bytes()

    code, found, said = check(workspace)

    assert (code, found) == (1, {})
    assert "dvc repro --pull failed" in said
    assert (workspace / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize(("value", "far"), [(2.001, False), (2.1, True), (1.9, True)])
def test_metrics_of_other_bytes_may_lie_within_the_tolerance(value: float, far: bool) -> None:
    committed, found = {"error": {"value": 2.0}}, {"error": {"value": value}}

    assert bool(list_far_metrics(committed, found, 0.001)) == far
    assert list_far_metrics({}, found, 0.001)
