"""A small copy of this repository, trained and committed, for the tests that need a whole one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# Small enough to train in seconds.
SMALL = {
    "sample": {"rows_per_month": 2500},
    "train": {"max_iter": 30, "max_leaf_nodes": 15, "folds": 2},
    "evaluate": {"resamples": 60, "min_slice_rows": 50},
}


def run_python(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a module in a folder, as its Makefile would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def run_git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def change_params(folder: Path, changes: dict[str, dict[str, object]]) -> None:
    """Change keys of params.yaml."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, values in changes.items():
        params[section].update(values)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def copy_repository(folder: Path) -> Path:
    """Copy the files of this repository, without what it was trained on, into a new Git repository."""
    listed = run_git(ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith((".dvc/sample-store", "out/", "dvc.lock", "data.dvc")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run_git(folder, "init", "-q", "-b", "main")
    run_git(folder, "config", "user.name", "Ada")
    run_git(folder, "config", "user.email", "ada@example.com")
    return folder


def commit_all(folder: Path, message: str) -> None:
    """Commit everything."""
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", message)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a small model, pushed and committed. Read it, and never write to it."""
    folder = copy_repository(tmp_path_factory.mktemp("trained") / "copy")
    change_params(folder, SMALL)
    run_python(folder, "lifecycle.sample")
    run_python(folder, "dvc", "add", "-q", "data")
    run_python(folder, "dvc", "repro", "-q")
    run_python(folder, "dvc", "push", "-q")
    commit_all(folder, "Train a small model")
    return folder


@pytest.fixture
def workspace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A trained copy of the test's own, which is also the working folder."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder, symlinks=True)
    monkeypatch.chdir(folder)
    yield folder


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a module in a folder: command(folder, "lifecycle.gate", "--base", "HEAD", check=False)."""
    return run_python
