"""The Terraform files are well formed, make sense, and pass their own tests, which call nobody."""

from pathlib import Path

import pytest
from tools import require_tool

from rehearsal.terraform import call_terraform, run_terraform
from tests.infra.terraform import ROOT, copy_infra, init

pytestmark = pytest.mark.acceptance

FOLDERS = ["", "bootstrap"]


@pytest.fixture(name="infra", scope="module")
def fixture_infra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, ready to be checked, without a backend."""
    copy = copy_infra(tmp_path_factory.mktemp("checked"))
    for folder in FOLDERS:
        init(copy / folder, "-backend=false")
    return copy


def test_files_are_formatted() -> None:
    require_tool("terraform")
    done = call_terraform(ROOT, "fmt", "-check", "-recursive", "-no-color", "infra")

    assert done.returncode == 0, f"run `terraform fmt -recursive infra`:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("folder", FOLDERS, ids=["root", "bootstrap"])
def test_configuration_is_valid(infra: Path, folder: str) -> None:
    assert "The configuration is valid." in run_terraform(infra / folder, "validate", "-no-color")


@pytest.mark.parametrize("folder", FOLDERS, ids=["root", "bootstrap"])
def test_mocked_tests_pass(infra: Path, folder: str) -> None:
    assert "Success!" in run_terraform(infra / folder, "test", "-no-color")
