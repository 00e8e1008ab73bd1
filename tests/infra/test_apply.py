"""The life of both folders on the emulator: bootstrap, root, a second plan, a deploy, the end.

The tests stand in the order of that life, and the last one ends it.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from rehearsal.policy import list_actions
from rehearsal.rehearse import NO_TLS
from tests.infra.terraform import (
    ACCOUNT,
    BOOTSTRAP,
    COMMON,
    LOCAL_STATE,
    NAME,
    REGION,
    call_terraform,
    copy_infra,
    init,
    name_variables,
    run_terraform,
)

pytestmark = pytest.mark.cloud

STATE_BUCKET = f"{NAME}-state-{ACCOUNT}"
PREFIX = f"{NAME}-staging"
BACKEND = [f"-backend-config=bucket={STATE_BUCKET}", f"-backend-config=region={REGION}"]
USUAL = ["-input=false", "-no-color"]

# For each one the provider polls for nearly a minute, and the root has three of them.
NO_LIFECYCLE = 'resource "aws_s3_bucket_lifecycle_configuration" "state" {\n  count = 0\n}\n'
# What somebody writes who means it.
UNPROTECTED = 'resource "aws_s3_bucket" "{}" {{\n  lifecycle {{\n    prevent_destroy = false\n  }}\n}}\n'

SERVICES = {"CloudWatch Logs": "logs"}
# Where the permission has another name than the operation; S3 has most of them.
PERMISSIONS = {
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:GetBucketCors": "s3:GetBucketCORS",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
# The state, which is read by Terraform itself.
STATE_ACTIONS = {"s3:GetObject"}


@dataclass(frozen=True)
class World:
    """The emulator, both folders, and what the provider asked of AWS."""

    infra: Path
    environment: dict[str, str]
    root_variables: list[str]

    def client(self, service: str) -> Any:
        """Open a client of the emulator."""
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": REGION}
        return boto3.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"], **keys)

    def bootstrap(self, command: str, *arguments: str) -> str:
        """Run a command in the bootstrap."""
        return run_terraform(
            self.infra / "bootstrap", command, *arguments, *USUAL, *name_variables(BOOTSTRAP), **self.environment
        )

    def root(self, command: str, *arguments: str, log: str = "") -> str:
        """Run a command in the root; with a log, record what is asked of AWS."""
        recorded = {"TF_LOG_PROVIDER": "DEBUG", "TF_LOG_PATH": str(self.infra / log)} if log else {}
        asked = (command, *arguments, *USUAL, *self.root_variables)
        return run_terraform(self.infra, *asked, **self.environment, **recorded)

    def list_asked(self, log: str) -> set[str]:
        """List the permissions that the recorded requests need."""
        asked = set()
        for line in (self.infra / log).read_text(encoding="utf-8").splitlines():
            method = re.search(r"\brpc\.method=(\w+)", line)
            service = re.search(r'\brpc\.service=(?:"([^"]+)"|(\S+))', line)
            if method and service:
                name = service[1] or service[2]
                operation = f"{SERVICES.get(name, name.lower())}:{method[1]}"
                asked.add(PERMISSIONS.get(operation, operation))
        # Everybody may ask who they are.
        return asked - {"sts:GetCallerIdentity"}

    def list_allowed(self, role: str) -> set[str]:
        """List the actions of a role's inline policies."""
        iam = self.client("iam")
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        return {action for document in documents for action in list_actions(document)}


@pytest.fixture(name="started", scope="module")
def fixture_started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, "Future[str]"]]:
    """The bootstrap, applied as infra/README.md says, and the root's apply on its way: it waits most of the time."""
    infra = copy_infra(tmp_path_factory.mktemp("applied"))
    (infra / "first.zip").write_bytes(zip_code("first"))
    (infra / "tls_override.tf").write_text(NO_TLS, encoding="utf-8")
    (infra / "bootstrap/tls_override.tf").write_text(NO_TLS + NO_LIFECYCLE, encoding="utf-8")
    given = name_variables({**COMMON, "python_version": "3.11", "bundle_file": "first.zip"})
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": REGION}
        environment = {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        world = World(infra, environment, ["-var-file=staging.tfvars", *given])
        apply_bootstrap(world)
        init(infra, *BACKEND, "-backend-config=key=staging/terraform.tfstate", **environment)
        with ThreadPoolExecutor(1) as pool:
            yield world, pool.submit(world.root, "apply", "-auto-approve", log="apply.log")
    finally:
        server.stop()


@pytest.fixture(name="world", scope="module")
def fixture_world(started: tuple[World, "Future[str]"]) -> World:
    """Bootstrap and root, applied."""
    world, applied = started
    assert "Apply complete!" in applied.result()
    return world


def apply_bootstrap(world: World) -> None:
    """Apply the bootstrap with its state on this machine, then move the state into the bucket that it made."""
    folder = world.infra / "bootstrap"
    local = folder / "local_override.tf"
    local.write_text(LOCAL_STATE, encoding="utf-8")
    init(folder, **world.environment)
    world.bootstrap("apply", "-auto-approve")
    local.unlink()
    init(folder, "-migrate-state", "-force-copy", *BACKEND, **world.environment)


def zip_code(text: str) -> bytes:
    """Zip a function's code."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr("serve.py", text)
    return content.getvalue()


def test_second_plan_of_the_bootstrap_finds_nothing_to_do(started: tuple[World, "Future[str]"]) -> None:
    world, _ = started

    assert "No changes." in world.bootstrap("plan", "-detailed-exitcode")


def test_second_plan_of_the_root_finds_nothing_to_do(world: World) -> None:
    assert "No changes." in world.root("plan", "-detailed-exitcode", "-lock=false", log="plan.log")


def test_plan_role_may_do_what_a_plan_asks_and_no_more(world: World) -> None:
    asked = world.list_asked("plan.log")

    assert len(asked) > 30
    assert world.list_allowed(f"{NAME}-plan") == asked | STATE_ACTIONS


def test_deploy_role_may_do_what_an_apply_asks(world: World) -> None:
    asked = world.list_asked("apply.log")

    assert "lambda:CreateFunction" in asked
    assert asked - world.list_allowed(f"{NAME}-deploy-staging") == set()


def test_both_states_lie_in_the_bucket_and_no_lock_is_left(world: World) -> None:
    listed = world.client("s3").list_objects_v2(Bucket=STATE_BUCKET)["Contents"]

    assert {each["Key"] for each in listed} == {"bootstrap/terraform.tfstate", "staging/terraform.tfstate"}


def test_second_run_waits_for_the_lock_of_the_first(world: World) -> None:
    key = "staging/terraform.tfstate.tflock"
    lock = {"ID": "1", "Operation": "OperationTypeApply", "Who": "another run", "Created": "2026-01-01T00:00:00Z"}
    world.client("s3").put_object(Bucket=STATE_BUCKET, Key=key, Body=json.dumps(lock))

    done = call_terraform(world.infra, "plan", *USUAL, *world.root_variables, **world.environment)
    world.client("s3").delete_object(Bucket=STATE_BUCKET, Key=key)

    assert done.returncode == 1
    assert "Error acquiring the state lock" in done.stderr


def test_outputs_name_what_a_deploy_needs(world: World) -> None:
    found = run_terraform(world.infra, "output", "-json", **world.environment)
    outputs = {name: output["value"] for name, output in json.loads(found).items()}

    assert outputs["function_name"] == PREFIX
    assert outputs["alias_name"] == "live"
    assert outputs["alarm_names"] == [f"{PREFIX}-errors", f"{PREFIX}-latency", f"{PREFIX}-live-error"]
    assert outputs["url"].startswith("https://")
    alarms = world.client("cloudwatch").describe_alarms(AlarmNames=outputs["alarm_names"])["MetricAlarms"]
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {outputs["alarm_topic_arn"]}
    buckets = {each["Name"] for each in world.client("s3").list_buckets()["Buckets"]}
    assert {outputs["data_bucket"], outputs["bundles_bucket"], outputs["logs_bucket"]} == buckets - {STATE_BUCKET}


def test_plan_leaves_a_deploys_code_version_and_weights_alone(world: World) -> None:
    function = world.client("lambda")
    function.update_function_code(FunctionName=PREFIX, ZipFile=zip_code("second"))
    version = function.publish_version(FunctionName=PREFIX)["Version"]
    weights = {"AdditionalVersionWeights": {"1": 0.1}}
    function.update_alias(FunctionName=PREFIX, Name="live", FunctionVersion=version, RoutingConfig=weights)
    (world.infra / "first.zip").write_bytes(zip_code("third"))

    assert version == "2"
    assert "No changes." in world.root("plan", "-detailed-exitcode")


def test_data_are_not_destroyed_by_accident(world: World) -> None:
    asked = ("destroy", "-auto-approve", "-refresh=false", *USUAL, *world.root_variables)
    done = call_terraform(world.infra, *asked, **world.environment)

    assert done.returncode == 1
    assert "Resource aws_s3_bucket.data has lifecycle.prevent_destroy set" in done.stderr
    assert world.client("s3").head_bucket(Bucket=f"{PREFIX}-data-{ACCOUNT}")


def test_everything_goes_when_somebody_lifts_the_protection(world: World) -> None:
    (world.infra / "end_override.tf").write_text(UNPROTECTED.format("data"), encoding="utf-8")
    world.root("destroy", "-auto-approve", "-refresh=false")
    bootstrap = world.infra / "bootstrap"
    (bootstrap / "end_override.tf").write_text(LOCAL_STATE + UNPROTECTED.format("state"), encoding="utf-8")
    init(bootstrap, "-migrate-state", "-force-copy", **world.environment)
    empty_bucket(world, STATE_BUCKET)
    world.bootstrap("destroy", "-auto-approve", "-refresh=false")

    assert not world.client("s3").list_buckets()["Buckets"]
    assert not world.client("lambda").list_functions()["Functions"]
    assert not world.client("iam").list_roles()["Roles"]


def empty_bucket(world: World, bucket: str) -> None:
    """Delete all versions of all objects."""
    s3 = world.client("s3")
    listed = s3.list_object_versions(Bucket=bucket)
    for each in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
