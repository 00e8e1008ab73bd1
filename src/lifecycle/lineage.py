"""Where a model comes from: version, model hash, lock, commit, data hash, source files, and who and when."""

import argparse
import json
import logging
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lifecycle.comparison.record import describe_decision, read_decisions
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.params import read_params
from lifecycle.paths import DATA, ENVIRONMENT, METRICS, ONNX
from lifecycle.registry import Version, find_champion, list_versions, read_events
from lifecycle.repository import (
    describe_commit,
    find_entry,
    find_hash,
    read_at,
    read_lock,
    read_yaml_at,
    require_revision,
    resolve_revision,
)
from lifecycle.serving.manifest import hash_bytes
from lifecycle.store import fetch_blob, list_folder

COLUMNS = 80
SHA256 = re.compile(r"[0-9a-f]{64}")
# As GitHub writes the subject of a squash, and of a merge.
PULL = re.compile(r"\(#(?P<squashed>\d+)\)$|^Merge pull request #(?P<merged>\d+) ")

log = logging.getLogger(__name__)


def describe_lineage(name: str, revision: str | None = None) -> dict[str, Any]:
    """Follow a model back to its source files.

    Parameters
    ----------
    name : str
        The model's name in the registry.
    revision : str, optional
        A registered version, any Git revision, or the ``model_hash`` of an answer; by default the champion, or HEAD
        when there is none.

    Returns
    -------
    dict
        Serialisable as JSON; what is not known is None, times are in ISO 8601.

    Raises
    ------
    MisuseError
        If there is no such version or revision.
    RefusedError
        If dvc.lock there cannot be read.
    """
    commit = _find_commit(name, revision)
    lock = read_lock(commit)
    version = next((known for known in list_versions(name) if known.commit == commit), None)
    return {
        "name": name,
        "version": version.name if version else None,
        "registered": {"by": version.author, "at": version.date, "retired": version.retired} if version else None,
        "stages": _list_stages(name, version) if version else [],
        "decisions": read_decisions(name, commit) if version else [],
        "model": _describe_entry(find_entry(lock, str(ONNX))),
        "commit": (described := describe_commit(commit)),
        "pull_request": find_pull(described["subject"]),
        "params": merge_params(lock),
        "data": _describe_data(commit, lock),
        "metrics": _read_json(commit, METRICS),
        "environment": _read_json(commit, ENVIRONMENT),
    }


def _find_commit(name: str, revision: str | None) -> str:
    """Find the commit of a version, of a revision, or of the champion."""
    if revision is None:
        champion = find_champion(name)
        return champion.revision if champion else require_revision("HEAD")
    versions = {version.name: version.commit for version in list_versions(name)}
    if SHA256.fullmatch(revision):
        return _find_model(revision, [*versions.values(), require_revision("HEAD")])
    commit = versions.get(revision.removeprefix(f"{name}@")) or resolve_revision(revision)
    if commit is None:
        known = ", ".join(versions) or "none yet"
        raise MisuseError(f"{revision!r} is no version and no Git revision here; registered versions: {known}.")
    return commit


def _find_model(sha256: str, commits: Sequence[str]) -> str:
    """Find the first commit whose model has a SHA-256, as answers give it; dvc.lock has another kind of hash."""
    known: dict[str, str] = {}
    for commit in commits:
        if md5 := find_hash(read_lock(commit), str(ONNX)):
            known.setdefault(md5, commit)
    with TemporaryDirectory() as folder:
        for md5, commit in known.items():
            try:
                path = fetch_blob(md5, Path(folder) / ONNX.name)
            except RefusedError as error:
                log.info("lineage model=%s skipped=%s", md5, error)
                continue
            if hash_bytes(path.read_bytes()) == sha256:
                return commit
    raise MisuseError(f"no registered version and not HEAD has a model with the hash {sha256}; try git fetch --tags.")


def find_pull(subject: str) -> str | None:
    """Find the number of the pull request that a merge's subject names."""
    found = PULL.search(subject)
    return f"#{found['squashed'] or found['merged']}" if found else None


def _list_stages(name: str, version: Version) -> list[dict[str, str | None]]:
    """List the stages that a version has held, oldest first; one that it holds still has no end."""
    events = [event for event in read_events(name) if event.stage]
    periods: list[dict[str, str | None]] = []
    for place, event in enumerate(events):
        if event.commit == version.commit and not event.cancelled:
            # A stage ends when another version gets it, or when this one loses it.
            ends = (
                later.date
                for later in events[place + 1 :]
                if later.stage == event.stage and (not later.cancelled or later.commit == event.commit)
            )
            periods.append({"stage": event.stage, "from": event.date, "until": next(ends, None), "by": event.author})
    return periods


def merge_params(lock: dict[str, Any]) -> dict[str, Any]:
    """Collect the parameters that the stages ran with."""
    files = [stage.get("params") or {} for stage in (lock.get("stages") or {}).values()]
    return {key: value for file in files for section in file.values() for key, value in section.items()}


def _describe_entry(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give the path, hash and size of what DVC tracks."""
    return {"path": entry["path"], "hash": entry.get("md5"), "size_bytes": entry.get("size")} if entry else None


def _describe_data(commit: str, lock: dict[str, Any]) -> dict[str, Any] | None:
    """Give the data's hash and their source files; where the listing cannot be had, ``missing`` says why."""
    # What the stages read comes first: data.dvc may be newer than the model beside it.
    entry = find_entry(lock, str(DATA)) or next(iter(read_yaml_at(commit, f"{DATA}.dvc").get("outs") or []), None)
    data = _describe_entry(entry)
    if data is None:
        return None
    try:
        return {**data, "sources": list_folder(data["hash"]), "missing": None}
    except RefusedError as error:
        return {**data, "sources": None, "missing": str(error)}


def _read_json(commit: str, path: Path) -> Any:
    """Read a JSON file of a commit; None if there is none."""
    content = read_at(commit, str(path))
    try:
        return json.loads(content) if content else None
    except ValueError as error:
        raise RefusedError(f"{path} at {commit[:7]} is no JSON: {error}; name another revision.") from error


def format_lineage(lineage: dict[str, Any]) -> str:
    """Lay a lineage, as `describe_lineage` gives it, out as an indented text of 80 columns."""
    stages = [
        f"{held['stage']} from {held['from']} until {held['until'] or 'now'}, by {held['by']}"
        for held in lineage["stages"]
    ]
    decisions = [describe_decision(record) for record in lineage["decisions"]]
    readable = {**lineage, "stages": stages, "decisions": decisions}
    if data := lineage["data"]:
        files = [f"{one['name']}  {one['hash']}  {_show(one['size_bytes'])}" for one in data["sources"] or []]
        kept = {key: value for key, value in data.items() if key not in ("sources", "missing")}
        readable["data"] = {**kept, "sources (name, hash, bytes)": files or data["missing"]}
    return "\n".join(line for key, value in readable.items() for line in _lay_out(f"{key}:", value, ""))


def _lay_out(label: str, value: Any, indent: str) -> Iterator[str]:
    """Lay a value out: in one line if it fits, else a line for each of its parts."""
    parts = _split(value)
    line = f"{indent}{label} {_show(value)}"
    nested = any(_split(part) for _, part in parts)
    if not parts or (len(line) <= COLUMNS and not nested):
        # Hashes and paths stay whole, to be copied.
        yield from textwrap.wrap(
            line, COLUMNS, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
        )
        return
    yield f"{indent}{label}"
    for key, part in parts:
        yield from _lay_out(key, part, f"{indent}  ")


def _split(value: Any) -> list[tuple[str, Any]]:
    """Split a mapping or a list into labelled parts; anything else has none."""
    if isinstance(value, dict):
        return [(f"{key}:", part) for key, part in value.items()]
    return [("-", part) for part in value] if isinstance(value, list) else []


def _show(value: Any) -> str:
    """Show a value in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_show(part)}" for key, part in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(_show(part) for part in value) or "-"
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the lineage of a version, of a revision, or of the champion."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.lineage", description="Say where a model comes from.")
    parser.add_argument(
        "version",
        nargs="?",
        help="a version, a Git revision or an answer's model_hash; by default the champion, or HEAD",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    lineage = describe_lineage(read_params().registry.name, given.version)
    print(json.dumps(lineage, indent=2) if given.json else format_lineage(lineage))


if __name__ == "__main__":
    run(main)
