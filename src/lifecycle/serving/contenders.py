"""Champion and challenger for one bundle: fetched from the registry, and held to what they share."""

import json
from pathlib import Path
from typing import Any

from lifecycle.comparison.record import describe_decision, find_last
from lifecycle.comparison.sequential import PROMOTE
from lifecycle.errors import RefusedError
from lifecycle.params import Params
from lifecycle.paths import CHALLENGER, CHAMPION, DATA, ENVIRONMENT, METRICS, ONNX
from lifecycle.predictor import load_predictor
from lifecycle.registry import Version, find_promoted, list_versions, require_version
from lifecycle.repository import LOCK, find_hash, is_unchanged_since, read_at, read_lock, require_revision
from lifecycle.serving.manifest import LIBRARIES, describe_file, hash_bytes, is_changed
from lifecycle.store import fetch_at


def choose_challenger(params: Params) -> str | None:
    """Choose the version that first serves beside the champion: this commit's own, where the policy says so.

    Returns
    -------
    str or None
        None where the working folder's model takes over by a canary: because ``deploy.challenge`` is off, there is no
        champion, the model is the champion's, the code of the task is another one, or the decision is for it.

    Raises
    ------
    RefusedError
        If the decision is against it.
    """
    if not params.deploy.challenge:
        return None
    name, head = params.registry.name, require_revision("HEAD")
    versions = list_versions(name)
    champion = find_promoted(versions)
    own = next((version for version in versions if version.commit == head), None)
    if champion is None or own is None or _find_model(champion) == _find_model(own):
        return None
    if decided := find_last(name, own.commit, champion.name):
        if decided["decision"] == PROMOTE:
            return None
        raise RefusedError(
            f"{own.name} is not to replace the champion ({describe_decision(decided)}). "
            "Revert the merge that brought it, or merge a better model."
        )
    if not is_unchanged_since(champion.commit, f"src/{params.domain}"):
        print(f"{own.name} and the champion {champion.name} have other code of the task: a canary compares them.")
        return None
    return own.name


def _find_model(version: Version) -> str | None:
    """Find the hash of a version's model."""
    return find_hash(read_lock(version.commit), str(ONNX))


def describe_challenge(params: Params, challenger: str) -> dict[str, Any]:
    """Fetch the version in production and its challenger, and describe both.

    Parameters
    ----------
    params : Params
    challenger : str
        A registered version, as v1.2.0.

    Returns
    -------
    dict
        The champion's manifest, with ``code`` (the commit of the code that is packed), ``challenger`` and ``serve``.
        The models lie in out/champion.onnx and out/challenger.onnx.

    Raises
    ------
    MisuseError
        If there is no such version.
    RefusedError
        If none is in production, the challenger is retired or the champion itself, or the two cannot share the code
        of the working folder.
    """
    name = params.registry.name
    versions = _find_champion(name), require_version(name, challenger)
    if versions[1].retired:
        raise RefusedError(f"{name}@{challenger} is retired; name another version.")
    _check_code(versions, params)
    described = [
        _describe_version(params, version, fetch_at(version.commit, str(ONNX), path))
        for version, path in zip(versions, (CHAMPION, CHALLENGER), strict=True)
    ]
    if described[0]["model"]["md5"] == described[1]["model"]["md5"]:
        raise RefusedError(f"{name}@{challenger} is the champion's model itself; name another version.")
    _check_inputs(versions)
    own = ("version", "commit", "model", "data", "metrics")
    return {
        **described[0],
        "code": require_revision("HEAD"),
        "challenger": {key: described[1][key] for key in own},
        "serve": params.serve.model_dump(),
    }


def _find_champion(name: str) -> Version:
    """Find the version in production."""
    if version := find_promoted(list_versions(name)):
        return version
    raise RefusedError(
        "no version is in production, so there is nobody to challenge. "
        "Run: python -m lifecycle.registry promote VERSION"
    )


def _check_code(versions: tuple[Version, Version], params: Params) -> None:
    """Refuse a version that was made with other code of the task than the one that is packed for both."""
    folder = f"src/{params.domain}"
    for version in versions:
        if not is_unchanged_since(version.commit, folder):
            raise RefusedError(
                f"{folder} is not what it was when {version.name} was made, and a bundle holds it once, for both. "
                "Check out a commit that has the same; models of different features are compared by a canary."
            )


def _check_inputs(versions: tuple[Version, Version]) -> None:
    """Refuse a challenger that takes other features, or answers with other classes."""
    champion, challenger = load_predictor(CHAMPION), load_predictor(CHALLENGER)
    for what in ("features", "classes"):
        mine, other = getattr(champion, what), getattr(challenger, what)
        if mine != other:
            raise RefusedError(f"{versions[1].name} has the {what} {other}; {versions[0].name} has {mine}.")


def _describe_version(params: Params, version: Version, path: Path) -> dict[str, Any]:
    """Describe a version as `lifecycle.serving.manifest.describe_model` does the working folder's model."""
    changed = is_changed()
    return {
        "name": params.registry.name,
        # What is packed beside the model may be changed, and the model is not.
        "version": f"{version.name}+changed" if changed else version.name,
        "commit": version.commit,
        "changed": changed,
        "domain": params.domain,
        "python": json.loads(read_at(version.commit, str(ENVIRONMENT)) or b"{}").get("python"),
        "model": describe_file(path),
        "data": {"md5": find_hash(read_lock(version.commit), str(DATA))},
        "locks": {
            LOCK: hash_bytes(read_at(version.commit, LOCK) or b""),
            str(LIBRARIES): hash_bytes(LIBRARIES.read_bytes()),
        },
        "metrics": json.loads(read_at(version.commit, str(METRICS)) or b"null"),
        "verdict": None,
    }
