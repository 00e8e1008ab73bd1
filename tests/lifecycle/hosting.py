"""A GitHub on loopback for the commands of a job."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools import require_tool

from rehearsal.github import Repository, serve_github


@contextmanager
def use_github(patch: pytest.MonkeyPatch, folder: Path, **variables: str) -> Iterator[Repository]:
    """Serve a GitHub to this process, with the environment of a job and these variables in it."""
    require_tool("gh")
    repository = Repository()
    with serve_github(repository, folder) as environment:
        for name, value in {**environment, **variables}.items():
            patch.setenv(name, value)
        yield repository
