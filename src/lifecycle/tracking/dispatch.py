"""Who is to have records, and the sending: in processes of their own, for as long as params.yaml allows."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lifecycle.params import TrackParams
from lifecycle.paths import OUTBOX, TRACKING
from lifecycle.tracking.outbox import hold, list_waiting

ADDRESS = "MLFLOW_TRACKING_URI"
# What a variable says that calls for nothing.
OFF = "disabled"


def read_environment() -> dict[str, str]:
    """Read the environment; where no server is named in it, with the address of that of `make tracking`."""
    environment = dict(os.environ)
    with suppress(FileNotFoundError, ValueError, KeyError):
        environment.setdefault(ADDRESS, json.loads(TRACKING.read_text(encoding="utf-8"))["address"])
    return environment


def choose_backends(params: TrackParams, environment: Mapping[str, str]) -> list[str]:
    """Choose the backends that the environment calls for."""
    return [
        module
        for module, variables in params.backends.items()
        if (named := [environment[variable] for variable in variables if environment.get(variable)])
        and OFF not in named
    ]


def send_waiting(params: TrackParams, environment: Mapping[str, str], rebuild: bool = False) -> list[str]:
    """Send what waits to the backends that the environment calls for, and let their registries follow Git's.

    Parameters
    ----------
    params : TrackParams
    environment : mapping
        Of the backends' processes.
    rebuild : bool
        Also send what Git's history says, however long that takes.

    Returns
    -------
    list of str
        Why a backend does not have everything; a line each.
    """
    backends = choose_backends(params, environment)
    if not backends:
        return []
    with hold() as lock:
        if lock is None:
            return [f"another process is sending what waits in {OUTBOX}"]
        faults = []
        for module in backends:
            waiting = list_waiting(module)
            arguments = [*map(str, waiting), *(["--rebuild"] if rebuild else [])]
            fault = _run_backend(module, arguments, environment, None if rebuild else params.send_seconds, lock)
            if fault:
                left = len(list_waiting(module))
                rest = f"{left} record{'s' * (left > 1)} in {OUTBOX} waiting" if left else "all records are sent"
                faults.append(f"{module}: {fault} ({rest})")
        return faults


def follow_registry(params: TrackParams) -> None:
    """Send what waits, so that registries elsewhere follow Git's; say what did not work, and go on."""
    sys.stdout.flush()
    report_faults(send_waiting(params, read_environment()))


def report_faults(faults: Sequence[str]) -> None:
    """Say why somebody does not have everything, a line each."""
    for fault in faults:
        print(f"track: {fault}. Later: python -m lifecycle.track send", file=sys.stderr)


def _run_backend(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], seconds: float | None, lock: int
) -> str | None:
    """Run a backend, and stop it with all that it started when its time is over; give what went wrong."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=[lock],
    ) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return f"not done after {seconds:g} s"
            raise
    lines = said.strip().splitlines() or [f"ended with {process.returncode}"]
    return lines[-1] if process.returncode else None
