"""The few tests that the rehearsal lets check.yml run."""

import shlex
import sys
from pathlib import Path

import pytest
from conftest import run_command

from rehearsal.ci import FEW_TESTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["not acceptance and not drill", "acceptance", "drill"])
def test_each_command_of_check_yml_finds_one(kind: str) -> None:
    few = shlex.split(FEW_TESTS["PYTEST_ADDOPTS"])

    # pytest takes it for a fault when there is none.
    run_command(ROOT, sys.executable, "-m", "pytest", "--collect-only", "-m", kind, *few)
