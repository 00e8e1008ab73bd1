"""What the scenarios of a rehearsal share: a remote, a GitHub, and the workflows that run for its events."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rehearsal import events
from rehearsal.events import Event
from rehearsal.github import Repository, zip_files
from rehearsal.outcome import Job, Run
from rehearsal.remote import Remote
from rehearsal.runner import World, run_workflow

WORKFLOWS = Path(".github/workflows")
STATES = {"success": "ran", "failure": "red", "skipped": "skipped"}
# What an owner may have set.
SECRETS: Mapping[str, str] = MappingProxyType({"RUNNER_TOKEN": "a-token-that-registers-nothing"})
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass
class Stage:
    """What the scenarios share, and what they found."""

    remote: Remote
    github: Repository
    folder: Path
    env: Mapping[str, str]
    # Of each job the event, the workflow, what became of it, that in a word, and how long the run took.
    played: list[tuple[str, str, Job, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    runs: int = 0

    def play(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # one run, and what is made of it
        self,
        title: str,
        workflow: str,
        event: Event,
        expected: str,
        env: Mapping[str, str] = NOTHING,
        variables: Mapping[str, str] = NOTHING,
    ) -> Run:
        """Run a workflow, and hold its jobs' results against the expected ones, in the order of the file."""
        self.runs += 1
        start = time.monotonic()
        world = World(
            self.remote.clone,
            self.folder / "store",
            {**self.env, **env},
            secrets=SECRETS,
            variables=variables,
            run_id=self.runs,
            fetch=True,
        )
        found = run_workflow(self.remote.clone / WORKFLOWS / workflow, event, world)
        seconds = f"{time.monotonic() - start:.0f} s"
        for job, result in zip(found.jobs, expected.split(), strict=True):
            told = STATES[job.result]
            if job.result != result:
                log = "\n".join(job.log.splitlines()[-40:])
                self.faults.append(f"{title}, {workflow}, {job.name}: {job.result}, expected {result}\n{log}")
                told = f"{told}, not {STATES[result]}"
            self.played.append((title, workflow, job, told, seconds))
            print(f"{title}: {workflow}, {job.name}: {told} ({seconds})", flush=True)
        self.deliver(self.runs)
        return found

    def expect(self, what: str, holds: object) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.append(f"expected: {what}")

    def deliver(self, run_id: int) -> None:
        """Hand a run's artifacts over to GitHub, as their upload does."""
        for folder in sorted((self.folder / "store" / "artifacts" / str(run_id)).glob("*")):
            files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            self.github.artifacts.setdefault(run_id, {})[folder.name] = zip_files(files)


def open_pull(
    stage: Stage, number: int, branch: str, files: dict[str, tuple[str, str]], fork: str = ""
) -> dict[str, Any]:
    """Open a pull request that replaces texts in files."""
    commit = stage.remote.change(branch, files)
    return announce(stage, number, branch, commit, fork)


def announce(stage: Stage, number: int, branch: str, commit: str, fork: str = "") -> dict[str, Any]:
    """Tell GitHub of a pull request's newest commit, and lay its merge out."""
    stage.remote.merge(branch, number)
    base = stage.remote.find("main")
    pull = events.open_pull_request(stage.github.full_name, branch, commit, base_sha=base, number=number, fork=fork)
    stage.github.pulls[:] = [other for other in stage.github.pulls if other["number"] != number] + [pull]
    return pull
