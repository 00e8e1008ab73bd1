"""Terraform on copies of infra, away from this machine's keys; nothing is left in the repository."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from tools import require_tool

ROOT = Path(__file__).parents[2]
# The emulator's account.
ACCOUNT = "123456789012"
REGION = "eu-central-1"
NAME = "lifecycle"
COMMON = {"account_id": ACCOUNT, "region": REGION, "name": NAME}
BOOTSTRAP = {**COMMON, "owner": "Octo", "owner_id": "11", "repository": "model", "repository_id": "22"}

LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
# Enough for a plan that calls nobody.
OFFLINE = """
provider "aws" {
  access_key                  = "none"
  allowed_account_ids         = null
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""
# Settings and keys of whoever runs the tests.
HIDDEN = ("AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_LOG", "TF_DATA_DIR", "TF_WORKSPACE")


def copy_infra(folder: Path) -> Path:
    """Copy infra as it is now, without what a user's own runs left there."""
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "*_override.tf", "*.tfplan")
    return Path(shutil.copytree(ROOT / "infra", folder / "infra", ignore=ignored))


def hide_keys(**added: str) -> dict[str, str]:
    """Give the environment without the keys and settings of this machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    return {
        **environment,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        # A copy has no lock file.
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
        **added,
    }


def call_terraform(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call Terraform in a folder and wait for it, whatever comes out."""
    command = [require_tool("terraform"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=hide_keys(**environment), capture_output=True, text=True, check=False
    )


def run_terraform(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Terraform in a folder; an error of its own is the test's."""
    done = call_terraform(folder, *arguments, **environment)
    if done.returncode:
        shown = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise AssertionError(f"terraform {' '.join(arguments)} ended with {done.returncode}:\n{shown}")
    return done.stdout


def init(folder: Path, *arguments: str, **environment: str) -> None:
    """Initialise a folder; a laptop that cannot reach the provider skips the test."""
    # A cache of providers may be shared, and Terraform does not guard it.
    with FileLock(Path(tempfile.gettempdir()) / "terraform-init.lock"):
        done = call_terraform(folder, "init", "-input=false", "-no-color", *arguments, **environment)
    if done.returncode and "Failed to query available provider packages" in done.stderr and not os.environ.get("CI"):
        pytest.skip("terraform cannot reach its registry, so it has no AWS provider")
    assert done.returncode == 0, done.stdout + done.stderr


def name_variables(variables: dict[str, str]) -> list[str]:
    """Write variables as arguments."""
    return [f"-var={name}={value}" for name, value in variables.items()]


def plan_offline(folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    """Plan a folder from nothing without calling anybody, and read the plan."""
    (folder / "offline_override.tf").write_text(LOCAL_STATE + OFFLINE, encoding="utf-8")
    init(folder)
    run_terraform(folder, "plan", "-input=false", "-no-color", "-out=offline.tfplan", *name_variables(variables))
    return json.loads(run_terraform(folder, "show", "-json", "offline.tfplan"))


def read_planned(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read what a plan makes, by address."""
    return {each["address"]: each["values"] for each in plan["planned_values"]["root_module"]["resources"]}


def read_documents(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the policy documents of a plan, by address and attribute."""
    return {
        f"{address} {name}": json.loads(values[name])
        for address, values in read_planned(plan).items()
        for name in ("assume_role_policy", "policy")
        if values.get(name)
    }
