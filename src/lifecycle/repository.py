"""What Git and dvc.lock know at a revision; paths are relative to the working folder, not the repository's top."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lifecycle.errors import MisuseError, RefusedError, join_lines

LOCK = "dvc.lock"
# What the working folder's model is made of, in Git's words: not of the other ones, and of the machinery in any case.
MADE_OF = (".", ":(exclude)models", ":(top)src/lifecycle", ":(top)requirements.lock")
# Where the base is looked for, best first: what everybody sees, then what this clone has.
BASES = ("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/heads/main")
# Git's exit code when it cannot work at all, as in a folder that is no repository.
GIT_FATAL = 128


def resolve_revision(revision: str) -> str | None:
    """Find the full hash of the commit that a revision (hash, branch, tag) means; None if unknown.

    Raises
    ------
    MisuseError
        If the working folder is in no Git repository.
    """
    return read_git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip() or None


def require_revision(revision: str) -> str:
    """Find the commit that a revision means, as `resolve_revision` does.

    Raises
    ------
    MisuseError
        If there is no such revision, naming it.
    """
    commit = resolve_revision(revision)
    if commit is None:
        raise MisuseError(f"{revision!r} is no revision in this clone; correct it, or run git fetch --tags.")
    return commit


def find_base() -> str | None:
    """Find the commit that this work started from: where HEAD left the main branch.

    Returns
    -------
    str or None
        The merge base of HEAD and the main branch; the main branch's newest commit where a shallow clone
        hides what they share; HEAD without a main branch; None in a repository without a commit.
    """
    for branch in BASES:
        if tip := resolve_revision(branch):
            return read_git("merge-base", "HEAD", tip).strip() or tip
    return resolve_revision("HEAD")


def choose_base(revision: str | None) -> str | None:
    """Take a base that was named, or else find one as `find_base` does.

    Parameters
    ----------
    revision : str or None
        Nothing, and GitHub's forty zeros for "there was no commit before", name none.

    Raises
    ------
    MisuseError
        If there is no such revision.
    """
    return require_revision(revision) if revision and revision.strip("0") else find_base()


def describe_commit(revision: str) -> dict[str, str]:
    """Say who made a commit, when (ISO 8601) and its subject."""
    commit = require_revision(revision)
    author, date, subject = read_git("show", "--no-patch", "--format=%an <%ae>%x00%aI%x00%s", commit).split("\0")
    return {"hash": commit, "author": author, "date": date, "subject": subject.rstrip()}


def read_git(*arguments: str) -> str:
    """Read what a Git command prints; one that finds nothing gives an empty text.

    Raises
    ------
    MisuseError
        If Git cannot work here at all.
    """
    done = run_git(*arguments)
    if done.returncode == GIT_FATAL:
        fault = join_lines(done.stderr.decode(errors="replace"))
        raise MisuseError(f"Git cannot read {Path.cwd()}: {fault}. Start in a folder of a Git repository.")
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def read_at(revision: str, path: str) -> bytes | None:
    """Read a file as Git has it at a revision; None if the revision has no such file.

    Raises
    ------
    MisuseError
        If there is no such revision.
    """
    done = run_git("cat-file", "blob", f"{revision}:./{path}")
    if done.returncode == 0:
        return done.stdout
    require_revision(revision)
    return None


def write_note(reference: str, commit: str, text: str, *how: str) -> None:
    """Write a Git note on a commit; ``how`` is Git's: append, or add and --force.

    Raises
    ------
    RefusedError
        If Git cannot write it.
    """
    done = run_git("notes", f"--ref={reference}", *how, "--message", text, commit)
    if done.returncode:
        fault = join_lines(done.stderr.decode(errors="replace"))
        raise RefusedError(f"the note in {reference} was not written: {fault}.")


def is_unchanged_since(revision: str, *paths: str, to: str | None = None) -> bool:
    """Tell whether files or folders are what they were at a revision; with ``to`` at another one, not here."""
    return run_git("diff", "--quiet", revision, *([to] if to else []), "--", *paths).returncode == 0


def read_yaml_at(revision: str | None, path: str) -> dict[str, Any]:
    """Read a YAML file at a revision, or that of the working folder for None; empty where there is none.

    Raises
    ------
    MisuseError
        If there is no such revision.
    RefusedError
        If the file holds no mapping, as one with an unresolved conflict.
    """
    if revision is None:
        content = Path(path).read_bytes() if Path(path).is_file() else None
    else:
        content = read_at(revision, path)
    where = f"{path} at {revision or 'the working folder'}"
    try:
        value = yaml.safe_load(content or b"{}")
    except yaml.YAMLError as error:
        raise RefusedError(f"{where} is no YAML: {join_lines(error)}. Resolve it, or run: make pipeline") from error
    if not isinstance(value, dict):
        raise RefusedError(f"{where} is {type(value).__name__}, expected a mapping. Run: make pipeline")
    return value


def read_lock(revision: str | None) -> dict[str, Any]:
    """Read dvc.lock, as `read_yaml_at` does."""
    return read_yaml_at(revision, LOCK)


def find_entry(lock: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """Find what a lock says of a file or folder that its stages make, or else of one that they read.

    Parameters
    ----------
    lock : Mapping
        As `read_lock` gives it.
    path : str
        As dvc.yaml spells it.

    Returns
    -------
    dict or None
        DVC's own keys: path, md5, size (bytes), nfiles (folders only).
    """
    stages = (lock.get("stages") or {}).values()
    entries = [entry for kind in ("outs", "deps") for stage in stages for entry in stage.get(kind) or []]
    return next((entry for entry in entries if entry.get("path") == path), None)


def find_hash(lock: Mapping[str, Any], path: str) -> str | None:
    """Find the md5 of a file or folder, as `find_entry` does; that of a folder ends with ``.dir``."""
    return (find_entry(lock, path) or {}).get("md5")


def hash_file(path: Path) -> str:
    """Compute a file's md5, DVC's name for its bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def hash_content(content: bytes) -> str:
    """Compute the md5 of a file's content, as `hash_file` does of the file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def run_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run Git in the working folder."""
    return subprocess.run(["git", *arguments], capture_output=True, check=False)
