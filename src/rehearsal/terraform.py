"""Terraform on copies of infra, away from this machine's keys; nothing is left in the repository."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from lifecycle.errors import MisuseError, RefusedError
from rehearsal.cloud.server import ACCOUNT, REGION

NAME = "lifecycle"
COMMON = {"account_id": ACCOUNT, "region": REGION, "name": NAME}
BOOTSTRAP = {**COMMON, "owner": "Octo", "owner_id": "11", "repository": "model", "repository_id": "22"}
STATE_BUCKET = f"{NAME}-state-{ACCOUNT}"
BACKEND = (f"-backend-config=bucket={STATE_BUCKET}", f"-backend-config=region={REGION}")
USUAL = ("-input=false", "-no-color")

LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
# The emulator knows no conditions, so that the refusal of plain HTTP would be one of everything; and has no TLS.
NO_TLS = """data "aws_iam_policy_document" "tls" {
  statement {
    effect    = "Deny"
    actions   = ["s3:PutBucketWebsite"]
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}
"""
# The provider waits for most of a minute for each of these.
NO_LIFECYCLE = 'resource "aws_s3_bucket_lifecycle_configuration" "{}" {{\n  {}\n}}\n'
QUICK_BOOTSTRAP = NO_TLS + NO_LIFECYCLE.format("state", "count = 0")
QUICK_ROOT = NO_TLS + NO_LIFECYCLE.format("kept", "for_each = {}") + NO_LIFECYCLE.format("logs", "count = 0")
# What somebody writes who means it.
UNPROTECTED = 'resource "aws_s3_bucket" "{}" {{\n  lifecycle {{\n    prevent_destroy = false\n  }}\n}}\n'
# Settings and keys of whoever runs this.
HIDDEN = ("AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_LOG", "TF_DATA_DIR", "TF_WORKSPACE")


def copy_infra(source: Path, folder: Path) -> Path:
    """Copy infra as it is now, without what a user's own runs left there."""
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "*_override.tf", "*.tfplan")
    return Path(shutil.copytree(source, folder / "infra", ignore=ignored))


def hide_keys(added: Mapping[str, str]) -> dict[str, str]:
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
    """Call Terraform in a folder and wait for it, whatever comes out.

    Raises
    ------
    MisuseError
        If it is not installed.
    """
    command = ["terraform", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, env=hide_keys(environment), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise MisuseError("terraform is not on the PATH; install Terraform 1.11 or newer.") from error


def run_terraform(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Terraform in a folder, and give what it printed.

    Raises
    ------
    RefusedError
        If it ends with an error, in its words.
    """
    done = call_terraform(folder, *arguments, **environment)
    if done.returncode:
        said = " ".join(f"{done.stdout[-1500:]} {done.stderr[-3000:]}".split())
        raise RefusedError(f"terraform {' '.join(arguments[:1])} ended with {done.returncode}: {said}")
    return done.stdout


def init(folder: Path, *arguments: str, **environment: str) -> None:
    """Initialise a folder."""
    # A cache of providers may be shared, and Terraform does not guard it.
    with FileLock(Path(tempfile.gettempdir()) / "terraform-init.lock"):
        run_terraform(folder, "init", *USUAL, *arguments, **environment)


def name_variables(variables: Mapping[str, str]) -> list[str]:
    """Write variables as arguments."""
    return [f"-var={name}={value}" for name, value in variables.items()]


def empty_bucket(store: Any, bucket: str) -> None:
    """Delete all versions of all objects, by a client of S3."""
    # Each answer lists a thousand at most.
    while True:
        listed = store.list_object_versions(Bucket=bucket)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        if not found:
            return
        named = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        for start in range(0, len(named), 1000):
            store.delete_objects(Bucket=bucket, Delete={"Objects": named[start : start + 1000]})
