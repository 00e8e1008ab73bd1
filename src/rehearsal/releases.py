"""Releases for a rehearsal: the bundle of this repository, sound or with a fault planted in it."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lifecycle.deploy import Release

Edit = Callable[[str], str]
PREDICTOR, SERVE = "lifecycle/predictor.py", "lifecycle/serve.py"
# What is asked of the model, and what comes of it, in the shipped code.
ASKED, GIVEN = "        predicted = self._session", "predicted.reshape(-1)"


def _plant(old: str, new: str) -> Edit:
    """Make an edit that replaces a text that must be there."""

    def edit(code: str) -> str:
        if old not in code:
            raise ValueError(f"the shipped code holds no {old!r}")
        return code.replace(old, new)

    return edit


FAULTS: Mapping[str, Mapping[str, Edit]] = {
    "slow": {PREDICTOR: _plant(ASKED, f"        __import__('time').sleep(0.5)\n{ASKED}")},
    "wrong": {PREDICTOR: _plant(GIVEN, f"{GIVEN} + 1")},
    "crashing": {SERVE: _plant("def handle(", "raise ValueError('it does not start')\n\n\ndef handle(")},
}


def make_release(bundle: Path, folder: Path, name: str, version: str, fault: str = "") -> Release:
    """Write a bundle as another version, with a fault planted in its code.

    Parameters
    ----------
    bundle : Path
        As `lifecycle.bundle` built it.
    folder : Path
    name, version : str
        Of the model.
    fault : str
        One of `FAULTS`, ``corrupted`` (bytes that changed on their way), or nothing.

    Returns
    -------
    Release
    """
    edits = FAULTS.get(fault, {})
    path = folder / f"{version}.zip"
    with (
        zipfile.ZipFile(bundle) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "manifest.json":
                content = json.dumps({**json.loads(content), "version": version}).encode()
            elif entry.filename in edits:
                content = edits[entry.filename](content.decode()).encode()
            elif _is_compiled_from(entry.filename, edits):
                continue
            target.writestr(entry, content)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if fault == "corrupted":
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    return Release(path, sha256 if fault != "corrupted" else hashlib.sha256(b"").hexdigest(), f"{name}@{version}")


def _is_compiled_from(name: str, sources: Mapping[str, Edit]) -> bool:
    """Tell whether a file is the compiled form of one of the sources."""
    plain = name.replace("__pycache__/", "").partition(".")[0]
    return name.endswith(".pyc") and f"{plain}.py" in sources
