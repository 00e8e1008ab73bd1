"""The files that GitHub's runner reads after a step; elsewhere there are none, and nothing is written."""

import os
from pathlib import Path


def append_to(variable: str, text: str) -> None:
    """Append to the file that a variable of the runner names, as GITHUB_OUTPUT or GITHUB_STEP_SUMMARY."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
