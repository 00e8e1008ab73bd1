"""Terraform for one environment: plan it, apply exactly what was approved, and say what is there.

A plan file can hold secrets, so it is never handed on: what is approved is the digest of its changes. Whoever applies
plans anew, and goes on only if the digest is the same.
"""

import argparse
import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.delivery.service import describe_release
from lifecycle.deploy import read_release
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.runner import append_to
from lifecycle.params import read_params
from lifecycle.paths import BUNDLE, ENVIRONMENT, OUT
from lifecycle.views.markdown import format_table, quote_code
from lifecycle.views.terminal import align_columns

FOLDER = Path("infra")
PLAN, OUTPUTS = OUT / "environment.tfplan", OUT / "outputs.json"
# What the function is born with where no bundle was built: a plan on a pull request reads none.
NO_BUNDLE = "none.zip"
VERBS = {("create",): "create", ("update",): "change", ("delete",): "destroy"}
COMMANDS = {
    "plan": "say what would change",
    "apply": f"apply the plan that was made last, and write {OUTPUTS}",
    "outputs": f"write {OUTPUTS} of what is there",
}


@dataclass(frozen=True)
class Change:
    """What Terraform would do to a resource: ``create``, ``change``, ``destroy`` or ``replace``."""

    address: str
    verb: str


def read_changes(plan: dict[str, Any]) -> tuple[list[Change], str]:
    """Read the changes of a plan, without any value, and their digest.

    Parameters
    ----------
    plan : dict
        As ``terraform show -json`` writes it.

    Returns
    -------
    tuple of list of Change and str
        What is lost comes first; the SHA-256 of all that changes, values included.
    """
    changing = [
        {"address": one["address"], "change": one["change"]}
        for one in plan.get("resource_changes", [])
        if one["change"]["actions"] not in (["no-op"], ["read"])
    ]
    changes = [Change(one["address"], VERBS.get(tuple(one["change"]["actions"]), "replace")) for one in changing]
    content = json.dumps(changing, sort_keys=True).encode()
    ranked = sorted(changes, key=lambda change: (change.verb not in ("destroy", "replace"), change.address))
    return ranked, hashlib.sha256(content).hexdigest()


def describe_changes(environment: str, changes: Sequence[Change]) -> str:
    """Say how many changes there are of each kind."""
    counted = Counter(change.verb for change in changes)
    return f"{environment}: {', '.join(f'{count} to {verb}' for verb, count in counted.items()) or 'no changes'}"


def write_summary(said: str, changes: Sequence[Change], digest: str) -> str:
    """Write a plan in Markdown, without any value."""
    rows = [(change.verb, quote_code(change.address)) for change in changes]
    table = [format_table("ll", ("change", "resource"), rows)] if rows else []
    return "\n\n".join([f"### {said}", *table, f"Digest of the changes: `{digest}`", ""])


def plan_environment(environment: str, expected: str | None) -> None:
    """Plan an environment into a file of this machine, print what would change, and hold it against a digest.

    Raises
    ------
    MisuseError
        If Terraform, its keys or the environment are missing.
    RefusedError
        If Terraform fails, or the digest is another one than the expected one.
    """
    place = start(environment)
    # Nothing is written, so nothing is locked; a plan that others have overtaken is refused when it is applied.
    given = [f"-var-file={environment}.tfvars", *name_variables(place)]
    call_terraform("plan", "-input=false", "-no-color", "-lock=false", f"-out={PLAN.absolute()}", *given)
    changes, digest = read_changes(json.loads(call_terraform("show", "-json", str(PLAN.absolute()))))
    said = describe_changes(environment, changes)
    print(
        "\n".join([said, *align_columns([(change.verb, change.address) for change in changes]), f"digest {digest}"])
    )
    append_to("GITHUB_STEP_SUMMARY", write_summary(said, changes, digest))
    append_to("GITHUB_OUTPUT", f"digest={digest}\n")
    if expected is not None and digest != expected:
        PLAN.unlink()
        raise RefusedError(
            f"the plan has the digest {digest}; approved was {expected}. Something changed since: start anew."
        )


def apply_environment(environment: str) -> None:
    """Apply the plan that was made last.

    Raises
    ------
    MisuseError
        If there is none.
    RefusedError
        If Terraform fails: because the plan was overtaken, or somebody else applies, whom it names.
    """
    if not PLAN.exists():
        raise MisuseError(f"{PLAN} is missing; make it with: python -m lifecycle.infra plan {environment}")
    start(environment)
    call_terraform("apply", "-input=false", "-no-color", str(PLAN.absolute()))
    PLAN.unlink()
    write_outputs()


def write_outputs() -> None:
    """Write what the deploy must know of an environment."""
    OUTPUTS.write_text(call_terraform("output", "-json"), encoding="utf-8")
    print(OUTPUTS)


def start(environment: str) -> dict[str, str]:
    """Bring Terraform to an environment's state; return the variables that say where that is."""
    if not (FOLDER / f"{environment}.tfvars").exists():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.tfvars")))
        raise MisuseError(f"there is no environment {environment!r}; expected one of {known}.")
    account, region = find_account()
    place = {"account_id": account, "region": region, "name": read_params().infra.name}
    backend = {
        "bucket": f"{place['name']}-state-{account}",
        "region": region,
        "key": f"{environment}/terraform.tfstate",
    }
    call_terraform(
        "init", "-reconfigure", "-input=false", *(f"-backend-config={key}={value}" for key, value in backend.items())
    )
    return place


def name_variables(place: Mapping[str, str]) -> list[str]:
    """Write the variables that no environment's file holds."""
    # From Terraform's own folder on, so that the plan is the same wherever the repository lies.
    born = {"bundle_key": NO_BUNDLE}
    if BUNDLE.exists():
        release = read_release()
        described = describe_release(release.name, release.sha256)
        born = {"bundle_file": os.path.relpath(BUNDLE, FOLDER.resolve()), "release": described}
    # Set where the alarm is to start retraining; the token lies in the connection.
    connection = os.environ.get("RETRAIN_CONNECTION")
    repository = os.environ.get("GITHUB_REPOSITORY", "")
    variables = {
        **place,
        "python_version": json.loads(ENVIRONMENT.read_text(encoding="utf-8"))["python"],
        **born,
        **({"retrain_connection_arn": connection, "retrain_repository": repository} if connection else {}),
    }
    return [f"-var={name}={value}" for name, value in variables.items()]


def find_account() -> tuple[str, str]:
    """Find the account's number and the region that the keys of this machine are for."""
    region = boto3.session.Session().region_name
    if not region:
        raise MisuseError("no region is set; set AWS_DEFAULT_REGION.")
    try:
        return boto3.client("sts").get_caller_identity()["Account"], region
    except (BotoCoreError, ClientError) as error:
        raise MisuseError(f"AWS does not know who this is: {error}. Log in, or set a role's keys.") from error


def call_terraform(*arguments: str) -> str:
    """Call Terraform; what it complains about, in one line, is the error."""
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    command = ["terraform", f"-chdir={FOLDER}", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MisuseError("terraform is not on the PATH; install Terraform 1.11 or newer.") from error
    if done.returncode:
        said = " ".join(done.stderr.replace("╷", "").replace("│", "").replace("╵", "").split())
        raise RefusedError(f"terraform {arguments[0]} failed: {said[:2000]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> None:
    """Plan or apply an environment, or say what is there."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.infra", description=main.__doc__)
    choices = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands = {command: choices.add_parser(command, help=text) for command, text in COMMANDS.items()}
    for command in commands.values():
        command.add_argument("environment", help="as staging: its file lies in infra")
    commands["plan"].add_argument("--expect", help="digest that was approved; another plan is refused")
    given = parser.parse_args(argv)
    if given.command == "plan":
        plan_environment(given.environment, given.expect)
    elif given.command == "apply":
        apply_environment(given.environment)
    else:
        start(given.environment)
        write_outputs()


if __name__ == "__main__":
    run(main)
