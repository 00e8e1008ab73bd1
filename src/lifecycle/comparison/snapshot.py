"""What one state of the repository says of its model: at a revision, or in the working folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lifecycle.errors import RefusedError
from lifecycle.paths import CROSS_VALIDATION, DATA, ENVIRONMENT, METRICS, PLOTS, PROFILE, ROWS
from lifecycle.repository import LOCK, find_hash, hash_content, read_at, read_lock, read_yaml_at

PARAMS = "params.yaml"
Kind = TypeVar("Kind", dict[str, Any], list[Any])


# A field for each file that a state consists of.
@dataclass(frozen=True)
class Snapshot:  # pylint: disable=too-many-instance-attributes
    """What one state of the repository says of its model, as the stages wrote it; empty where it says nothing."""

    params: dict[str, Any] = field(default_factory=dict)
    lock: dict[str, Any] = field(default_factory=dict)
    lock_hash: str | None = None
    data_hash: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    cross_validation: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    slices: list[Any] = field(default_factory=list)
    importance: list[Any] = field(default_factory=list)
    profile: dict[str, Any] = field(default_factory=dict)


def read_snapshot(revision: str | None) -> Snapshot:
    """Read what a revision says of its model, or what the working folder does for None.

    Raises
    ------
    MisuseError
        If there is no such revision.
    RefusedError
        If a file there cannot be read.
    """
    lock, text = read_lock(revision), _read_file(revision, Path(LOCK))
    tracked = read_yaml_at(revision, f"{DATA}.dvc").get("outs") or [{}]
    return Snapshot(
        params=read_yaml_at(revision, PARAMS),
        lock=lock,
        lock_hash=None if text is None else hash_content(text),
        # What the stages read comes first: data.dvc may be newer than the model beside it.
        data_hash=find_hash(lock, str(DATA)) or tracked[0].get("md5"),
        environment=read_json(revision, ENVIRONMENT, {}),
        rows=read_json(revision, ROWS, {}),
        cross_validation=read_json(revision, CROSS_VALIDATION, []),
        metrics=read_json(revision, METRICS, {}),
        slices=read_json(revision, PLOTS / "slices.json", []),
        importance=read_json(revision, PLOTS / "importance.json", []),
        profile=read_json(revision, PROFILE, {}),
    )


def _read_file(revision: str | None, path: Path) -> bytes | None:
    """Read a file at a revision, or that of the working folder; None where there is none."""
    if revision is not None:
        return read_at(revision, path.as_posix())
    return path.read_bytes() if path.is_file() else None


def read_json(revision: str | None, path: Path, nothing: Kind) -> Kind:
    """Read a JSON file at a revision, or that of the working folder for None; ``nothing`` where there is none.

    Raises
    ------
    RefusedError
        If it is no JSON, as a file with an unresolved conflict.
    """
    content = _read_file(revision, path)
    try:
        return nothing if content is None else json.loads(content)
    except ValueError as error:
        where = revision or "the working folder"
        raise RefusedError(f"{path} at {where} is no JSON: {error}. Resolve it, or run: make pipeline") from error
