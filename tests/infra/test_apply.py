"""The life of both folders on the emulator: bootstrap, root, a second plan, a deploy, the end.

The tests stand in the order of that life, and the last one ends it.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from rehearsal.cloud.server import ACCOUNT, REGION
from rehearsal.terraform import (
    BACKEND,
    BOOTSTRAP,
    COMMON,
    LOCAL_STATE,
    NAME,
    NO_TLS,
    QUICK_BOOTSTRAP,
    STATE_BUCKET,
    UNPROTECTED,
    USUAL,
    call_terraform,
    empty_bucket,
    name_variables,
    run_terraform,
)
from tests.infra.terraform import REPOSITORY, TOKEN, connect, copy_infra, init

pytestmark = pytest.mark.acceptance

PREFIX = f"{NAME}-staging"


@dataclass(frozen=True)
class World:
    """The emulator, and both folders."""

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

    def root(self, command: str, *arguments: str) -> str:
        """Run a command in the root."""
        return run_terraform(self.infra, command, *arguments, *USUAL, *self.root_variables, **self.environment)


@pytest.fixture(name="world", scope="module")
def fixture_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Bootstrap and root, applied as infra/README.md says."""
    infra = copy_infra(tmp_path_factory.mktemp("applied"))
    (infra / "first.zip").write_bytes(zip_code("first"))
    (infra / "quick_override.tf").write_text(NO_TLS, encoding="utf-8")
    (infra / "bootstrap/quick_override.tf").write_text(QUICK_BOOTSTRAP, encoding="utf-8")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": REGION}
        environment = {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        world = World(infra, environment, ["-var-file=staging.tfvars"])
        retraining = connect(world.client("events"), "staging")
        given = {**COMMON, **retraining, "python_version": "3.11", "bundle_file": "first.zip"}
        world.root_variables.extend(name_variables(given))
        apply_bootstrap(world)
        init(infra, *BACKEND, "-backend-config=key=staging/terraform.tfstate", **environment)
        world.root("apply", "-auto-approve")
        yield world
    finally:
        server.stop()


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


def test_second_plan_of_the_bootstrap_finds_nothing_to_do(world: World) -> None:
    assert "No changes." in world.bootstrap("plan", "-detailed-exitcode")


def test_second_plan_of_the_root_finds_nothing_to_do(world: World) -> None:
    assert "No changes." in world.root("plan", "-detailed-exitcode", "-lock=false")


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


def test_alarm_on_the_live_error_leads_to_the_repository(world: World) -> None:
    events, name = world.client("events"), f"{PREFIX}-retraining"

    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    destination = events.describe_api_destination(Name=name)

    assert [target["Arn"] for target in targets] == [destination["ApiDestinationArn"]]
    assert destination["InvocationEndpoint"] == f"https://api.github.com/repos/{REPOSITORY}/dispatches"
    # What Terraform knows holds no token.
    state = world.client("s3").get_object(Bucket=STATE_BUCKET, Key="staging/terraform.tfstate")["Body"].read()
    assert name in state.decode() and TOKEN not in state.decode()


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
    empty_bucket(world.client("s3"), STATE_BUCKET)
    world.bootstrap("destroy", "-auto-approve", "-refresh=false")

    assert not world.client("s3").list_buckets()["Buckets"]
    assert not world.client("lambda").list_functions()["Functions"]
    assert not world.client("iam").list_roles()["Roles"]
