"""The libraries of the bundle, from the lock and for the platform that serves, without what serving never loads."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from lifecycle.errors import RefusedError

# Of what ONNX Runtime asks for, a session needs NumPy alone; a test starts the bundle with no other library.
PACKAGES = ("numpy", "onnxruntime")
PLATFORM = "x86_64-manylinux_2_28"
# Never loaded by a session: tests, headers, tools of the build and of conversion, a library for programs in C.
UNUSED = (
    "bin",
    "**/tests",
    "**/*.pyi",
    "**/*.pxd",
    "**/*.h",
    "**/*.a",
    "numpy/_core/_*tests*.so",
    "numpy/_core/_simd*.so",
    "numpy/f2py",
    "numpy/distutils",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/capi/libonnxruntime.so*",
    # What the installer notes differs from machine to machine, or is not true of a part.
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/entry_points.txt",
    "*.dist-info/uv_*",
    ".lock",
)


@dataclass(frozen=True)
class Package:
    """A library in the bundle; ``hashes`` (SHA-256) are those that the lock allows for its files."""

    name: str
    version: str
    license: str | None
    hashes: tuple[str, ...]


def filter_lock(lock: str) -> str:
    """Keep the lock's entries of the libraries that serving needs.

    Parameters
    ----------
    lock : str
        In pip's format, with hashes.

    Returns
    -------
    str

    Raises
    ------
    RefusedError
        If the lock does not name one of them.
    """
    entries = [entry for entry in _split_lock(lock) if _name_entry(entry) in PACKAGES]
    for package in PACKAGES:
        if package not in {_name_entry(entry) for entry in entries}:
            raise RefusedError(f"requirements.lock names no {package}, which serving needs. Run: make lock")
    return "".join(f"{entry}\n" for entry in entries)


def _split_lock(lock: str) -> Iterator[str]:
    """Split a lock into its entries, comments left out."""
    lines = [line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    yield from re.split(r"\n(?=\S)", "\n".join(lines))


def _name_entry(entry: str) -> str:
    """Give the library's name of an entry."""
    return entry.partition("==")[0].strip()


def install_packages(lock: str, python: str, folder: Path) -> list[Package]:
    """Install the libraries that serving needs.

    Parameters
    ----------
    lock : str
        Text of requirements.lock.
    python : str
        Version of the Python that serves, such as 3.12.
    folder : Path
        An empty folder.

    Returns
    -------
    list of Package
        Sorted by name.

    Raises
    ------
    RefusedError
        If the lock does not name them, or they cannot be had.
    """
    entries = filter_lock(lock)
    wanted = folder.with_suffix(".lock")
    wanted.write_text(entries, encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"]
    target = ["--target", str(folder), "--python-platform", PLATFORM, "--python-version", python]
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    done = subprocess.run(
        [*command, *options, *target, "--requirement", str(wanted)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise RefusedError(f"the bundle's libraries cannot be installed: {said}. Run make install, and try again.")
    return sorted((_describe(one, entries) for one in distributions(path=[str(folder)])), key=lambda one: one.name)


def _describe(distribution: Distribution, entries: str) -> Package:
    """Describe an installed library."""
    name, version = distribution.metadata["Name"].lower(), distribution.version
    locked = next(entry for entry in _split_lock(entries) if re.match(rf"{name}=={re.escape(version)}[\s;\\]", entry))
    hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", locked))
    return Package(name, version, distribution.metadata.get("License-Expression"), hashes)


def drop_unused(folder: Path) -> None:
    """Delete what serving never loads."""
    for pattern in UNUSED:
        for path in sorted(folder.glob(pattern), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
