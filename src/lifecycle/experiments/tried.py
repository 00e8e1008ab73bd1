"""What became of the experiments of a matrix: files that other jobs left, which are data until they are checked."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from lifecycle.comparison.verdict import PASS, UNCHANGED
from lifecycle.errors import RefusedError
from lifecycle.experiments.settings import Plan
from lifecycle.github.artifact import FILE, REPORT, read_facts
from lifecycle.views.report_facts import Items, Name, Report, Share, exact

RUN = "run.json"


@exact
class RunFacts(TypedDict):
    """How long an experiment took, and which stages ran."""

    seconds: Share
    ran: Items[Name]


SCHEMA = TypeAdapter(RunFacts)


@dataclass(frozen=True)
class Tried:
    """An experiment; ``fault`` says why there is no report, and is empty where there is one."""

    plan: Plan
    report: Report | None = None
    run: RunFacts | None = None
    fault: str = ""

    @property
    def worse_by(self) -> float:
        """How much worse than the champion on the same rows, as a share; a negative one is better."""
        return self.report["figures"].get("worse_by", 0.0) if self.report else float("inf")

    @property
    def is_better(self) -> bool:
        """Tell whether it passes the gate, and is better than the champion."""
        return self.report is not None and self.report["outcome"] == PASS and self.worse_by < 0


def write_tried(folder: Path, report: Report, seconds: float, ran: Sequence[str]) -> None:
    """Write what became of an experiment into a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(report, allow_nan=False), encoding="utf-8")
    facts: RunFacts = {"seconds": round(seconds, 1), "ran": list(ran)}
    (folder / RUN).write_text(json.dumps(facts), encoding="utf-8")


def read_tried(folder: Path, plans: Iterable[Plan], commit: str) -> list[Tried]:
    """Read what became of experiments, best first; those that failed come last.

    Parameters
    ----------
    folder : Path
        Holds a folder for each experiment that came to its end, of its name.
    plans : iterable of Plan
    commit : str
        That all of them must have started from.

    Returns
    -------
    list of Tried
    """
    return sorted((_read_one(folder / plan.name, plan, commit) for plan in plans), key=lambda one: one.worse_by)


def _read_one(folder: Path, plan: Plan, commit: str) -> Tried:
    """Read one experiment's files; a fault in them is the experiment's own."""
    if not folder.exists():
        return Tried(plan, fault="it failed; its job says why")
    if folder.is_symlink():
        return Tried(plan, fault="its folder is a link")
    try:
        report = read_facts(folder / FILE, REPORT)
        run = read_facts(folder / RUN, SCHEMA)
        if report["commit"] != commit:
            raise RefusedError(f"its report is of commit {report['commit']}, and this is {commit}.")
    except RefusedError as error:
        return Tried(plan, fault=str(error))
    return Tried(plan, report, run)


def find_best(tried: Sequence[Tried]) -> Tried | None:
    """Find the best one: the first that the gate lets pass, or else the first that made another model."""
    made = [one for one in tried if one.report and one.report["outcome"] != UNCHANGED]
    return next((one for one in made if one.report and one.report["outcome"] == PASS), made[0] if made else None)
