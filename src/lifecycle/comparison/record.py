"""Decisions between champion and challenger, kept next to the challenger's version: a Git note on its commit."""

import json
from typing import Any

from lifecycle.repository import read_git, write_note

NOTES = "refs/notes/decisions"


def read_decisions(name: str, commit: str) -> list[dict[str, Any]]:
    """Read the decisions on a model's version, oldest first; one line of JSON each.

    Parameters
    ----------
    name : str
        The model's name in the registry: two models may share a commit.
    commit : str
        The version's.

    Returns
    -------
    list of dict
    """
    records = []
    for line in filter(str.strip, read_git("notes", f"--ref={NOTES}", "show", commit).splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            # A remark of somebody's own.
            continue
        if isinstance(record, dict) and record.get("name") == name:
            records.append(record)
    return records


def find_last(name: str, commit: str, champion: str) -> dict[str, Any] | None:
    """Find the newest decision on a version against a champion, as v1.0.0; None where none stands."""
    decided = [one for one in read_decisions(name, commit) if one["champion"]["version"] == champion]
    return decided[-1] if decided else None


def find_same(record: dict[str, Any], commit: str) -> dict[str, Any] | None:
    """Find the decision on a version that stands already: between the same models, in the same mode."""
    same = ("mode", "champion", "challenger")
    known = read_decisions(record["name"], commit)
    return next((one for one in known if all(one[key] == record[key] for key in same)), None)


def write_decision(commit: str, record: dict[str, Any]) -> None:
    """Add a decision to a commit's note.

    Raises
    ------
    RefusedError
        If Git cannot write it.
    """
    write_note(NOTES, commit, json.dumps(record, allow_nan=False), "append")


def describe_decision(record: dict[str, Any]) -> str:
    """Say a decision in one line."""
    return (
        f"{record['decision']} after {record['requests']:,} requests against {record['champion']['version']} "
        f"({record['mode']}), {record['decided_at'][:10]}"
    )
