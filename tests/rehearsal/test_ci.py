"""What the rehearsal of the workflows takes for granted."""

import shlex
import sys
from pathlib import Path

import pytest
from conftest import run_command

from lifecycle.errors import MisuseError
from rehearsal.ci import FEW_TESTS, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["not acceptance and not drill", "acceptance", "drill"])
def test_each_command_of_check_yml_finds_one_of_the_few(kind: str) -> None:
    few = shlex.split(FEW_TESTS["PYTEST_ADDOPTS"])

    # pytest takes it for a fault when there is none.
    run_command(ROOT, sys.executable, "-m", "pytest", "--collect-only", "-m", kind, *few)


@pytest.mark.usefixtures("readings_folder")
def test_model_of_other_hyperparameters_is_told_before_anything_runs() -> None:
    with pytest.raises(MisuseError, match=r"^params\.yaml has no train\.max_iter, which these pull requests change"):
        main([])
