"""Machine: one is started by CML's command line, and the sweep ends what is too old, and nothing of others."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.machine import TAG, main, sweep, write_launch
from lifecycle.params import MachineParams, read_params
from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import make_client

OWN, OTHER = "team/model", "team/other"
PARAMS = MachineParams(instance_type="m7i.large", disk_gb=20, idle_seconds=60, max_hours=2)


@pytest.fixture(name="cloud", scope="module")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS on loopback."""
    with serve_cloud(tmp_path_factory.mktemp("cloud"), in_background=False) as cloud:
        yield cloud


@pytest.fixture(name="client")
def fixture_client(cloud: Cloud) -> Iterator[Any]:
    """A client of EC2; its machines are gone afterwards."""
    client = make_client(cloud, "ec2")
    yield client
    for name in list_running(client):
        client.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": False})
        client.terminate_instances(InstanceIds=[name])


def look_ahead(hours: float) -> datetime:
    """Give the time some hours from now."""
    return datetime.now(UTC) + timedelta(hours=hours)


def start(client: Any, tags: dict[str, str], **options: Any) -> str:
    """Start a machine with tags."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    given = {"TagSpecifications": [{"ResourceType": "instance", "Tags": listed}]} if tags else {}
    made = client.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, **given, **options)
    return str(made["Instances"][0]["InstanceId"])


def list_running(client: Any) -> set[str]:
    """List the machines that run or are stopped."""
    states = [{"Name": "instance-state-name", "Values": ["running", "stopped"]}]
    groups = client.describe_instances(Filters=states)["Reservations"]
    return {one["InstanceId"] for group in groups for one in group["Instances"]}


def test_sweep_ends_the_repositorys_old_machines_and_never_one_without_its_tag(client: Any) -> None:
    own, stopped = start(client, {TAG: OWN}), start(client, {TAG: OWN, "Name": "mine"})
    client.stop_instances(InstanceIds=[stopped])
    others = {start(client, {TAG: OTHER}), start(client, {"Name": OWN}), start(client, {})}

    said = sweep(client, OWN, PARAMS.max_hours, look_ahead(3))

    assert list_running(client) == others
    assert sorted(said) == sorted(f"{name}: ended after 3.0 h; max_hours is 2" for name in (own, stopped))


def test_young_machine_is_left_and_told(client: Any) -> None:
    own = start(client, {TAG: OWN})

    said = sweep(client, OWN, PARAMS.max_hours, look_ahead(1))

    assert list_running(client) == {own}
    assert said == [f"{own}: runs for 1.0 h, and may for 2"]


def test_machine_that_cannot_be_ended_is_told_and_keeps_no_other(client: Any) -> None:
    held, own = start(client, {TAG: OWN}), start(client, {TAG: OWN})
    client.modify_instance_attribute(InstanceId=held, DisableApiTermination={"Value": True})

    with pytest.raises(RefusedError, match=f"not ended: {held}: .* The others: {own}: ended"):
        sweep(client, OWN, PARAMS.max_hours, look_ahead(3))

    assert list_running(client) == {held}


def test_name_with_a_wildcard_ends_no_machine(client: Any) -> None:
    own = start(client, {TAG: OWN})

    # The cloud's filter takes it as a pattern.
    assert not sweep(client, "team/*", PARAMS.max_hours, look_ahead(3))

    assert list_running(client) == {own}


def test_token_stands_in_no_argument_and_the_tag_is_the_sweeps() -> None:
    command = write_launch(PARAMS, OWN, "eu-central-1", "big", "closed")

    assert command[:3] == ["cml", "runner", "launch"]
    assert {f"--cloud-metadata={TAG}={OWN}", "--labels=big", "--cloud-aws-security-group=closed"} <= {*command}
    assert not any("token" in word for word in command)


@pytest.fixture(name="record")
def fixture_record(cloud: Cloud, tmp_path: Path, readings_folder: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001  pylint: disable=unused-argument
    """The environment of a job, with what stands in for CML on its PATH; give the file that keeps its calls."""
    command = tmp_path / "bin/cml"
    command.parent.mkdir()
    source = ROOT / "src/rehearsal/cml.py"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{source}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    job = {"GITHUB_REPOSITORY": OWN, "LABEL": "big", "SECURITY_GROUP": "closed", "REPO_TOKEN": "a-token"}
    job |= {"CML_RECORD": str(tmp_path / "record"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    for name, value in {**cloud.environment, **job}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    return tmp_path / "record"


@pytest.mark.usefixtures("record")
def test_launch_calls_cml_with_what_the_workflow_set(tmp_path: Path) -> None:
    kept, command = tmp_path / "arguments", tmp_path / "bin/cml"
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$ITERATIVE_DO_NOT_TRACK" > {kept}\n', encoding="utf-8")

    main(["launch"])

    launch = write_launch(read_params().machine, OWN, os.environ["AWS_REGION"], "big", "closed")
    assert kept.read_text(encoding="utf-8").splitlines() == [*launch[1:], "1"]


@pytest.mark.usefixtures("record")
def test_missing_cml_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin/cml").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(MisuseError, match="^cml is not installed; npm install --global @dvcorg/cml@"):
        main(["launch"])


def test_sweep_tells_the_log_and_the_summary(client: Any, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep"])
    young = start(client, {TAG: OWN})
    main(["sweep"])

    said = ["no machine is there", f"{young}: runs for 0.0 h, and may for 2"]
    assert capsys.readouterr().out.splitlines() == said
    summary = (record.parent / "summary").read_text(encoding="utf-8")
    assert summary.splitlines() == [f"- {line}" for line in said]


@pytest.mark.acceptance
def test_machine_is_started_once(client: Any, record: Path) -> None:
    main(["launch"])
    main(["launch"])

    calls = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert len(list_running(client)) == 1
    assert [call["arguments"][:2] for call in calls] == [["runner", "launch"]] * 2
    assert "ITERATIVE_DO_NOT_TRACK" in calls[0]["environment"]
    assert "a-token" not in json.dumps([call["arguments"] for call in calls])


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REPO_TOKEN", "", "REPO_TOKEN is not set"),
        ("LABEL", "big --cloud=gcp", "LABEL is 'big --cloud=gcp'; expected"),
        ("SECURITY_GROUP", "", "SECURITY_GROUP is ''"),
        ("AWS_REGION", "", "AWS_REGION is ''"),
        ("GITHUB_REPOSITORY", "model", "GITHUB_REPOSITORY is 'model'"),
    ],
)
def test_what_a_workflow_did_not_set_is_told(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(MisuseError, match=said):
        main(["launch"])


@pytest.mark.usefixtures("record")
def test_machine_that_does_not_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin/cml").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")

    with pytest.raises(RefusedError, match="cml started no machine and ended with 3"):
        main(["launch"])


@pytest.mark.usefixtures("record")
def test_cloud_that_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(RefusedError, match="the machines cannot be listed: "):
        main(["sweep"])
