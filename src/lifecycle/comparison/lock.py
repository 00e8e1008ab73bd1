"""Whether a commit's dvc.lock is true; pure.

A lock is a claim: these inputs make those bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.comparison.changes import compare_stages
from lifecycle.paths import METRICS
from lifecycle.repository import LOCK, find_hash, hash_content

FRESH, STALE, DIFFERENT, UNAVAILABLE = "fresh", "stale", "different", "unavailable"
# What makes dvc.lock true again.
MEND = {
    STALE: "make pipeline{option} && .venv/bin/dvc push && git add -A && git commit -m 'Reproduce the pipeline'",
    DIFFERENT: "{dvc} repro --force && .venv/bin/dvc push && git add -A && git commit -m 'Reproduce anew'",
    UNAVAILABLE: ".venv/bin/dvc push",
}


@dataclass(frozen=True)
class LockCheck:
    """Whether dvc.lock says what this commit makes; ``ran`` are the stages that ran to find out."""

    state: str
    reasons: tuple[str, ...]
    ran: tuple[str, ...]


def write_mend(state: str, model: str | None) -> str | None:
    """Write the commands that make dvc.lock true again, at the repository's top; None where it is true.

    Parameters
    ----------
    state : str
        That of a `LockCheck`.
    model : str or None
        Its name where the repository has several.
    """
    option = f" MODEL={model}" if model else ""
    dvc = f".venv/bin/python -m lifecycle.models run {model} dvc" if model else ".venv/bin/dvc"
    return MEND[state].format(option=option, dvc=dvc) if state in MEND else None


def judge_lock(
    claimed: Mapping[str, Any],
    made: Mapping[str, Any],
    kept: Mapping[str, bytes | None],
    metrics: tuple[Mapping[str, Any], Mapping[str, Any]],
    tolerance: float,
) -> tuple[str, tuple[str, ...]]:
    """Hold what a lock claims against what a run made.

    Parameters
    ----------
    claimed, made : Mapping
        The lock's content before and after the run.
    kept : Mapping
        The outputs' committed bytes by path; None of those that Git does not keep.
    metrics : tuple of Mapping
        The committed ones, and those of the run.
    tolerance : float
        How far a metric may lie from the committed one, as a share of it, where another machine makes other bytes.

    Returns
    -------
    tuple of str and tuple of str
        The state, and the reasons for it.
    """
    if reasons := list_stale(claimed, made):
        return STALE, reasons
    if unlike := list_unlike(claimed, kept):
        return DIFFERENT, unlike
    other = list_other_bytes(claimed, made)
    if far := list_far_metrics(*metrics, tolerance) if other else ():
        return DIFFERENT, (*other, *far)
    same = f"This machine makes other bytes, with the same metrics within {tolerance:g}: {', '.join(other)}."
    return FRESH, (same,) if other else ()


def list_stale(claimed: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """List what dvc.lock says of other inputs than this commit has."""
    reasons = []
    for row in compare_stages(dict(claimed), dict(made)) if claimed.get("stages") else ():
        if row["cause"] not in ("other results of the same inputs", "earlier stage"):
            what = f" ({', '.join(row['what'])})" if row["what"] else ""
            reasons.append(f"stage {row['stage']}: {row['cause']}{what}")
    return tuple(reasons) if claimed.get("stages") else (f"{LOCK} names no stage",)


def list_outputs(lock: Mapping[str, Any]) -> list[str]:
    """List what a lock's stages make."""
    return [entry["path"] for stage in (lock.get("stages") or {}).values() for entry in stage.get("outs") or []]


def list_other_bytes(claimed: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """List the outputs that came out with other bytes than dvc.lock says."""
    return tuple(path for path in list_outputs(made) if find_hash(claimed, path) != find_hash(made, path))


def list_unlike(claimed: Mapping[str, Any], kept: Mapping[str, bytes | None]) -> tuple[str, ...]:
    """List the outputs kept in Git whose committed bytes are not the ones that dvc.lock names."""
    return tuple(
        f"{path} in Git is not what {LOCK} names"
        for path, content in kept.items()
        if content is not None and hash_content(content) != find_hash(claimed, path)
    )


def list_far_metrics(committed: Mapping[str, Any], found: Mapping[str, Any], tolerance: float) -> tuple[str, ...]:
    """List the metrics that lie further from the committed ones than a share of them."""
    reasons = []
    for name, figures in found.items():
        said, value = (committed.get(name) or {}).get("value"), figures["value"]
        if said is None or abs(value - said) > tolerance * abs(said):
            reasons.append(f"{name} is {value}, and {METRICS} says {said}")
    return tuple(reasons)
