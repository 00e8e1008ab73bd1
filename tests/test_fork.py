"""The fork drill: another task takes the first one's place, and nothing of the machinery changes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FORK = Path(__file__).parent / "fork"
# What a fork replaces, or what a run makes of it.
REPLACED = ("src/domain/", "tests/domain/", "params.yaml", "data.dvc", "dvc.lock")
REPORT_CHARACTERS = 60_000


@dataclass(frozen=True)
class Judgement:
    """What the gate printed and decided, the copy's metrics then, and what Git saw as changed."""

    printed: str
    verdict: dict[str, Any]
    metrics: dict[str, dict[str, float]]


def run(folder: Path, *command: str) -> str:
    """Run a command in the copy with the copy's code; one that fails fails the test."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        # Idle threads sleep instead of spinning.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_python(folder: Path, *arguments: str) -> str:
    """Run a Python module in the copy."""
    return run(folder, sys.executable, "-m", *arguments)


def commit_all(folder: Path, message: str) -> None:
    """Commit what the copy holds."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def copy_repository(folder: Path) -> None:
    """Copy this repository's files, as they are now, into a new repository with one commit."""
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "git", "config", "user.name", "Ada")
    run(folder, "git", "config", "user.email", "ada@example.com")
    commit_all(folder, "Start from the template")


def swap_domain(folder: Path) -> None:
    """Put the fork's task in the place of the first one, with data of its own."""
    for name in REPLACED:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("src", "tests", "params.yaml"):
        source = FORK / name
        shutil.copytree(source, folder / name, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, folder)
    run_python(folder, "lifecycle.sample")
    run_python(folder, "dvc", "add", "--quiet", "data")


def judge(folder: Path) -> Judgement:
    """Run the pipeline and the gate."""
    run_python(folder, "dvc", "repro", "--quiet")
    printed = run_python(folder, "lifecycle.gate")
    verdict, metrics = (json.loads((folder / "out" / f"{name}.json").read_text()) for name in ("verdict", "metrics"))
    return Judgement(printed, verdict, metrics)
