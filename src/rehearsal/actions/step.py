"""What every stand-in needs: its inputs, its outputs, and the folder that outlives a job."""

import glob
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


def read_inputs() -> dict[str, str]:
    """Read the step's inputs, defaults included: act writes them as JSON, or for Node one variable each."""
    if "STAND_IN_INPUTS" in os.environ:
        return {name: str(value) for name, value in json.loads(os.environ["STAND_IN_INPUTS"]).items()}
    start = "INPUT_"
    return {name.removeprefix(start).lower(): value for name, value in os.environ.items() if name.startswith(start)}


def is_true(value: str) -> bool:
    """Read a boolean as the toolkit of GitHub's own actions does, which takes nothing else."""
    if value.lower() not in ("true", "false"):
        fail(f"{value!r} is no boolean; write true or false")
    return value.lower() == "true"


def append_line(variable: str, line: str) -> None:
    """Write to one of the runner's files, such as GITHUB_OUTPUT, GITHUB_ENV or GITHUB_PATH."""
    with Path(os.environ[variable]).open("a", encoding="utf-8") as target:
        target.write(f"{line}\n")


def set_output(name: str, value: object) -> None:
    """Set an output of the step."""
    append_line("GITHUB_OUTPUT", f"{name}={value}")


def fail(message: str) -> NoReturn:
    """Fail the step with a message."""
    print(f"::error::{message}")
    sys.exit(1)


def find_store(*parts: str) -> Path:
    """Find a folder of the store, which outlives jobs and runs, and make it where it is not there yet."""
    folder = Path(os.environ["STAND_IN_STORE"], *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_workspace() -> Path:
    """Find the job's folder."""
    return Path(os.environ["GITHUB_WORKSPACE"])


def list_patterns(text: str) -> list[str]:
    """List the patterns of a multi-line input; a home folder is filled in."""
    return [str(Path(line.strip()).expanduser()) for line in text.splitlines() if line.strip()]


def expand_pattern(pattern: str) -> Iterator[Path]:
    """Find what a pattern names, from the job's folder on; a pattern may match hidden files."""
    # Unlike Path.glob it takes patterns that start with / as well.
    for name in sorted(glob.glob(pattern, root_dir=find_workspace(), recursive=True, include_hidden=True)):  # noqa: PTH207
        yield find_workspace() / name
