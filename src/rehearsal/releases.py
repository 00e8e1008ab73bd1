"""Releases for a rehearsal: a bundle as another version, sound or with a fault planted in it."""

import hashlib
import json
import py_compile
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

Edit = Callable[[str], str]
PREDICTOR = "lifecycle/predictor.py"
# What is asked of the model, and what comes of it, in the shipped code.
SLOW_SECONDS, SOUND_ANSWERS, WRONG_BY = 0.3, 5, 1
ASKED, GIVEN = "        predicted = self._session", "        return predicted"


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
            (GIVEN, f"        predicted = predicted + {WRONG_BY} * (self.asked > {SOUND_ANSWERS})\n{GIVEN}"),
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
    path = Path(shutil.copyfile(bundle, folder / "bundle.zip"))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        # An entry takes the place of the one before it that has its name.
        warnings.simplefilter("ignore")
        manifest = {**json.loads(archive.read("manifest.json")), "version": version}
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, edit in FAULTS.get(fault, {}).items():
            code = edit(archive.read(name).decode())
            archive.writestr(name, code)
            for compiled in _list_compiled(archive.namelist(), name):
                archive.writestr(compiled, _compile(code))
    facts = {"name": manifest["name"], "version": version, "changed": False}
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if fault == CORRUPTED:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (folder / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")


def _list_compiled(names: list[str], source: str) -> set[str]:
    """List the compiled forms of a module among the names of files."""
    return {
        name for name in names if name.replace("__pycache__/", "").startswith(f"{source.removesuffix('.py')}.cpython")
    }


def _compile(code: str) -> bytes:
    """Compile a module as a bundle holds it, which nobody compares with its source."""
    with TemporaryDirectory() as folder:
        source, compiled = Path(folder) / "module.py", Path(folder) / "module.pyc"
        source.write_text(code, encoding="utf-8")
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(compiled), doraise=True, invalidation_mode=mode)
        return compiled.read_bytes()
