"""What a backend is: a module with one function, which is run in a process of its own and may be stopped at any time.

It is called for when a variable of the environment is set that params.yaml names beside it, under ``track.backends``.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import read_params
from lifecycle.paths import ONNX
from lifecycle.registry import read_name
from lifecycle.repository import LOCK, find_hash, read_git, read_lock
from lifecycle.tracking.outbox import mark_sent
from lifecycle.tracking.record import Record, read_record, write_commit


class Send(Protocol):
    """Send a record, whose files lie in the folder; a record that is there already is not sent twice.

    Returns where it can be seen. Raises whatever it likes when the record did not arrive.
    """

    def __call__(self, record: Record, folder: Path) -> str: ...


def run_backend(module: str, send: Send, follow: Callable[[], list[str]] | None = None) -> None:
    """Run a backend's module as a command: send records, then let its registry follow Git's.

    Parameters
    ----------
    module : str
        The module's name, as params.yaml has it.
    send : callable
    follow : callable, optional
        Makes the backend's registry say what Git says, and gives a line for each thing that it changed.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("folders", nargs="*", type=Path, help="records")
    parser.add_argument("--rebuild", action="store_true", help="send what Git's history says")
    given = parser.parse_args()
    try:
        for folder in given.folders:
            print(f"recorded: {send(read_record(folder), folder)}", flush=True)
            mark_sent(folder, module)
        if given.rebuild:
            _send_history(send)
        for line in follow() if follow else []:
            print(line, flush=True)
    # What a client raises depends on the backend; its parent needs one line of it.
    except Exception as error:  # pylint: disable=broad-exception-caught
        kind = "" if isinstance(error, (RefusedError, MisuseError)) else f"{type(error).__name__}: "
        sys.exit(f"{kind}{' '.join(str(error).split())[:300]}")


def _send_history(send: Send) -> None:
    """Send the record of each commit that changed dvc.lock, oldest first."""
    model = read_params().registry.name
    for commit in read_git("log", "--reverse", "--format=%H", "--", LOCK).split():
        if find_hash(read_lock(commit), str(ONNX)) is None or read_name(commit) != model:
            continue
        with TemporaryDirectory() as folder:
            record = write_commit(Path(folder), model, commit)
            print(f"{commit[:7]}: {send(record, Path(folder))}", flush=True)
