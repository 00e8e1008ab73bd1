"""Releases for a rehearsal: a bundle as another version, sound or with a fault planted in it."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

Edit = Callable[[str], str]
PREDICTOR = "lifecycle/predictor.py"
# What is asked of the model, and what comes of it, in the shipped code.
SLOW_SECONDS, SOUND_ANSWERS, WRONG_BY = 0.3, 5, 1
ASKED, GIVEN = "        predicted = self._session", "predicted.reshape(-1)"


def _plant(*replaced: tuple[str, str]) -> Edit:
    """Make an edit that replaces texts that must be there."""

    def edit(code: str) -> str:
        for old, new in replaced:
            if old not in code:
                raise ValueError(f"the shipped code holds no {old!r}")
            code = code.replace(old, new)
        return code

    return edit


# Each shows under traffic alone, so that the check before the canary finds nothing: callers send one row at a time,
# the check sends many and comes first.
FAULTS: Mapping[str, Mapping[str, Edit]] = {
    "slow": {
        PREDICTOR: _plant((ASKED, f"        if len(X) == 1: __import__('time').sleep({SLOW_SECONDS})\n{ASKED}"))
    },
    "wrong": {
        PREDICTOR: _plant(
            (ASKED, f"        self.asked = getattr(self, 'asked', 0) + 1\n{ASKED}"),
            (GIVEN, f"{GIVEN} + {WRONG_BY} * (self.asked > {SOUND_ANSWERS})"),
        )
    },
    "crashing": {PREDICTOR: _plant((ASKED, f"        if len(X) == 1: __import__('os')._exit(1)\n{ASKED}"))},
}
CORRUPTED = "corrupted"


def make_release(bundle: Path, folder: Path, version: str, fault: str = "") -> None:
    """Write a bundle as another version, with a fault planted in its code.

    Parameters
    ----------
    bundle : Path
        As `lifecycle.bundle` built it.
    folder : Path
        Where ``bundle.zip`` and ``bundle.json`` are written, as a deploy looks for them.
    version : str
        Of the model.
    fault : str
        One of `FAULTS`, `CORRUPTED` (a byte that changed on its way), or nothing.
    """
    edits, name = FAULTS.get(fault, {}), ""
    path = folder / "bundle.zip"
    with (
        zipfile.ZipFile(bundle) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "manifest.json":
                manifest = {**json.loads(content), "version": version}
                content, name = json.dumps(manifest).encode(), manifest["name"]
            elif entry.filename in edits:
                content = edits[entry.filename](content.decode()).encode()
            elif _is_compiled_from(entry.filename, edits):
                continue
            target.writestr(entry, content)
    facts = {"name": name, "version": version, "changed": False}
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if fault == CORRUPTED:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (folder / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")


def _is_compiled_from(name: str, sources: Mapping[str, Edit]) -> bool:
    """Tell whether a file is the compiled form of one of the sources."""
    plain = name.replace("__pycache__/", "").partition(".")[0]
    return name.endswith(".pyc") and f"{plain}.py" in sources
