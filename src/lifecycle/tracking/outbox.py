"""Records that wait until those who should have them do: a folder each, in the order of their names.

An empty file named as a backend in a record's folder ``to`` says that this backend lacks it.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lifecycle.paths import OUTBOX

WANTED = "to"


def put(write: Callable[[Path], str], backends: Sequence[str]) -> Path:
    """Put a record into the outbox, whole or not at all.

    Parameters
    ----------
    write : callable
        Writes the record into the folder that it is given, and gives its id.
    backends : sequence of str
        Names of the modules that should have it.

    Returns
    -------
    Path
        The record's folder.
    """
    OUTBOX.mkdir(parents=True, exist_ok=True)
    # Beside its place, since only within one file system is moving atomic.
    with TemporaryDirectory(dir=OUTBOX, prefix=".new-") as temporary:
        folder = Path(temporary) / "record"
        (folder / WANTED).mkdir(parents=True)
        name = write(folder)
        for backend in backends:
            (folder / WANTED / backend).touch()
        return folder.rename(OUTBOX / name)


def list_waiting(backend: str) -> list[Path]:
    """List the records that a backend lacks, oldest first."""
    return sorted(mark.parent.parent for mark in OUTBOX.glob(f"[!.]*/{WANTED}/{backend}"))


def mark_sent(folder: Path, backend: str) -> None:
    """Note that a backend has a record; one that nobody lacks any more is removed."""
    (folder / WANTED / backend).unlink(missing_ok=True)
    if not any((folder / WANTED).iterdir()):
        shutil.rmtree(folder)


@contextmanager
def hold() -> Iterator[int | None]:
    """Hold the outbox, so that no two processes send the same record; None while another one does.

    The descriptor is for a process that is started meanwhile: as long as it lives, it holds the outbox too.
    """
    OUTBOX.mkdir(parents=True, exist_ok=True)
    with (OUTBOX / ".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file.fileno()
