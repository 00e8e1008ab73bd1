"""Reproduce what changed; with a base, also hold dvc.lock against what comes out.

A lock is a claim: these inputs make those bytes. To test it, the run starts from the base's lock, so that every stage
which the change touches runs anew, whatever the change's own lock says of it. Writes out/lock.json.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifecycle import pull
from lifecycle.comparison.changes import compare_stages
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.params import read_params
from lifecycle.paths import LOCK_CHECK, METRICS, OUT, TEST
from lifecycle.repository import (
    LOCK,
    find_entry,
    hash_content,
    list_absent,
    read_at,
    read_git,
    read_lock,
    read_yaml_at,
    require_revision,
)

FRESH, STALE, DIFFERENT, UNAVAILABLE = "fresh", "stale", "different", "unavailable"
RUNNING = "Running stage '"
NO_STAGES = b"stages: {}\n"
# What makes dvc.lock true again; the report shows the same.
MEND = {
    STALE: "make pipeline && .venv/bin/dvc push && git add -A && git commit -m 'Reproduce the pipeline'",
    DIFFERENT: ".venv/bin/dvc repro --force && .venv/bin/dvc push && git add -A && git commit -m 'Reproduce anew'",
    UNAVAILABLE: ".venv/bin/dvc push",
}


@dataclass(frozen=True)
class LockCheck:
    """Whether dvc.lock says what this commit makes; ``ran`` are the stages that ran to find out."""

    state: str
    reasons: tuple[str, ...]
    ran: tuple[str, ...]


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
    pull.main()
    # Prepared rows are never pushed, so a fresh clone makes them before it can skip what follows.
    ran = () if TEST.exists() else _run_dvc("repro", "prepare")
    return (*ran, *_run_dvc("repro", "--pull"))


def _run_dvc(*arguments: str) -> tuple[str, ...]:
    """Run DVC, with this Python for its stages; show what it prints, and return the stages that it ran."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dvc", *arguments]
    ran = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(RUNNING):
                ran.append(line.removeprefix(RUNNING).partition("'")[0])
    if process.returncode:
        raise RefusedError(f"dvc {' '.join(arguments)} failed; what DVC and the stage said stands above.")
    return tuple(ran)


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
    if read_git("status", "--porcelain", "--untracked-files=no", "--", "."):
        raise MisuseError("there are uncommitted changes, and only a commit has a lock to check; commit them first.")
    metrics = read_yaml_at("HEAD", METRICS.as_posix())
    Path(LOCK).write_bytes(read_at(base, LOCK) or NO_STAGES)
    try:
        ran = reproduce()
    except BaseException:
        Path(LOCK).write_bytes(read_at("HEAD", LOCK) or NO_STAGES)
        raise
    claimed, made = read_lock("HEAD"), read_lock(None)
    if reasons := list_stale(claimed, made):
        return LockCheck(STALE, reasons, ran)
    if forged := list_unlike_lock(claimed):
        return LockCheck(DIFFERENT, forged, ran)
    found = json.loads(METRICS.read_text(encoding="utf-8"))
    notes: tuple[str, ...] = ()
    if other := list_other_bytes(claimed, made):
        if far := list_far_metrics(metrics, found, tolerance):
            return LockCheck(DIFFERENT, (*other, *far), ran)
        notes = (f"This machine makes other bytes, with the same metrics within {tolerance:g}: {', '.join(other)}.",)
    # What ships is what the lock names, so that is what the gate must see.
    read_git("checkout", "HEAD", "--", LOCK, OUT.as_posix())
    if absent := list_absent(claimed):
        return LockCheck(UNAVAILABLE, tuple(f"{path} is not in the remote." for path in absent), ran)
    if other:
        _run_dvc("pull", "--force", "--allow-missing")
    return LockCheck(FRESH, notes, ran)


def list_stale(claimed: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """List what dvc.lock says of other inputs than this commit has."""
    reasons = []
    for row in compare_stages(dict(claimed), dict(made)) if claimed.get("stages") else ():
        if row["cause"] not in ("other results of the same inputs", "earlier stage"):
            what = f" ({', '.join(row['what'])})" if row["what"] else ""
            reasons.append(f"stage {row['stage']}: {row['cause']}{what}")
    return tuple(reasons) if claimed.get("stages") else (f"{LOCK} names no stage",)


def list_other_bytes(claimed: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """List the outputs that came out with other bytes than dvc.lock says."""
    outs = [entry for stage in made["stages"].values() for entry in stage.get("outs", [])]
    return tuple(
        entry["path"] for entry in outs if entry["md5"] != (find_entry(claimed, entry["path"]) or {}).get("md5")
    )


def list_unlike_lock(claimed: Mapping[str, Any]) -> tuple[str, ...]:
    """List the outputs kept in Git whose committed bytes are not the ones that dvc.lock names."""
    outs = [entry for stage in claimed["stages"].values() for entry in stage.get("outs", [])]
    committed = ((entry, read_at("HEAD", entry["path"])) for entry in outs)
    return tuple(
        f"{entry['path']} in Git is not what {LOCK} names"
        for entry, content in committed
        if content is not None and hash_content(content) != entry["md5"]
    )


def list_far_metrics(committed: Mapping[str, Any], found: Mapping[str, Any], tolerance: float) -> tuple[str, ...]:
    """List the metrics that lie further from the committed ones than a share of them."""
    reasons = []
    for name, figures in found.items():
        said, value = (committed.get(name) or {}).get("value"), figures["value"]
        if said is None or abs(value - said) > tolerance * abs(said):
            reasons.append(f"{name} is {value}, and {METRICS} says {said}")
    return tuple(reasons)


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce what changed; with --base, exit 1 unless dvc.lock says what this commit makes."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.reproduce", description=main.__doc__)
    parser.add_argument("--base", help="revision whose dvc.lock is believed; without it, this one's own")
    arguments = parser.parse_args(argv)
    params = read_params()
    LOCK_CHECK.unlink(missing_ok=True)
    if arguments.base is None:
        reproduce()
        return 0
    check = check_lock(require_revision(arguments.base), params.reproduce.tolerance)
    LOCK_CHECK.write_text(json.dumps(asdict(check), indent=2) + "\n", encoding="utf-8")
    print(f"lock: {check.state}; ran: {', '.join(check.ran) or 'nothing'}")
    for reason in check.reasons:
        print(f"  - {reason}")
    if check.state == FRESH:
        return 0
    print(f"Mend it with: {MEND[check.state]}")
    return 1


if __name__ == "__main__":
    run(main)
