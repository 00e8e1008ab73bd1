"""Pack the model as one zip file for AWS Lambda: the same bytes from the same inputs, on any machine."""

import argparse
import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lifecycle
from lifecycle.environment import LOCK as LIBRARIES
from lifecycle.errors import RefusedError, run
from lifecycle.github.runner import append_to
from lifecycle.params import read_params
from lifecycle.paths import BUNDLE, BUNDLE_FACTS, BUNDLE_MATERIALS, CHALLENGER, CHAMPION, ONNX
from lifecycle.repository import LOCK, find_hash, read_lock
from lifecycle.serving.archive import compile_modules, hash_tree, write_archive
from lifecycle.serving.contenders import choose_challenger, describe_challenge
from lifecycle.serving.manifest import describe_model, hash_bytes
from lifecycle.serving.packages import Package, drop_unused, install_packages
from lifecycle.serving.sbom import describe_materials
from lifecycle.serving.service import MANIFEST

HANDLER = "lifecycle.serve.handle"
# Of this package, what answers a request; a test starts the bundle with nothing else.
SHIPPED = (
    "__init__.py",
    "data/__init__.py",
    "data/contract.py",
    "errors.py",
    "paths.py",
    "predictor.py",
    "seam.py",
    "serve.py",
    "serving/__init__.py",
    "serving/challenge.py",
    "serving/journal.py",
    "serving/openapi.py",
    "serving/request.py",
    "serving/service.py",
)
NOT_SHIPPED = ("__pycache__", "__marimo__", "*.pyc", "notebook.py", "tests", ".*")


def build_bundle(destination: Path, challenger: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the bundle of the working folder's model, or of the champion with a challenger beside it.

    Parameters
    ----------
    destination : Path
        The zip file to write.
    challenger : str, optional
        A registered version, as v1.2.0.

    Returns
    -------
    tuple of dict and dict
        What it is (path, size, hash, manifest), and its bill of materials.

    Raises
    ------
    RefusedError
        If the model is not the one that dvc.lock names, or champion and challenger cannot share a bundle; if this is
        not the Python that it was made with, a library cannot be had, or the bundle is too large.
    """
    params = read_params()
    manifest = describe_challenge(params, challenger) if challenger else describe_model(params)
    models = [CHAMPION, CHALLENGER] if challenger else [ONNX]
    if not challenger:
        _check_model(manifest)
    _check_python(manifest)
    with TemporaryDirectory(prefix="bundle-") as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        packages = fill_folder(folder, manifest, models)
        unzipped = write_archive(folder, destination)
    content = destination.read_bytes()
    facts = {
        "path": str(destination),
        "size_bytes": len(content),
        "unzipped_bytes": unzipped,
        "sha256": hash_bytes(content),
        "handler": HANDLER,
        **{key: manifest[key] for key in ("name", "version", "commit", "changed", "python")},
        "model_sha256": manifest["model"]["sha256"],
        "challenger": f"{manifest['challenger']['version']} ({params.serve.mode})" if challenger else None,
    }
    return facts, describe_materials(manifest, packages)


def _check_model(manifest: dict[str, Any]) -> None:
    """Refuse a model that nobody reviewed."""
    locked, found = find_hash(read_lock(None), str(ONNX)), manifest["model"]["md5"]
    if found != locked:
        raise RefusedError(
            f"{ONNX} has the hash {found}; {LOCK} names {locked}. What ships is what the lock names: "
            "fetch it with dvc checkout, or make it with: make pipeline"
        )


def _check_python(manifest: dict[str, Any]) -> None:
    """Refuse a Python that compiles for another one."""
    running = ".".join(platform.python_version_tuple()[:2])
    if manifest["python"] != running:
        raise RefusedError(
            f"the model was made with Python {manifest['python']}, and serves with it; this is {running}. "
            f"Run: make install PYTHON=python{manifest['python']}"
        )


def fill_folder(folder: Path, manifest: dict[str, Any], models: Sequence[Path]) -> list[Package]:
    """Put into a folder what the bundle holds.

    Parameters
    ----------
    folder : Path
        An empty folder.
    manifest : dict
        Of the model; the bundle's has in addition ``files_sha256``, the hash of all other files.
    models : sequence of Path
        The one that answers, and a challenger.

    Returns
    -------
    list of Package
        The libraries in it.
    """
    packages = install_packages(LIBRARIES.read_text(encoding="utf-8"), manifest["python"], folder)
    drop_unused(folder)
    source = Path(lifecycle.__file__).parent
    for name in SHIPPED:
        (folder / "lifecycle" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / "lifecycle" / name)
    domain = manifest["domain"]
    shutil.copytree(Path("src") / domain, folder / domain, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    for path, packed in zip(models, (ONNX, CHALLENGER), strict=False):
        shutil.copyfile(path, folder / packed.name)
    compile_modules(folder)
    whole = {**manifest, "files_sha256": hash_tree(folder, MANIFEST)}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return packages


def main(argv: Sequence[str] | None = None) -> None:
    """Write the bundle, what it is and its bill of materials; print path, size and hash."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.bundle", description=main.__doc__)
    parser.add_argument("--challenger", metavar="VERSION", help="serves beside the champion, whatever deploy says")
    challenger = parser.parse_args(argv).challenger or choose_challenger(read_params())
    facts, materials = build_bundle(BUNDLE, challenger)
    for path, content in ((BUNDLE_FACTS, facts), (BUNDLE_MATERIALS, materials)):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    append_to("GITHUB_OUTPUT", f"sha256={facts['sha256']}\nchallenger={challenger or ''}\n")
    sizes = f"{facts['size_bytes'] / 1e6:.1f} MB ({facts['unzipped_bytes'] / 1e6:.1f} MB unzipped)"
    beside = f" with the challenger {facts['challenger']}" if facts["challenger"] else ""
    print(f"{facts['path']}  {facts['name']} {facts['version']}{beside}  {sizes}\nsha256 {facts['sha256']}")


if __name__ == "__main__":
    run(main)
