"""What became of a run: its jobs and steps, read from the records that act writes as JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.errors import MisuseError


@dataclass(frozen=True)
class Step:
    """A step, with its outcome (success, failure or skipped), whatever ``continue-on-error`` made of it."""

    name: str
    result: str
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A job, once per entry of its matrix if it ran, with its result (success, failure or skipped)."""

    id: str
    name: str
    result: str
    steps: tuple[Step, ...]
    log: str
    # What its steps wrote for the run's page.
    summary: str
    # What would have had to be so, of one that was skipped.
    condition: str = ""


@dataclass(frozen=True)
class Run:
    """A whole run."""

    result: str
    jobs: tuple[Job, ...]

    def find_job(self, name: str) -> Job:
        """Find a job by its id, or by its name where a matrix gives several."""
        found = [job for job in self.jobs if name in (job.id, job.name)]
        if len(found) != 1:
            raise MisuseError(f"{name} names {len(found)} jobs; there are {', '.join(job.name for job in self.jobs)}")
        return found[0]


def read_jobs(name: str, job: Mapping[str, Any], records: list[dict[str, Any]]) -> list[Job]:
    """Read from act's records what became of a job, for each entry of its matrix; no record is a skipped job."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("jobID") == name:
            entries.setdefault(json.dumps(record["matrix"], sort_keys=True), []).append(record)
    if not entries:
        steps = tuple(Step(name_step(step), "skipped", {}) for step in job.get("steps", []))
        return [Job(name, str(job.get("name", name)), "skipped", steps, "", "", read_condition(job))]
    return [read_job(name, job, json.loads(matrix), lines) for matrix, lines in sorted(entries.items())]


def read_condition(job: Mapping[str, Any]) -> str:
    """Read when a job runs: its condition, or without one the success of those that it needs."""
    needs = job.get("needs", [])
    if "if" in job:
        return " ".join(str(job["if"]).removeprefix("${{").removesuffix("}}").split())
    return f"success of {', '.join([needs] if isinstance(needs, str) else needs)}"


def read_job(name: str, job: Mapping[str, Any], matrix: Mapping[str, Any], records: list[dict[str, Any]]) -> Job:
    """Read what became of one job that was started; one without a result did not come to its end."""
    result = next((record["jobResult"] for record in records if "jobResult" in record), "failure")
    # Act has one result for a whole matrix: an entry that ends after one that failed is called failed as well.
    if matrix and result == "failure" and records[-1].get("jobResult") and not find_error(records):
        result = "success"
    steps = tuple(read_step(number, step, records) for number, step in enumerate(job["steps"]))
    log = "".join(f"{record['msg'].rstrip()}\n" for record in records)
    summary = "".join(record["content"] for record in records if record.get("command") == "summary")
    return Job(name, name_job(name, job, matrix), result, steps, log, summary)


def find_error(records: list[dict[str, Any]]) -> bool:
    """Tell whether act met an error; what a command itself calls one is not among them."""
    return any(record["level"] == "error" for record in records)


def read_step(number: int, step: Mapping[str, Any], records: list[dict[str, Any]]) -> Step:
    """Read what became of a step; what lies within an action has the step's id in front of its own."""
    within = [record for record in records if record.get("stepID", [""])[0] == step.get("id", str(number))]
    own = [record for record in within if len(record["stepID"]) == 1 and record["stage"] == "Main"]
    results = [record["stepResult"] for record in own if "stepResult" in record]
    outputs = {record["name"]: record["arg"] for record in within if record.get("command") == "set-output"}
    return Step(name_step(step), results[-1] if results else "failure" if find_error(own) else "skipped", outputs)


def name_step(step: Mapping[str, Any]) -> str:
    """Name a step as GitHub does."""
    return str(step.get("name") or f"Run {step.get('uses') or step['run'].strip().splitlines()[0]}")


def name_job(name: str, job: Mapping[str, Any], matrix: Mapping[str, Any]) -> str:
    """Name a job as GitHub does, with what its matrix gives it."""
    if "name" not in job:
        return f"{name} ({', '.join(str(value) for value in matrix.values())})" if matrix else name
    return re.sub(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}", lambda match: str(matrix.get(match[1], "")), str(job["name"]))
