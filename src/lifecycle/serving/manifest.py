"""The manifest: which model this is, and where it came from; holds neither the time nor the machine."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifecycle.environment import LOCK as LIBRARIES
from lifecycle.errors import RefusedError, run
from lifecycle.params import Params, read_params
from lifecycle.paths import DATA, ENVIRONMENT, METRICS, ONNX, VERDICT
from lifecycle.registry import list_versions
from lifecycle.repository import LOCK, find_hash, hash_content, read_git, read_lock, require_revision

# What a request's answer depends on, beside the model's own bytes.
SHAPING = ("src", "params.yaml", str(LIBRARIES), LOCK, ":(top)src/lifecycle", f":(top){LIBRARIES}")


def describe_model(params: Params) -> dict[str, Any]:
    """Describe the model of the working folder.

    Parameters
    ----------
    params : Params

    Returns
    -------
    dict
        Serialisable as JSON; what is not known is None. ``version`` is the registered version of the commit, or
        else the commit; where the folder is not what the commit holds, ``+changed`` follows the commit.

    Raises
    ------
    RefusedError
        If there is no model, or no environment that says which Python it was made with.
    """
    commit, lock, model = require_revision("HEAD"), read_lock(None), describe_file(ONNX)
    changed = is_changed() or model["md5"] != find_hash(lock, str(ONNX))
    name = params.registry.name
    registered = [one.name for one in list_versions(name) if one.commit == commit and not one.retired]
    return {
        "name": name,
        "version": f"{commit[:7]}+changed" if changed else registered[0] if registered else commit[:7],
        "commit": commit,
        "changed": changed,
        "domain": params.domain,
        "python": json.loads(_read(ENVIRONMENT))["python"],
        "model": model,
        "data": {"md5": find_hash(lock, str(DATA))},
        "locks": {path: hash_bytes(_read(Path(path))) for path in (LOCK, str(LIBRARIES))},
        "metrics": _read_json(METRICS),
        "verdict": _read_verdict(),
    }


def describe_file(path: Path) -> dict[str, Any]:
    """Describe a model's file by its hashes and its size."""
    content = _read(path)
    return {"md5": hash_content(content), "sha256": hash_bytes(content), "size_bytes": len(content)}


def is_changed() -> bool:
    """Tell whether the working folder holds other code, parameters or libraries than its commit."""
    return bool(read_git("--no-optional-locks", "status", "--porcelain", "--", *SHAPING).strip())


def hash_bytes(content: bytes) -> str:
    """Compute the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    """Read a file that must be there."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}; make it with: make pipeline") from error


def _read_json(path: Path) -> Any:
    """Read a file of JSON; None if there is none."""
    try:
        return json.loads(path.read_bytes()) if path.is_file() else None
    except ValueError as error:
        raise RefusedError(f"{path} is no JSON: {error}; make it anew with: make pipeline") from error


def _read_verdict() -> dict[str, Any] | None:
    """Read what the gate said last, without its figures, which may hold this machine's speed."""
    verdict = _read_json(VERDICT)
    return {key: verdict.get(key) for key in ("outcome", "champion", "reasons")} if verdict else None


def main(_argv: Sequence[str] | None = None) -> None:
    """Print the manifest of the working folder's model."""
    print(json.dumps(describe_model(read_params()), indent=2))


if __name__ == "__main__":
    run(main)
