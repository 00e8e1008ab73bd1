"""Plans that call nobody, and the documents in them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tools import require_tool

from lifecycle.errors import RefusedError
from rehearsal import terraform
from rehearsal.terraform import LOCAL_STATE, name_variables, run_terraform

ROOT = Path(__file__).parents[2]
# What the alarm starts retraining in, and what a person gives for that.
REPOSITORY, TOKEN = "Octo/model", "a-token-that-opens-nothing"
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


def connect(client: Any, environment: str) -> dict[str, str]:
    """Connect EventBridge with GitHub, as a person does, and give the variables that say so."""
    made = client.create_connection(
        Name=f"{terraform.NAME}-{environment}-retraining",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": f"Bearer {TOKEN}"}},
    )
    return {"retrain_connection_arn": made["ConnectionArn"], "retrain_repository": REPOSITORY}


def copy_infra(folder: Path) -> Path:
    """Copy the repository's infra; a laptop without Terraform skips the test."""
    require_tool("terraform")
    return terraform.copy_infra(ROOT / "infra", folder)


def init(folder: Path, *arguments: str, **environment: str) -> None:
    """Initialise a folder; a laptop that cannot reach the provider skips the test."""
    try:
        terraform.init(folder, *arguments, **environment)
    except RefusedError as error:
        if "Failed to query available provider packages" in str(error) and not os.environ.get("CI"):
            pytest.skip("terraform cannot reach its registry, so it has no AWS provider")
        raise


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
