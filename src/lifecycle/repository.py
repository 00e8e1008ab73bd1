"""What Git and DVC know at a revision; paths are relative to the working folder, not the repository's top."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from lifecycle.errors import MisuseError, RefusedError

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
        fault = _join_lines(done.stderr.decode(errors="replace"))
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
        fault = _join_lines(done.stderr.decode(errors="replace"))
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
        raise RefusedError(f"{where} is no YAML: {_join_lines(error)}. Resolve it, or run: make pipeline") from error
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


def fetch_at(revision: str, path: str, destination: Path) -> Path:
    """Fetch the bytes that dvc.lock at a revision names, as `fetch_blob` does.

    Parameters
    ----------
    revision : str
        Any Git revision.
    path : str
        A cached output, as dvc.yaml spells it.
    destination : Path
        The file to write.

    Returns
    -------
    Path
        The destination.

    Raises
    ------
    MisuseError
        If there is no such revision.
    RefusedError
        If the lock names no such output, or its bytes cannot be had.
    """
    md5 = find_hash(read_lock(revision), path)
    if md5 is None:
        raise RefusedError(f"{LOCK} at {revision} names no {path}; name a revision whose pipeline made it.")
    return fetch_blob(md5, destination)


def fetch_blob(md5: str, destination: Path) -> Path:
    """Fetch the bytes with this hash from DVC's cache or remote; a former file stays until they are whole.

    Raises
    ------
    MisuseError
        If no file can be written there.
    RefusedError
        Naming the hash, and for cache and remote why it did not give these bytes.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MisuseError(f"cannot write {destination}: {error.strerror}; name another file.") from error
    if destination.is_dir():
        raise MisuseError(f"cannot write {destination}: it is a folder; name a file in it.")
    # Beside the destination, since only within one file system is moving atomic.
    with TemporaryDirectory(dir=destination.parent, prefix=".fetch-") as folder:
        arrived = Path(folder) / "blob"
        faults = []
        for place, store in _open_stores():
            fault = _copy_blob(store, md5, arrived)
            if fault is None:
                return arrived.replace(destination)
            faults.append(f"{place}: {fault}")
    raise RefusedError(
        f"the bytes with hash {md5} cannot be had ({'; '.join(faults)}). "
        "Run dvc push where they were made, or make them anew from their commit."
    )


def list_folder(md5: str) -> list[dict[str, Any]]:
    """List the files of a folder that DVC tracks.

    Parameters
    ----------
    md5 : str
        The folder's hash, which ends with ``.dir``.

    Returns
    -------
    list of dict
        ``name``, ``hash`` and ``size_bytes`` (None where neither cache nor remote holds the file).

    Raises
    ------
    RefusedError
        If the listing cannot be had.
    """
    with TemporaryDirectory() as folder:
        entries = json.loads(fetch_blob(md5, Path(folder) / "listing.json").read_bytes())
    stores = [store for _, store in _open_stores() if not isinstance(store, Exception)]
    hashes = {entry["relpath"]: entry["md5"] for entry in entries}
    return [{"name": name, "hash": md5, "size_bytes": _measure_blob(stores, md5)} for name, md5 in hashes.items()]


def list_absent(lock: Mapping[str, Any]) -> list[str]:
    """List the pushed outputs and data that a lock names and whose bytes the remote does not hold.

    Raises
    ------
    RefusedError
        If there is no remote, or it cannot be asked.
    """
    remote = dict(_open_stores()).get("remote")
    if remote is None:
        raise RefusedError("DVC has no remote that can be opened; name one with: dvc remote add -d NAME ADDRESS")
    tracked = [entry["path"] for entry in read_yaml_at(None, "data.dvc").get("outs") or []]
    pushed = [path for path in (*tracked, *_list_pushed(read_yaml_at(None, "dvc.yaml"))) if find_hash(lock, path)]
    return [path for path in pushed if not _holds(remote, str(find_hash(lock, path)))]


def _list_pushed(pipeline: Mapping[str, Any]) -> list[str]:
    """List the outputs whose bytes go to the remote: those that are cached, and not kept from it."""
    stages = (pipeline.get("stages") or {}).values()
    entries = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind) or []]
    options = {
        name: how for entry in entries for name, how in (entry if isinstance(entry, dict) else {entry: {}}).items()
    }
    return [path for path, how in options.items() if how.get("cache", True) and how.get("push", True)]


def _holds(remote: Any, md5: str) -> bool:
    """Tell whether the remote has a file, or a folder with all that lies in it."""
    if not remote.exists(md5):
        return False
    return not md5.endswith(".dir") or all(remote.exists(file["hash"]) for file in list_folder(md5))


def _open_stores() -> Iterator[tuple[str, Any]]:
    """Open DVC's cache, then its remote; for one that cannot be opened, give the error that says why."""
    # Importing DVC takes a second, which a decision between two known hashes must not pay.
    from dvc.exceptions import DvcException  # pylint: disable=import-outside-toplevel
    from dvc.repo import Repo  # pylint: disable=import-outside-toplevel

    try:
        repo = Repo()
        yield "cache", repo.cache.local
        yield "remote", repo.cloud.get_remote_odb()
    except DvcException as error:
        yield "DVC", error


def _copy_blob(store: Any, md5: str, destination: Path) -> str | None:
    """Copy a blob and check its hash; give what is wrong, in one line, or None."""
    if isinstance(store, Exception):
        return _join_lines(store)
    blob = store.oid_to_path(md5)
    try:
        store.fs.get_file(blob, os.fspath(destination))
    except FileNotFoundError:
        return "missing"
    # What a remote raises depends on its kind.
    except Exception as error:  # pylint: disable=broad-exception-caught
        return f"{type(error).__name__} {_join_lines(error)}"
    found = hash_file(destination)
    return None if found == md5.removesuffix(".dir") else f"corrupted, with hash {found}; delete {blob}"


def _measure_blob(stores: list[Any], md5: str) -> int | None:
    """Find a blob's size in bytes, or None where no store can tell."""
    for store in stores:
        # As in _copy_blob.
        with suppress(Exception):
            return int(store.fs.size(store.oid_to_path(md5)))
    return None


def run_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run Git in the working folder."""
    return subprocess.run(["git", *arguments], capture_output=True, check=False)


def _join_lines(fault: object) -> str:
    """Say a fault in one line, without a full stop."""
    return " ".join(str(fault).split()).rstrip(".")
