"""What a backend is: a module with one function, which is run in a process of its own and may be stopped at any time.

It is called for when a variable of the environment is set that params.yaml names beside it, under ``track.backends``.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
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
        fault = _send_waiting(module, send, given.folders)
        if given.rebuild:
            _send_history(send)
        for line in follow() if follow else []:
            print(line, flush=True)
    # What a client raises depends on the backend; its parent needs one line of it.
    except Exception as error:  # pylint: disable=broad-exception-caught
        fault = _describe(error)
    if fault:
        sys.exit(fault)


def _send_history(send: Send) -> None:
    """Send the record of each commit that changed dvc.lock, oldest first."""
    model = read_params().registry.name
    for commit in read_git("log", "--reverse", "--format=%H", "--", LOCK).split():
        with TemporaryDirectory() as folder:
            try:
                if read_name(commit) not in (None, model) or find_hash(read_lock(commit), str(ONNX)) is None:
                    continue
                record = write_commit(Path(folder), model, commit)
            except RefusedError as error:
                # History cannot be mended, as a conflict that was committed once.
                print(f"{commit[:7]}: left out: {error}", flush=True)
                continue
            print(f"{commit[:7]}: {send(record, Path(folder))}", flush=True)


def _send_waiting(module: str, send: Send, folders: Sequence[Path]) -> str | None:
    """Send what waits; one record that is refused holds no other one up, and a server that is not there all."""
    fault = None
    for folder in folders:
        try:
            print(f"recorded: {send(read_record(folder), folder)}", flush=True)
            mark_sent(folder, module)
        except RefusedError:
            raise
        # As in run_backend.
        except Exception as error:  # pylint: disable=broad-exception-caught
            fault = fault or f"{folder.name}: {_describe(error)}"
    return fault


def _describe(error: Exception) -> str:
    """Say an error in one line."""
    kind = "" if isinstance(error, (RefusedError, MisuseError)) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())[:300]}"
