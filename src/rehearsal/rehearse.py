"""Bring the cloud up on loopback, deploy to it under traffic, plant faults, and take it down; ``make rehearse``.

Prints a timeline. Exit code 1 when a request went unanswered, a bad release got through, or Terraform would change
what it had just made.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from lifecycle.delivery.answers import KnownAnswers, read_answers
from lifecycle.delivery.lease import hold_lease
from lifecycle.delivery.service import Service, open_service
from lifecycle.deploy import BUNDLE, FACTS, deploy
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.params import read_params
from rehearsal.cloud.server import ACCOUNT, REGION, serve_cloud
from rehearsal.releases import FAULTS, make_release

# A rehearsal has no patience; the shares and ratios are those of params.yaml, as far as few requests can show them.
HASTE = {"canary_weight": 0.2, "bake_seconds": 5.0, "poll_seconds": 0.5, "min_requests": 10, "max_latency_ratio": 8.0}
NAME = "lifecycle"
COMMON = {"account_id": ACCOUNT, "region": REGION, "name": NAME}
TRUST = {"owner": "Octo", "owner_id": "11", "repository": "model", "repository_id": "22"}
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
# The provider waits most of a minute for each of these.
NO_LIFECYCLE = 'resource "aws_s3_bucket_lifecycle_configuration" "{}" {{\n  {}\n}}\n'
UNPROTECTED = 'resource "aws_s3_bucket" "{}" {{\n  lifecycle {{\n    prevent_destroy = false\n  }}\n}}\n'


@dataclass
class Timeline:
    """What happened when; ``faults`` are what should not have."""

    start: float = field(default_factory=time.monotonic)
    faults: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self.start:6.1f} s  {text}", flush=True)

    def expect(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.faults.append(what)
            self.say(f"NOT AS EXPECTED: {what}")


@dataclass
class Traffic:
    """Requests that were answered, by version, and those that failed."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Say how many there were, and start to count anew."""
        total = sum(self.answered.values())
        shares = ", ".join(f"{version} {count / total:.0%}" for version, count in sorted(self.answered.items()))
        said = f"{total + len(self.failed)} requests, {len(self.failed)} failed; answered by {shares or 'nobody'}"
        self.answered.clear()
        return said


@contextmanager
def send_traffic(service: Service, answers: KnownAnswers) -> Iterator[Traffic]:
    """Ask the alias without a pause, as callers do."""
    traffic, stopped = Traffic(), threading.Event()
    body = json.dumps(answers.rows[0])
    event = {"version": "2.0", "rawPath": "/predict", "requestContext": {"http": {"method": "POST"}}, "body": body}
    client = boto3.client("lambda")

    def send() -> None:
        while not stopped.wait(0.01):
            answer = client.invoke(FunctionName=service.function, Qualifier=service.alias, Payload=json.dumps(event))
            payload = json.loads(answer["Payload"].read())
            if payload.get("statusCode") == 200:
                version = json.loads(payload["body"])["model_version"]
                traffic.answered[version] = traffic.answered.get(version, 0) + 1
            else:
                traffic.failed.append(str(payload)[:200])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield traffic
    finally:
        stopped.set()
        thread.join()


def call_terraform(folder: Path, *arguments: str) -> str:
    """Call Terraform in a folder; one line for its failure."""
    command = ["terraform", *arguments]
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MisuseError("terraform is not on the PATH; install Terraform 1.11 or newer.") from error
    if done.returncode:
        raise RefusedError(f"terraform {arguments[0]} failed: {' '.join(done.stderr.split())[-1500:]}")
    return done.stdout


def name_variables(**variables: str) -> list[str]:
    """Write variables as arguments."""
    return ["-input=false", "-no-color", *(f"-var={name}={value}" for name, value in variables.items())]


def raise_cloud(infra: Path, first: Path, python: str, timeline: Timeline) -> tuple[dict[str, Any], list[str]]:
    """Apply bootstrap and root; return the root's outputs and the arguments that it was applied with."""
    (infra / "bootstrap/here_override.tf").write_text(
        LOCAL_STATE + NO_TLS + NO_LIFECYCLE.format("state", "count = 0"), encoding="utf-8"
    )
    quick = NO_LIFECYCLE.format("kept", "for_each = {}") + NO_LIFECYCLE.format("logs", "count = 0")
    (infra / "here_override.tf").write_text(LOCAL_STATE + NO_TLS + quick, encoding="utf-8")
    call_terraform(infra / "bootstrap", "init", "-input=false")
    call_terraform(infra / "bootstrap", "apply", "-auto-approve", *name_variables(**COMMON, **TRUST))
    timeline.say("bootstrap applied: state bucket, trust in GitHub, a role per level of trust")
    given = ["-var-file=staging.tfvars", *name_variables(**COMMON, python_version=python, bundle_file=str(first))]
    call_terraform(infra, "init", "-input=false")
    call_terraform(infra, "apply", "-auto-approve", *given)
    timeline.say("staging applied: buckets, function, alias, alarms, dashboard")
    outputs = json.loads(call_terraform(infra, "output", "-json"))
    return {name: output["value"] for name, output in outputs.items()}, given


def rehearse(folder: Path, timeline: Timeline) -> None:
    """Play the life of a service."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    params = read_params().deploy.model_copy(update=HASTE)
    infra = Path(
        shutil.copytree("infra", folder / "infra", ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    )
    releases = folder / "releases"
    releases.mkdir()
    name, answers = facts["name"], read_answers(BUNDLE)
    first = make_release(BUNDLE, releases, name, "v1.0.0")
    outputs, given = raise_cloud(infra, first.path, facts["python"], timeline)
    service = open_service(outputs)
    with send_traffic(service, answers) as traffic:
        for version, fault in (
            ("v1.1.0", ""),
            *((f"v1.2.{place}", fault) for place, fault in enumerate((*FAULTS, "corrupted"))),
        ):
            release = make_release(BUNDLE, releases, name, version, fault)
            begun = time.monotonic()
            timeline.say(f"{version} merges{f', {fault}' if fault else ''}")
            try:
                with hold_lease(service.bucket, "the rehearsal", params.lease_seconds):
                    deploy(service, release, answers, params)
                said = "promoted"
            except RefusedError as error:
                said = f"refused: {error}"
            timeline.say(f"{version} {said} ({time.monotonic() - begun:.1f} s)")
            timeline.say(f"  {traffic.describe()}")
            timeline.expect((said == "promoted") == (not fault), f"{version}, {fault or 'sound'}, was {said}")
        timeline.expect(not traffic.failed, f"{len(traffic.failed)} requests failed: {traffic.failed[:3]}")
        timeline.say(f"rolled back to version {service.roll_back()}")
        time.sleep(1)
        timeline.say(f"  {traffic.describe()}")
    planned = call_terraform(infra, "plan", "-lock=false", *given)
    timeline.expect("No changes." in planned, "a second plan changes something")
    timeline.say("second plan: no changes")
    (infra / "end_override.tf").write_text(UNPROTECTED.format("data"), encoding="utf-8")
    empty_buckets(outputs)
    call_terraform(infra, "destroy", "-auto-approve", "-refresh=false", *given)
    timeline.say("staging destroyed")


def empty_buckets(outputs: dict[str, Any]) -> None:
    """Delete every version of every object in the buckets of an environment."""
    for bucket in (outputs["bundles_bucket"], outputs["logs_bucket"], outputs["data_bucket"]):
        boto3.resource("s3").Bucket(bucket).object_versions.delete()


def main(_argv: Sequence[str] | None = None) -> None:
    """Rehearse, with the bundle that lies in out/."""
    if not BUNDLE.exists():
        raise MisuseError(f"{BUNDLE} is missing; build it with: make bundle")
    logging.getLogger().setLevel(logging.WARNING)
    timeline = Timeline()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        with serve_cloud(Path(folder) / "cloud", minute_seconds=2, seed=0) as cloud:
            os.environ.update(cloud.environment)
            timeline.say("AWS runs on loopback")
            rehearse(Path(folder), timeline)
    if timeline.faults:
        raise RefusedError("; ".join(timeline.faults))
    timeline.say("all as expected")


if __name__ == "__main__":
    run(main)
