"""Reproduce what changed; with --check, also hold dvc.lock against what comes out.

A lock is a claim: these inputs make those bytes. To test it, the run starts from the base's lock, so that every stage
which the change touches runs anew, whatever the change's own lock says of it. Writes out/lock.json.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lifecycle import pull
from lifecycle.comparison.lock import (
    FRESH,
    STALE,
    UNAVAILABLE,
    LockCheck,
    judge_lock,
    list_other_bytes,
    list_outputs,
    write_mend,
)
from lifecycle.comparison.snapshot import read_json
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.folders import has_shared_pipeline, name_among_others, share_pipeline
from lifecycle.params import read_params
from lifecycle.paths import LOCK_CHECK, METRICS, OUT, PIPELINE, TEST
from lifecycle.repository import LOCK, MADE_OF, choose_base, read_at, read_git, read_lock
from lifecycle.store import list_absent

NO_STAGES = b"schema: '2.0'\nstages: {}\n"
RUNNING = "Running stage '"


def reproduce() -> tuple[str, ...]:
    """Run the stages whose inputs differ from what dvc.lock says, and pull the results of the others.

    Returns
    -------
    tuple of str
        The stages that ran.

    Raises
    ------
    RefusedError
        If the data cannot be had, or a stage fails.
    """
    ran: tuple[str, ...] = ()
    if TEST.exists():
        pull.main()
    else:
        # Prepared rows are never pushed, so a fresh clone makes them before it can skip what follows.
        ran = prepare_rows()
    return (*ran, *_run_dvc("repro", "--pull"))


def prepare_rows() -> tuple[str, ...]:
    """Bring the data, and make the rows that a model is judged on; nothing is trained.

    Raises
    ------
    RefusedError
        As `reproduce` does.
    """
    pull.main()
    return _run_dvc("repro", "prepare")


def _run_dvc(*arguments: str) -> tuple[str, ...]:
    """Run DVC, show what it prints, and return the stages that it ran."""
    ran = []
    for line in stream_dvc(*arguments):
        print(line, end="", flush=True)
        if stage := find_stage(line):
            ran.append(stage)
    return tuple(ran)


def stream_dvc(*arguments: str, **variables: str) -> Iterator[str]:
    """Run DVC, with this Python for its stages, and give the lines that it prints.

    Parameters
    ----------
    *arguments : str
        DVC's.
    **variables : str
        Of the environment, beside those of this process.

    Raises
    ------
    RefusedError
        If DVC or a stage fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, **variables, "PATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield from process.stdout or ()
    if process.returncode:
        raise RefusedError(f"dvc {' '.join(arguments)} failed; what DVC and the stage said stands above.")


def find_stage(line: str) -> str | None:
    """Find the stage that a line of DVC's says to run, if it does."""
    return line.removeprefix(RUNNING).partition("'")[0] if line.startswith(RUNNING) else None


def check_lock(base: str, tolerance: float) -> LockCheck:
    """Reproduce from a base's lock, and hold the lock and the metrics of HEAD against what comes out.

    Afterwards the working folder holds what this commit ships: the lock's own bytes where the lock is true, and what
    the run made where it is stale.

    Parameters
    ----------
    base : str
        A revision, whose lock is believed.
    tolerance : float
        How far a metric may lie from the committed one, as a share of it, where another machine makes other bytes.

    Returns
    -------
    LockCheck

    Raises
    ------
    MisuseError
        If the working folder has uncommitted changes.
    RefusedError
        As `reproduce` does; dvc.lock is then as it was.
    """
    if read_git("status", "--porcelain", "--untracked-files=no", "--", *MADE_OF):
        raise MisuseError("there are uncommitted changes, and only a commit has a lock to check; commit them first.")
    if not has_shared_pipeline():
        return LockCheck(STALE, (f"{PIPELINE} has not the first model's stages",), ())
    committed = read_json("HEAD", METRICS, {})
    Path(LOCK).write_bytes(read_at(base, LOCK) or NO_STAGES)
    try:
        ran = reproduce()
    except BaseException:
        Path(LOCK).write_bytes(read_at("HEAD", LOCK) or NO_STAGES)
        raise
    claimed, made = read_lock("HEAD"), read_lock(None)
    kept = {path: read_at("HEAD", path) for path in list_outputs(claimed)}
    state, reasons = judge_lock(claimed, made, kept, (committed, read_json(None, METRICS, {})), tolerance)
    if state != FRESH:
        return LockCheck(state, reasons, ran)
    # What ships is what the lock names, so that is what the gate must see.
    read_git("checkout", "HEAD", "--", LOCK, OUT.as_posix())
    if absent := list_absent(claimed):
        return LockCheck(UNAVAILABLE, tuple(f"{path} is not in the remote." for path in absent), ran)
    if list_other_bytes(claimed, made):
        _run_dvc("pull", "--force", "--allow-missing")
    return LockCheck(FRESH, reasons, ran)


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce what changed; with --check, exit 1 unless dvc.lock says what this commit makes."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.reproduce", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="hold dvc.lock against what comes out")
    parser.add_argument("--prepare", action="store_true", help="only bring the data, and prepare them")
    parser.add_argument("--base", help="revision whose dvc.lock is believed; by default where this work left main")
    arguments = parser.parse_args(argv)
    params = read_params()
    LOCK_CHECK.unlink(missing_ok=True)
    if arguments.prepare:
        prepare_rows()
        return 0
    if not arguments.check:
        share_pipeline()
        reproduce()
        return 0
    check = check_lock(choose_base(arguments.base) or "HEAD", params.reproduce.tolerance)
    LOCK_CHECK.write_text(json.dumps(asdict(check), indent=2) + "\n", encoding="utf-8")
    print(f"lock: {check.state}; ran: {', '.join(check.ran) or 'nothing'}")
    for reason in check.reasons:
        print(f"  - {reason}")
    if check.state == FRESH:
        return 0
    print(f"Mend it with: {write_mend(check.state, name_among_others())}")
    return 1


if __name__ == "__main__":
    run(main)
