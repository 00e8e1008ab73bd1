"""Share the registry's tags with GitHub, from a workflow: register what was merged, promote what serves, retire."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.results import AUTHOR, CREDENTIALS
from lifecycle.github.runner import append_to
from lifecycle.params import read_params
from lifecycle.paths import ONNX
from lifecycle.registry import list_versions, promote_version, register_version, retire_version
from lifecycle.repository import find_hash, read_lock, require_revision
from lifecycle.retire import choose_versions
from lifecycle.tools import run_tool
from lifecycle.tracking.dispatch import follow_registry


def register(name: str) -> str:
    """Make the merged commit a version, and share its tag.

    A new model counts the minor part of the version up; other code with the same model counts up the patch. A commit
    that is a version already stays the one that it is.

    Returns
    -------
    str
        The version.

    Raises
    ------
    RefusedError
        If there is no model, or the tag cannot be shared; then it is not kept here either.
    """
    commit, versions = require_revision("HEAD"), list_versions(name)
    for known in versions:
        if known.commit == commit:
            return known.name
    model = find_hash(read_lock(commit), str(ONNX))
    is_known = any(find_hash(read_lock(version.commit), str(ONNX)) == model for version in versions)
    tag = register_version(name, commit, bump="patch" if is_known else "minor")
    share(tag)
    return tag.partition("@")[2]


def promote(name: str, version: str) -> str:
    """Make a version the champion, and share the tag.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If it is retired, or the tag cannot be shared; then it is not kept here either.
    """
    tag = promote_version(name, version)
    if tag is None:
        return f"{name}@{version} is the champion already."
    share(tag)
    return f"{name}@{version} is the champion."


def retire(name: str, keep: int) -> list[str]:
    """Retire the versions that no longer serve, and share their tags.

    Raises
    ------
    RefusedError
        If a tag cannot be shared; then it is not kept here either.
    """
    retired = choose_versions(list_versions(name), keep)
    for version in retired:
        if tag := retire_version(name, version):
            share(tag)
    return retired


def share(tag: str) -> None:
    """Push a tag; one that cannot be pushed is taken back."""
    try:
        run_tool(Path(), "git", *CREDENTIALS, "push", "--quiet", "origin", f"refs/tags/{tag}")
    except RefusedError:
        run_tool(Path(), "git", "tag", "--delete", tag)
        raise


def name_author() -> None:
    """Let tags be written in the name of the workflow's bot."""
    for setting in AUTHOR[1::2]:
        key, _, value = setting.partition("=")
        for role in ("AUTHOR", "COMMITTER"):
            os.environ[f"GIT_{role}_{key.removeprefix('user.').upper()}"] = value


def main(argv: Sequence[str] | None = None) -> None:
    """Register the merged commit, promote a version, or retire those that no longer serve."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.versions", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("register", help="make the merged commit a version")
    commands.add_parser("promote", help="make a version the champion").add_argument("version", help="as v1.2.0")
    commands.add_parser("retire", help="retire the versions that no longer serve")
    arguments = parser.parse_args(argv)
    params = read_params()
    name = params.registry.name
    name_author()
    if arguments.command == "promote":
        if not arguments.version:
            raise MisuseError("no version is given; expected one like v1.2.0.")
        print(promote(name, arguments.version))
    elif arguments.command == "retire":
        print(f"retired: {', '.join(retire(name, params.retire.keep)) or 'nothing'}")
    else:
        version = register(name)
        append_to("GITHUB_OUTPUT", f"version={version}\n")
        print(f"{name}@{version}")
    follow_registry(params.track)


if __name__ == "__main__":
    run(main)
