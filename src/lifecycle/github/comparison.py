"""Share decisions between champion and challenger with GitHub, from a workflow: fetch those known, keep a new one."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from lifecycle.comparison.record import NOTES, describe_decision, find_same, write_decision
from lifecycle.comparison.sequential import PROMOTE
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.artifact import read_facts
from lifecycle.github.client import Client, open_client, show_text
from lifecycle.github.results import CREDENTIALS
from lifecycle.github.versions import name_author
from lifecycle.params import read_params
from lifecycle.registry import require_version
from lifecycle.repository import require_revision
from lifecycle.tools import run_tool

WORKFLOW = "deploy.yml"
MOST_BYTES = 100_000
Text = Annotated[str, Field(max_length=200)]


class Part(BaseModel):
    """Data of another job: of exactly these fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Contender(Part):
    """A model, as `lifecycle.comparison.pairs.Model` names it."""

    version: Text
    hash: Text


class Record(Part):
    """A decision, as `lifecycle.compare.compare` records it."""

    name: Text
    decision: Literal["promote", "keep", "undecided"]
    mode: Literal["shadow", "split"]
    champion: Contender
    challenger: Contender
    requests: int
    gain: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    loss: Text
    rule: dict[str, FiniteFloat | int]
    since: Text | None = Field(alias="from")
    until: Text | None
    left_out: dict[str, int]
    decided_at: Text


def read_record(path: Path) -> dict[str, Any]:
    """Read a decision, which comes from another job, as data.

    Raises
    ------
    RefusedError
        If it is too large, or no decision.
    """
    record: Record = read_facts(path, TypeAdapter(Record), MOST_BYTES)
    return record.model_dump(by_alias=True)


def fetch() -> None:
    """Fetch the decisions that the remote has; a checkout leaves them out."""
    run_tool(Path(), "git", *CREDENTIALS, "fetch", "--quiet", "origin", f"+{NOTES}*:{NOTES}*")


def keep(record: dict[str, Any], client: Client) -> str:
    """Keep a decision next to its version, and deploy a challenger that won; say so in one line.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If the decision cannot be shared; then it is not kept here either.
    """
    challenger = record["challenger"]["version"]
    version = require_version(record["name"], challenger)
    fetch()
    known = find_same(record, version.commit)
    if known is None:
        _share(version.commit, record)
    record = known or record
    said = f"{challenger}: {describe_decision(record)}"
    if record["decision"] != PROMOTE:
        return f"{said}; the champion stays"
    if version.commit != require_revision("HEAD"):
        return f"{said}; main has moved on, and its own version comes next"
    content = {"ref": client.read()["default_branch"], "inputs": {}}
    client.create("actions", "workflows", WORKFLOW, "dispatches", content=content)
    return f"{said}; started {WORKFLOW}"


def _share(commit: str, record: dict[str, Any]) -> None:
    """Write a decision, and push it; one that cannot be pushed is taken back."""
    former = run_tool(Path(), "git", "for-each-ref", "--format=%(objectname)", NOTES).strip()
    write_decision(commit, record)
    try:
        run_tool(Path(), "git", *CREDENTIALS, "push", "--quiet", "origin", NOTES)
    except RefusedError:
        run_tool(Path(), "git", "update-ref", *([NOTES, former] if former else ["-d", NOTES]))
        raise


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the decisions that are known, or keep a new one and act on it."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.comparison", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="fetch the decisions that the remote has")
    keeping = commands.add_parser("keep", help="keep a decision, and deploy a challenger that won")
    keeping.add_argument("record", type=Path, help="the decision.json that lifecycle.compare wrote")
    given = parser.parse_args(argv)
    if given.command == "fetch":
        fetch()
        return
    if not given.record.is_file():
        raise MisuseError(f"{given.record} is missing; expected what lifecycle.compare wrote.")
    record = read_record(given.record)
    if record["name"] != (name := read_params().registry.name):
        raise RefusedError(f"{given.record} is about {show_text(record['name'])}; expected {name}.")
    name_author()
    print(keep(record, open_client()))


if __name__ == "__main__":
    run(main)
