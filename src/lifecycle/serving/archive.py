"""Write a folder as a zip file that has the same bytes wherever and whenever it is written."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from lifecycle.errors import RefusedError
from lifecycle.serving.manifest import hash_bytes

# AWS Lambda takes 50 MB of a zip file, and 250 MB of what is in it.
MAX_ZIPPED_BYTES, MAX_UNZIPPED_BYTES = 50_000_000, 250_000_000
# Where Lambda unpacks the bundle; it stands in tracebacks in the place of the folder that it was packed in.
TASK_ROOT = "/var/task"
# The earliest time that a zip file can name.
EPOCH = (1980, 1, 1, 0, 0, 0)
MODE = 0o644
UNIX = 3
COMPRESSION_LEVEL = 6


def compile_modules(folder: Path) -> None:
    """Compile all modules in a folder, for a reader that cannot write and trusts what it finds.

    Raises
    ------
    RefusedError
        If one cannot be compiled.
    """
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", TASK_ROOT]
    # One process, and one order of sets: both may change the bytes.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "compileall", *options, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RefusedError(f"the bundle's modules cannot be compiled: {' '.join(done.stdout.split())}")


def hash_files(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of each file in a folder, by its path inside, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): hash_bytes(path.read_bytes()) for path in paths}
    return dict(sorted(hashes.items()))


def hash_tree(folder: Path, without: str) -> str:
    """Compute one SHA-256 of all files in a folder but one, as of the output of sha256sum over their sorted paths."""
    lines = [f"{sha256}  {path}\n" for path, sha256 in hash_files(folder).items() if path != without]
    return hash_bytes("".join(lines).encode())


def write_archive(folder: Path, destination: Path) -> int:
    """Write a folder as a zip file.

    Parameters
    ----------
    folder : Path
    destination : Path
        A former file is replaced when the new one is whole and small enough.

    Returns
    -------
    int
        Size of the unpacked files, in bytes.

    Raises
    ------
    RefusedError
        If it is larger than Lambda allows, packed or unpacked; names what is largest.
    """
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sizes = {path: (folder / path).stat().st_size for path in paths}
    unzipped = sum(sizes.values())
    _check_size("unzipped", unzipped, MAX_UNZIPPED_BYTES, sizes)
    arriving = destination.with_suffix(".part")
    with zipfile.ZipFile(arriving, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as file:
        for path in paths:
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system, entry.external_attr = UNIX, MODE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, (folder / path).read_bytes(), compresslevel=COMPRESSION_LEVEL)
        packed = {entry.filename: entry.compress_size for entry in file.infolist()}
    try:
        _check_size("zipped", arriving.stat().st_size, MAX_ZIPPED_BYTES, packed)
        arriving.replace(destination)
    finally:
        arriving.unlink(missing_ok=True)
    return unzipped


def _check_size(state: str, size: int, allowed: int, sizes: dict[str, int]) -> None:
    """Refuse a bundle that is too large."""
    if size > allowed:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        named = ", ".join(f"{path} ({sizes[path] / 1e6:.1f} MB)" for path in largest)
        raise RefusedError(
            f"the bundle has {size / 1e6:.1f} MB {state}; AWS Lambda allows {allowed / 1e6:.0f}. Largest: {named}."
        )
