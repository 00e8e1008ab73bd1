"""Call other programs. Needs the standard library alone."""

import shlex
import subprocess
from pathlib import Path

from lifecycle.errors import RefusedError


def run_tool(folder: Path, *command: str) -> str:
    """Run a command in a folder, and return what it prints.

    Raises
    ------
    RefusedError
        If it fails, with the command's end and what it says, in one line.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(f"{done.stderr} {done.stdout}".split())
        raise RefusedError(f"{shlex.join(command[-3:])} failed: {said}")
    return done.stdout
