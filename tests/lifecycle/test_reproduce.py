"""Reproduce: a lock is believed only as far as a run confirms it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import commit_all, replace_text, run_git, run_here, run_python
from repositories import CACHE, MODEL, REMOTE, copy_repository, find_blob

from lifecycle.comparison.lock import DIFFERENT, FRESH, STALE, UNAVAILABLE, judge_lock, list_far_metrics
from lifecycle.repository import hash_content, hash_file
from rehearsal.remote import change_params


def read_check(folder: Path) -> dict[str, Any]:
    """Read what a check wrote; nothing where it wrote nothing."""
    path = folder / "out/lock.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check(folder: Path, base: str = "main") -> tuple[int, dict[str, Any], str]:
    """Hold the lock of HEAD against a run, as the workflow does."""
    done = run_python(folder, "lifecycle.reproduce", "--check", "--base", base, check=False)
    return done.returncode, read_check(folder), done.stdout + done.stderr


def check_here(folder: Path, base: str = "main") -> tuple[int, dict[str, Any], str]:
    """Hold the lock of HEAD against a run as `check` does, in this process."""
    done = run_here(folder, "lifecycle.reproduce", "--check", "--base", base)
    return done.returncode, read_check(folder), done.stdout + done.stderr


@pytest.fixture(name="small")
def fixture_small(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a small repository of the test's own, on a branch; its only stage takes no time."""
    folder = copy_repository(tmp_path_factory, tmp_path / "small")
    monkeypatch.chdir(folder)
    run_git(folder, "checkout", "--quiet", "-b", "change")
    # As rows that were prepared already.
    (folder / "out/test").mkdir()
    return folder


def test_lock_that_is_true_is_fresh_and_nothing_runs(small: Path) -> None:
    code, found, said = check_here(small)

    assert (code, found) == (0, {"state": FRESH, "reasons": [], "ran": []})
    assert "lock: fresh; ran: nothing\n" in said
    assert run_git(small, "status", "--porcelain", "--untracked-files=no") == ""


def test_lock_without_its_inputs_is_stale_and_the_command_is_told(small: Path) -> None:
    change_params(small, {"train": {"seed": 7}})
    commit_all(small, "Change only params.yaml")

    code, found, said = check_here(small)

    assert (code, found["state"], found["ran"]) == (1, STALE, ["train"])
    assert found["reasons"] == ["stage train: params (train.seed)"]
    assert "  - stage train: params (train.seed)\nMend it with: make pipeline &&" in said
    # The folder holds what the change makes, so that a report can tell.
    assert "seed: 7" in Path(MODEL).read_text(encoding="utf-8")
    assert "seed: 7" in Path("dvc.lock").read_text(encoding="utf-8")


@pytest.mark.acceptance
def test_stale_lock_of_a_whole_model_is_mended_by_what_the_run_made(workspace: Path) -> None:
    run_git(workspace, "checkout", "--quiet", "-b", "change")
    change_params(workspace, {"train": {"penalty": 10.0}})
    commit_all(workspace, "Change only params.yaml")
    before = json.loads((workspace / "out/metrics.json").read_text())

    code, found, _ = check(workspace)

    assert (code, found["state"]) == (1, STALE)
    assert "stage train: params (train.penalty)" in found["reasons"]
    assert found["ran"] == ["train", "evaluate"]
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


@pytest.mark.acceptance
def test_bytes_of_another_machine_are_fresh_and_laid_out(small: Path) -> None:
    content = "the same model, with other last digits\n"
    arrived = small / REMOTE / "files/md5" / hash_content(content.encode())[:2] / hash_content(content.encode())[2:]
    arrived.parent.mkdir(exist_ok=True)
    arrived.write_text(content, encoding="utf-8")
    replace_text(small / "dvc.lock", hash_file(Path(MODEL)), hash_content(content.encode()))
    commit_all(small, "Train elsewhere")

    code, found, _ = check_here(small)

    assert (code, found["state"], found["ran"]) == (0, FRESH, [])
    assert found["reasons"] == [f"This machine makes other bytes, with the same metrics within 0.001: {MODEL}."]
    assert Path(MODEL).read_text(encoding="utf-8") == content
    assert run_git(small, "status", "--porcelain", "--untracked-files=no") == ""


def test_lock_that_names_bytes_which_nobody_pushed_is_unavailable(small: Path) -> None:
    find_blob(REMOTE).unlink()
    commit_all(small, "Lose a blob")

    code, found, said = check_here(small)

    assert (code, found["state"]) == (1, UNAVAILABLE)
    assert found["reasons"] == [f"{MODEL} is not in the remote."]
    assert said.endswith("Mend it with: .venv/bin/dvc push\n")


def test_uncommitted_changes_are_not_lost(small: Path) -> None:
    replace_text(small / "dvc.lock", "schema: '2.0'", "schema: '2.0' # mine")

    code, found, said = check_here(small)

    assert (code, found) == (2, {})
    assert "commit them first" in said
    assert "# mine" in (small / "dvc.lock").read_text()


def test_model_whose_stages_are_not_the_first_ones_is_stale_and_nothing_runs(small: Path) -> None:
    (small / "models").mkdir()
    run_git(small, "mv", "second", "models/second")
    commit_all(small, "Put the second model in its place")
    lock = (small / "models/second/dvc.lock").read_bytes()

    code, found, said = check_here(small / "models/second")

    assert (code, found["state"], found["ran"]) == (1, STALE, [])
    assert found["reasons"] == ["dvc.yaml has not the first model's stages"]
    assert "Mend it with: make pipeline MODEL=second &&" in said
    assert (small / "models/second/dvc.lock").read_bytes() == lock


def add_prepare(folder: Path, command: str) -> None:
    """Put a stage before the one that trains, which makes the rows that a fresh clone has not."""
    (folder / "out/test").rmdir()
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    pipeline["stages"]["prepare"] = {"cmd": command, "deps": ["data"], "outs": [{"out/test": {"push": False}}]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    change_params(folder, {"train": {"seed": 7}})
    commit_all(folder, "Prepare rows")


def test_stage_that_fails_leaves_the_lock_as_it_was(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    add_prepare(small, "no_such_program")
    lock = (small / "dvc.lock").read_bytes()
    replace_text(small / "dvc.lock", "schema: '2.0'", "schema: '2.0' # of the change")
    commit_all(small, "Have a lock of its own")

    code, found, said = check_here(small)

    assert (code, found) == (1, {})
    # What DVC says goes past the captured streams of the process to the terminal.
    assert "no_such_program" in capfd.readouterr().err
    assert said.splitlines()[-1] == (
        "RefusedError: dvc repro prepare failed; what DVC and the stage said stands above."
    )
    assert (small / "dvc.lock").read_bytes() == lock.replace(b"'2.0'", b"'2.0' # of the change")


@pytest.mark.acceptance
def test_rows_alone_are_prepared_without_any_training(small: Path) -> None:
    add_prepare(small, "mkdir -p out/test && cp data/2024-02.csv out/test/rows")
    model = Path(MODEL).read_bytes()

    done = run_here(small, "lifecycle.reproduce", "--prepare")

    assert done.returncode == 0
    assert (small / "out/test/rows").read_text(encoding="utf-8") == "two, longer\n"
    assert "Running stage 'prepare'" in done.stdout and "train" not in done.stdout
    assert Path(MODEL).read_bytes() == model


@pytest.mark.parametrize("options", [[], ["--prepare"]], ids=["all", "rows alone"])
def test_data_that_cannot_be_had_stop_the_run_before_any_stage(small: Path, options: list[str]) -> None:
    change_params(small, {"train": {"seed": 7}})
    for folder in (CACHE, REMOTE, "data"):
        shutil.rmtree(folder)
    model = Path(MODEL).read_bytes()

    done = run_here(small, "lifecycle.reproduce", *options)

    assert done.returncode == 1
    assert done.stderr.startswith("RefusedError: the bytes with hash ")
    assert "Running stage" not in done.stdout
    assert Path(MODEL).read_bytes() == model


METRICS = b'{"error": {"value": 2.0}}'


def make_lock(seed: int = 1, model: str = "a", metrics: bytes = METRICS) -> dict[str, Any]:
    """Make a lock of one stage, with a model of these bytes and these metrics."""
    outs = [{"path": MODEL, "md5": model}, {"path": "out/metrics.json", "md5": hash_content(metrics)}]
    return {"stages": {"train": {"params": {"params.yaml": {"train.seed": seed}}, "outs": outs}}}


def judge(claimed: dict[str, Any], made: dict[str, Any], found: float = 2.0) -> tuple[str, tuple[str, ...]]:
    """Judge a lock beside which the metrics are committed, where the run made others."""
    kept = {MODEL: None, "out/metrics.json": METRICS}
    return judge_lock(claimed, made, kept, (json.loads(METRICS), {"error": {"value": found}}), 0.01)


def test_lock_is_judged_first_by_inputs_then_by_what_git_keeps_then_by_the_metrics() -> None:
    unlike = ("out/metrics.json in Git is not what dvc.lock names",)
    near = (f"This machine makes other bytes, with the same metrics within 0.01: {MODEL}.",)

    assert judge(make_lock(), make_lock()) == (FRESH, ())
    assert judge(make_lock(seed=2), make_lock()) == (STALE, ("stage train: params (train.seed)",))
    assert judge({}, make_lock()) == (STALE, ("dvc.lock names no stage",))
    assert judge(make_lock(metrics=b"{}"), make_lock()) == (DIFFERENT, unlike)
    assert judge(make_lock(), make_lock(model="b"), found=2.01) == (FRESH, near)
    assert judge(make_lock(), make_lock(model="b"), found=2.1) == (
        DIFFERENT,
        (MODEL, "error is 2.1, and out/metrics.json says 2.0"),
    )


@pytest.mark.parametrize(("value", "far"), [(2.001, False), (2.1, True), (1.9, True)])
def test_metrics_of_other_bytes_may_lie_within_the_tolerance(value: float, far: bool) -> None:
    committed, found = {"error": {"value": 2.0}}, {"error": {"value": value}}

    assert bool(list_far_metrics(committed, found, 0.001)) == far
    assert list_far_metrics({}, found, 0.001)
