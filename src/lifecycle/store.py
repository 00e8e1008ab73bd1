"""The bytes that DVC stores under their hash, in its cache or its remote."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lifecycle.errors import MisuseError, RefusedError, join_lines
from lifecycle.repository import LOCK, find_hash, hash_file, read_lock, read_yaml_at


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
        return join_lines(store)
    blob = store.oid_to_path(md5)
    try:
        store.fs.get_file(blob, os.fspath(destination))
    except FileNotFoundError:
        return "missing"
    # What a remote raises depends on its kind.
    except Exception as error:  # pylint: disable=broad-exception-caught
        return f"{type(error).__name__} {join_lines(error)}"
    found = hash_file(destination)
    return None if found == md5.removesuffix(".dir") else f"corrupted, with hash {found}; delete {blob}"


def _measure_blob(stores: list[Any], md5: str) -> int | None:
    """Find a blob's size in bytes, or None where no store can tell."""
    for store in stores:
        # As in _copy_blob.
        with suppress(Exception):
            return int(store.fs.size(store.oid_to_path(md5)))
    return None
