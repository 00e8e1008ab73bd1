"""What a fork's own task makes of the rehearsal, which its first merge starts where there is no cloud account."""

import shutil
from pathlib import Path

import pytest
from conftest import commit_all, copy_repository, run_python
from tools import require_tool

from tests.test_fork import swap_domain


@pytest.mark.drill
def test_fork_rehearses_its_deploys(tmp_path: Path) -> None:
    require_tool("terraform")
    folder = copy_repository(tmp_path / "fork")
    shutil.rmtree(folder / ".dvc/sample-store")
    swap_domain(folder)
    for command in ("dvc repro", "dvc push"):
        run_python(folder, *command.split(), "--quiet")
    commit_all(folder, "Train the first model")
    run_python(folder, "lifecycle.bundle")

    said = run_python(folder, "rehearsal.rehearse").stdout

    assert "all as expected" in said
