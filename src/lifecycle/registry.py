"""The registry is Git: versions and stages are annotated tags, bytes lie under the hash that dvc.lock names.

GTO writes the tags. They are read with Git alone: importing GTO takes a second, and GTO orders promotions by
their time, which two of them may share, and not by the running number of their tags.
"""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.comparison.record import describe_decision, read_decisions
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.params import read_params
from lifecycle.paths import ONNX, OUT
from lifecycle.repository import choose_base, find_hash, read_git, read_lock, read_yaml_at, require_revision
from lifecycle.store import fetch_at
from lifecycle.tracking.dispatch import follow_registry
from lifecycle.views.terminal import align_columns

PRODUCTION = "production"
FIRST_VERSION = "v1.0.0"
COMMANDS = {
    "show": "list the versions",
    "register": "make the model of a commit a version",
    "promote": "make a version the champion",
    "retire": "take a version out of use for good",
    "fetch": "fetch a version's model, and print its path",
    "champion": "say which model a challenger is measured against",
}
BUMPS = ("major", "minor", "patch")
VERSION = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
# model@v1.0.0 registers, model@v1.0.0! retires;
# model#production#7 gives a stage, model#production!#8 ends it.
TAG = re.compile(rf"(@(?P<version>{VERSION.pattern})|#(?P<stage>[^#!]+))(?P<cancelled>!?)(#(?P<number>\d+))?")
TAG_FIELDS = "%(refname:strip=2)%00%(*objectname)%00%(taggername) %(taggeremail)%00%(taggerdate:iso-strict)"


@dataclass(frozen=True)
class Event:
    """What one tag says: of a version, or of a stage (the other one is None)."""

    commit: str
    author: str
    date: str
    version: str | None
    stage: str | None
    cancelled: bool
    number: int


@dataclass(frozen=True)
class Version:
    """An immutable version, and the stages that it holds now."""

    name: str
    commit: str
    author: str
    date: str
    retired: bool
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Champion:
    """The model that a challenger is measured against; one that was never promoted has no version."""

    name: str
    revision: str
    version: str | None
    model_hash: str | None

    def __str__(self) -> str:
        return f"{self.name}, commit {self.revision[:7]}, model hash {self.model_hash}"


def read_events(name: str) -> list[Event]:
    """Read what the tags of a model say, in the order of their numbers."""
    patterns = f"refs/tags/{name}@*", f"refs/tags/{name}#*"
    events = []
    for line in read_git("for-each-ref", f"--format={TAG_FIELDS}", *patterns).splitlines():
        tag, commit, author, date = line.split("\0")
        match = TAG.fullmatch(tag.removeprefix(name))
        # A tag with no commit behind it is not annotated; GTO passes over it as well.
        if match and commit:
            version, stage, cancelled = match["version"], match["stage"], bool(match["cancelled"])
            events.append(Event(commit, author, date, version, stage, cancelled, int(match["number"] or 0)))
    return sorted(events, key=lambda event: event.number)


def list_versions(name: str) -> list[Version]:
    """List the registered versions, retired ones included, newest first."""
    events = read_events(name)
    registered = {event.version: event for event in events if event.version and not event.cancelled}
    retired = {event.version for event in events if event.version and event.cancelled}
    holders = _find_holders(events, {event.commit for key, event in registered.items() if key not in retired})
    versions = [
        Version(
            name=key,
            commit=event.commit,
            author=event.author,
            date=event.date,
            retired=key in retired,
            stages=tuple(stage for stage, commit in holders.items() if commit == event.commit),
        )
        for key, event in registered.items()
    ]
    return sorted(versions, key=lambda version: _split_version(version.name), reverse=True)


def _find_holders(events: Sequence[Event], eligible: set[str]) -> dict[str, str]:
    """Find each stage's commit: the one that got it last, has it still, and is eligible."""
    held: dict[str, list[str]] = {}
    for event in events:
        if event.stage and event.commit in eligible:
            others = [commit for commit in held.get(event.stage, []) if commit != event.commit]
            held[event.stage] = others if event.cancelled else [*others, event.commit]
    return {stage: commits[-1] for stage, commits in held.items() if commits}


def find_promoted(versions: Sequence[Version]) -> Version | None:
    """Find the version in production."""
    return next((version for version in versions if PRODUCTION in version.stages), None)


def find_champion(name: str, base: str | None = None) -> Champion | None:
    """Find the champion.

    Parameters
    ----------
    name : str
        The model's name in the registry.
    base : str, optional
        Where to look while no version is in production; by default where this work left the main branch
        (`lifecycle.repository.find_base`).

    Returns
    -------
    Champion or None
        The version in production; without one, the model that dvc.lock names at the base; without that, None.

    Raises
    ------
    MisuseError
        If there is no such base.
    """
    if version := find_promoted(list_versions(name)):
        md5 = find_hash(read_lock(version.commit), str(ONNX))
        return Champion(f"{name}@{version.name}", version.commit, version.name, md5)
    commit = choose_base(base)
    if commit is None or read_name(commit) not in (None, name):
        return None
    md5 = find_hash(read_lock(commit), str(ONNX))
    return Champion(f"{name} at {base or commit[:7]}", commit, None, md5) if md5 else None


def read_name(revision: str) -> str | None:
    """Read what a revision calls its model: one of another name, as a fork's template, is no champion."""
    registry = read_yaml_at(revision, "params.yaml").get("registry")
    return registry.get("name") if isinstance(registry, dict) else None


def require_version(name: str, version: str) -> Version:
    """Find a registered version.

    Raises
    ------
    MisuseError
        If there is none of this name, with those that are known.
    """
    versions = {known.name: known for known in list_versions(name)}
    if version not in versions:
        known = f"registered are {', '.join(versions)}" if versions else "no version is registered yet"
        raise MisuseError(f"{name}@{version} is not registered; {known}. For others run git fetch --tags.")
    return versions[version]


def register_version(name: str, revision: str = "HEAD", version: str | None = None, bump: str = "minor") -> str:
    """Make the model that dvc.lock names at a revision an immutable version.

    Parameters
    ----------
    name : str
        The model's name in the registry.
    revision : str
        Any Git revision.
    version : str, optional
        As v1.2.0; by default the next one after the highest.
    bump : {'major', 'minor', 'patch'}
        Which part of the version is counted up.

    Returns
    -------
    str
        The new tag.

    Raises
    ------
    MisuseError
        If there is no such revision, or the version is none.
    RefusedError
        If there is no model at the revision, or the commit or the version is registered already.
    """
    commit = require_revision(revision)
    if find_hash(read_lock(commit), str(ONNX)) is None:
        raise RefusedError(f"dvc.lock at {revision} names no {ONNX}; run make pipeline, and commit its dvc.lock.")
    versions = list_versions(name)
    version = version or _count_up(versions, bump)
    if not VERSION.fullmatch(version):
        raise MisuseError(f"{version!r} is no version; expected one like {_count_up(versions, bump)}.")
    for known in versions:
        if known.commit == commit:
            raise RefusedError(f"commit {commit[:7]} is {name}@{known.name} already; commit a new model first.")
        if known.name == version:
            raise RefusedError(
                f"{name}@{version} is registered already, for commit {known.commit[:7]}; "
                f"the next free version is {_count_up(versions, bump)}."
            )
    return _write_tag("register", name, ref=commit, version=version)


def promote_version(name: str, version: str, stage: str = PRODUCTION) -> str | None:
    """Give a stage to a version; the stage ``production`` makes it the champion.

    Returns
    -------
    str or None
        The new tag; None if the version holds the stage already, which changes nothing.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If it is retired.
    """
    found = require_version(name, version)
    if found.retired:
        raise RefusedError(f"{name}@{version} is retired; promote another version.")
    if stage in found.stages:
        return None
    # To GTO a former champion still holds the stage; force lets it come back.
    return _write_tag("assign", name, stage=stage, version=version, force=True)


def retire_version(name: str, version: str) -> str | None:
    """Take a version out of use for good; its bytes can still be fetched.

    Returns
    -------
    str or None
        The new tag; None if the version is retired already, which changes nothing.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If it holds a stage.
    """
    found = require_version(name, version)
    if found.stages:
        raise RefusedError(f"{name}@{version} is in {', '.join(found.stages)}; promote another version there first.")
    # In GTO's words a version is deregistered, and only a whole model is deprecated.
    return None if found.retired else _write_tag("deregister", name, version=version)


def fetch_version(name: str, version: str, destination: Path) -> Path:
    """Fetch a version's model, as `lifecycle.store.fetch_at` does, and give its path.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If its bytes cannot be had.
    """
    return fetch_at(require_version(name, version).commit, str(ONNX), destination)


def format_versions(name: str, versions: Sequence[Version]) -> str:
    """Lay the versions out as a table of at most 80 columns, and the decisions on them below."""
    if not versions:
        return f"{name}: no version is registered yet. Next: python -m lifecycle.registry register"
    rows = [("version", "state", "commit", "model", "registered", "by")]
    for version in versions:
        state = "retired" if version.retired else ", ".join(version.stages).replace(PRODUCTION, "champion")
        md5 = find_hash(read_lock(version.commit), str(ONNX)) or "none"
        by = version.author.partition(" <")[0]
        rows.append((version.name, state, version.commit[:7], md5[:7], version.date[:16], by))
    decisions = [
        f"{version.name}: {describe_decision(record)}"
        for version in versions
        for record in read_decisions(name, version.commit)
    ]
    return "\n".join(line[:80] for line in (*align_columns(rows), *decisions))


def _split_version(version: str) -> tuple[int, ...]:
    """Split v1.2.0 into (1, 2, 0)."""
    return tuple(int(part) for part in version[1:].split("."))


def _count_up(versions: Sequence[Version], bump: str) -> str:
    """Give the next version; ``versions`` come newest first."""
    if not versions:
        return FIRST_VERSION
    place = BUMPS.index(bump)
    parts = _split_version(versions[0].name)
    counted = (*parts[:place], parts[place] + 1, *(0 for _ in parts[place + 1 :]))
    return f"v{'.'.join(str(part) for part in counted)}"


def _write_tag(action: str, name: str, **arguments: Any) -> str:
    """Let GTO write a tag, and give the tag."""
    # Importing GTO takes a second, and most runs write no tag.
    from git.exc import GitError  # pylint: disable=import-outside-toplevel
    from gto import api  # pylint: disable=import-outside-toplevel
    from gto.exceptions import GTOException  # pylint: disable=import-outside-toplevel
    from scmrepo.exceptions import SCMError  # pylint: disable=import-outside-toplevel

    try:
        return str(getattr(api, action)(".", name, **arguments).tag)
    except (GTOException, SCMError, GitError) as error:
        raise RefusedError(f"the tag was not written: {' '.join(str(error).split())}") from error


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.registry", description="Keep versions of the model.")
    choices = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands = {command: choices.add_parser(command, help=text) for command, text in COMMANDS.items()}
    for command in ("promote", "retire", "fetch"):
        commands[command].add_argument("version", help="as v1.2.0")
    commands["register"].add_argument("revision", nargs="?", default="HEAD")
    commands["register"].add_argument("--version", help="as v1.2.0; by default the next one")
    commands["register"].add_argument("--bump", choices=BUMPS, default="minor", help="what the next version raises")
    commands["promote"].add_argument("--stage", default=PRODUCTION)
    commands["fetch"].add_argument("--to", type=Path, default=OUT / "fetched.onnx", help="the file to write")
    commands["champion"].add_argument("--base", help="where to look while no version is in production")
    return parser.parse_args(argv)


def _announce(tag: str | None, otherwise: str) -> str:
    """Say which tag was written and how to share it, or why none was."""
    if tag is None:
        return f"{otherwise} already; nothing changed."
    return f"Wrote the tag {tag} in this clone. To share it: git push origin {shlex.quote(tag)}"


def _answer(name: str, given: argparse.Namespace) -> str:
    """Do what the command line asks, and say what came of it."""
    if given.command == "show":
        return format_versions(name, list_versions(name))
    if given.command == "champion":
        return str(find_champion(name, given.base) or "There is no champion; the baseline stands in for it.")
    if given.command == "register":
        return _announce(register_version(name, given.revision, given.version, given.bump), "")
    if given.command == "promote":
        tag = promote_version(name, given.version, given.stage)
        return _announce(tag, f"{name}@{given.version} is in {given.stage}")
    if given.command == "retire":
        return _announce(retire_version(name, given.version), f"{name}@{given.version} is retired")
    return str(fetch_version(name, given.version, given.to))


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command of the registry and print its answer; where versions are recorded too, they follow."""
    given, params = _parse_arguments(argv), read_params()
    print(_answer(params.registry.name, given))
    if given.command in ("register", "promote", "retire"):
        follow_registry(params.track)


if __name__ == "__main__":
    run(main)
