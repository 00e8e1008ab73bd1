"""The model's repository in the rehearsal: a clone in which the next model is trained, reviewed and registered."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.errors import RefusedError
from lifecycle.paths import PARAMS
from lifecycle.repository import read_yaml_at
from rehearsal.life.months import unmark
from rehearsal.remote import Remote, call_git, change_params, introduce_author

# A rehearsal has no patience; the limits are those of params.yaml, as far as few requests can show them.
HASTE = {
    "deploy": {
        "canary_weight": 0.2,
        "bake_seconds": 6.0,
        "poll_seconds": 0.3,
        "min_requests": 5,
        "max_latency_ratio": 8.0,
    },
    # What is measured beside the model, and does not change it.
    "evaluate": {"resamples": 50},
    "train": {"folds": 2},
}

# Beside HASTE: two shifted months are enough to learn from, and a shadow on a busy machine may take its time.
LOOP_HASTE: dict[str, dict[str, Any]] = {
    **HASTE,
    "deploy": {**HASTE["deploy"], "bake_seconds": 3.0, "challenge": True},
    "prepare": {"train_months": 2},
    "serve": {"budget_ms": 1000},
    "retire": {"keep": 1},
}


@dataclass(frozen=True)
class Repository:
    """A clone of this repository."""

    folder: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module in the clone, with the clone's code."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.make_environment(**environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def must_run(self, *command: str, **environment: str) -> str:
        """Run a Python module that must succeed, and give what it printed."""
        done = self.run(*command, **environment)
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()[-1000:]
            raise RefusedError(f"{' '.join(command)} ended with {done.returncode}: {said}")
        return done.stdout

    def make_environment(self, **added: str) -> dict[str, str]:
        """Make the environment of a command."""
        source = {"PYTHONPATH": str(self.folder / "src"), "DVC_NO_ANALYTICS": "1"}
        return {**os.environ, **source, **added}

    def commit(self, changes: dict[str, dict[str, Any]], message: str) -> None:
        """Change params.yaml, and commit what there is."""
        change_params(self.folder, changes)
        self.save(message)

    def save(self, message: str) -> None:
        """Commit what there is."""
        call_git(self.folder, "add", "--all")
        call_git(self.folder, "commit", "--quiet", "--allow-empty", "--message", message)

    def promote(self, version: str) -> None:
        """Make a version the champion."""
        self.must_run("lifecycle.registry", "promote", version)

    def bundle(self) -> Path:
        """Pack the model, and give the path of its zip file."""
        self.must_run("lifecycle.bundle")
        return self.folder / "out/bundle.zip"


def clone(source: Path, folder: Path) -> Repository:
    """Clone this repository without its versions, and register its committed model as the first and champion."""
    call_git(source, "clone", "--quiet", "--no-hardlinks", "--no-tags", str(source), str(folder))
    introduce_author(folder)
    repository = Repository(folder)
    repository.must_run("lifecycle.registry", "register", "--version", "v1.0.0")
    repository.promote("v1.0.0")
    repository.commit(HASTE, "Bake for seconds")
    return repository


def train_next(repository: Repository) -> str:
    """Train with the next seed, which every task has; let the gate judge, and merge. Give its verdict in a line."""
    seed = read_yaml_at(None, str(repository.folder / PARAMS))["train"]["seed"]
    repository.commit({"train": {"seed": seed + 1}}, "Train with the next seed")
    repository.must_run("lifecycle.reproduce")
    said = repository.must_run("lifecycle.gate")
    repository.save("Train the model anew")
    return " ".join(line.strip(" -") for line in said.splitlines() if line.strip().startswith(("gate:", "-")))


def settle(remote: Remote, source: str) -> Repository:
    """Register the committed model as the champion, and let its months count as real."""
    repository = Repository(remote.clone)
    introduce_author(repository.folder)
    repository.must_run("lifecycle.github.versions", "register")
    repository.must_run("lifecycle.github.versions", "promote", "v1.0.0")
    repository.must_run("lifecycle.pull")
    unmark(repository.folder / "data")
    repository.must_run("dvc", "add", "--quiet", "data")
    repository.must_run("dvc", "push", "--quiet", "data.dvc")
    repository.commit({**LOOP_HASTE, "ingest": {"source": source}}, "Begin with real months")
    remote.push_main("HEAD")
    return repository
