"""Record the run that the working folder holds, where somebody wants to have it; never in the way of the run.

The record is written first. Sending it comes after, and what a server that is down or slow did not take is sent
later.
"""

import argparse
from collections.abc import Sequence

from lifecycle.errors import MisuseError, run
from lifecycle.params import Params, read_params
from lifecycle.paths import METRICS
from lifecycle.tracking.dispatch import choose_backends, read_environment, report_faults, send_waiting
from lifecycle.tracking.outbox import put
from lifecycle.tracking.record import write_run
from lifecycle.tracking.server import serve

COMMANDS = {
    "run": "record the run that the working folder holds, and send what waits (the default)",
    "send": "send what waits, and let the registry there follow Git's",
    "rebuild": "also send what Git's history says, as to an empty server",
    "serve": "start a server on loopback, and stay until Ctrl-C",
}


def track(command: str, params: Params) -> list[str]:
    """Do one of the commands but ``serve``.

    Returns
    -------
    list of str
        Why somebody does not have everything; a line each.

    Raises
    ------
    MisuseError
        If nobody wants records and the command is not ``run``, or no run lies in the working folder.
    """
    environment = read_environment()
    backends = choose_backends(params.track, environment)
    if not backends:
        if command == "run":
            return []
        named = ", ".join(variable for names in params.track.backends.values() for variable in names)
        raise MisuseError(f"nobody wants records: set one of {named}, or start a server with: make tracking")
    if command == "run":
        if not METRICS.is_file():
            raise MisuseError(f"{METRICS} is missing, so there is no run to record; make one with: make pipeline")
        put(lambda folder: write_run(folder, params.registry.name).id, backends)
    return send_waiting(params.track, environment, rebuild=command == "rebuild")


def main(argv: Sequence[str] | None = None) -> int:
    """Record runs; exit 1 if a record that a person asked to send did not arrive."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.track", description="Record runs.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for command, text in COMMANDS.items():
        commands.add_parser(command, help=text)
    command = parser.parse_args(argv).command or "run"
    params = read_params()
    if command == "serve":
        serve(params.track)
        return 0
    faults = track(command, params)
    report_faults(faults)
    # A run is not to fail because of a server.
    return 1 if faults and command != "run" else 0


if __name__ == "__main__":
    run(main)
