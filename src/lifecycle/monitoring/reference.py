"""What a version was like when it was made: the figures that its commit holds."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.data.profile import Profile
from lifecycle.errors import RefusedError
from lifecycle.paths import METRICS, PROFILE
from lifecycle.registry import list_versions
from lifecycle.repository import read_at, resolve_revision

COMMIT = re.compile(r"[0-9a-f]{7,40}")
# Names in a profile that are no feature's.
OTHERS = ("target", "prediction")


@dataclass(frozen=True)
class Reference:
    """A version's tested metrics (name -> value), and the profiles of its training rows and test predictions."""

    metrics: dict[str, float]
    profile: dict[str, Profile]


def read_references(name: str) -> dict[str, Reference]:
    """Read the references of the registered versions, and of the commit that is checked out.

    Parameters
    ----------
    name : str
        The model's name in the registry.

    Returns
    -------
    dict of str to Reference
        By what serving calls the version.
    """
    commits = {version.name: version.commit for version in list_versions(name)}
    head = resolve_revision("HEAD")
    commits |= {head[:7]: head} if head else {}
    found = {version: read_reference(commit) for version, commit in commits.items()}
    return {version: reference for version, reference in found.items() if reference}


def find_reference(version: str, references: Mapping[str, Reference]) -> Reference | None:
    """Find the reference of a version that a log names: a registered one's, or that of a commit."""
    if version in references or not COMMIT.fullmatch(version):
        return references.get(version)
    commit = resolve_revision(version)
    return read_reference(commit) if commit else None


def read_reference(commit: str) -> Reference | None:
    """Read the reference that a commit holds; None if it has no model.

    Raises
    ------
    RefusedError
        If one of its files is not what ``evaluate`` writes.
    """
    metrics, profile = (_read_json(commit, path.as_posix()) for path in (METRICS, PROFILE))
    if metrics is None or profile is None:
        return None
    return Reference({name: row["value"] for name, row in metrics.items()}, profile)


def _read_json(commit: str, path: str) -> Any:
    """Read a file of JSON at a commit; None if there is none."""
    content = read_at(commit, path)
    try:
        return None if content is None else json.loads(content)
    except ValueError as error:
        raise RefusedError(f"{path} at {commit[:7]} is no JSON: {error}. Run there: make pipeline") from error


def list_features(references: Mapping[str, Reference]) -> list[str]:
    """List the features that any of the versions takes."""
    names = (name for reference in references.values() for name in reference.profile)
    return [name for name in dict.fromkeys(names) if name not in OTHERS]
