"""A deploy against AWS on loopback: what proves itself is promoted, and whatever happens callers are answered."""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3
import numpy as np
import pytest
from conftest import commit_all, run_python
from test_serve import make_event
from waiting import wait_for

import lifecycle.bundle
from lifecycle.delivery.answers import KnownAnswers, read_answers
from lifecycle.delivery.lease import hold_lease
from lifecycle.delivery.service import Service, open_service
from lifecycle.deploy import Release, deploy, read_release
from lifecycle.errors import RefusedError
from lifecycle.params import DeployParams
from lifecycle.retire import remove_published
from lifecycle.serving.challenge import is_dealt
from rehearsal.cloud.server import Cloud, serve_cloud
from rehearsal.remote import change_params

# As small a service as one can be: it doubles what it gets, and writes the metrics that the real one writes.
HANDLER = """
import json, time
{start}
def handle(event, context):
    started = time.perf_counter()
    {fault}
    rows = json.loads(event["body"])["rows"]
    values = [{factor} * row["x"] for row in rows]
    told = {{"Dimensions": [["model_version", "variant"]], "Metrics": [{{"Name": "Latency"}}]}}
    told["Namespace"] = "lifecycle/test"
    stamp = {{"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [told]}}
    latency = 1000 * (time.perf_counter() - started)
    print(json.dumps({{"_aws": stamp, "model_version": "{version}", "variant": "champion", "Latency": latency}}))
    return {{"statusCode": 200, "body": json.dumps({{"predictions": values, "model_version": "{version}"}})}}
"""
ANSWERS = KnownAnswers(({"x": 1.0}, {"x": 2.5}), (np.array([2.0, 5.0]),))
PARAMS = DeployParams(
    challenge=False,
    canary_weight=0.3,
    bake_seconds=1.5,
    poll_seconds=0.1,
    min_requests=5,
    max_error_share=0.05,
    max_latency_ratio=5.0,
    lease_seconds=60,
)


def open_target(function: str) -> Service:
    """Open a function as Terraform's outputs name it."""
    return open_service(
        {
            "function_name": function,
            "alias_name": "live",
            "bundles_bucket": "bundles",
            "alarm_names": ["errors"],
            "metric_namespace": "lifecycle/test",
        }
    )


def build(folder: Path, version: str, factor: float = 2, fault: str = "pass", start: str = "") -> Release:
    """Build a bundle with or without a fault."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(
            zipfile.ZipInfo("service.py"), HANDLER.format(version=version, factor=factor, fault=fault, start=start)
        )
    path = folder / f"{version}.zip"
    path.write_bytes(archive.getvalue())
    return Release(path, hashlib.sha256(path.read_bytes()).hexdigest(), f"model@{version}")


@pytest.fixture(name="cloud", scope="module")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS on loopback."""
    with pytest.MonkeyPatch.context() as patch, serve_cloud(tmp_path_factory.mktemp("cloud"), seed=0) as cloud:
        for key, value in cloud.environment.items():
            patch.setenv(key, value)
        role = boto3.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        boto3.client("s3").create_bucket(
            Bucket="bundles", CreateBucketConfiguration={"LocationConstraint": cloud.environment["AWS_REGION"]}
        )
        os.environ["STAND_IN_ROLE"] = role
        yield cloud


@pytest.fixture(name="service")
def fixture_service(cloud: Cloud, tmp_path: Path) -> Iterator[Service]:
    """A function whose first version is the champion."""
    assert cloud
    functions = boto3.client("lambda")
    # The metrics of a function outlive it, so each test has one of its own.
    name = f"answer-{uuid4().hex}"
    first = build(tmp_path, "v1.0.0")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=os.environ["STAND_IN_ROLE"],
        Handler="service.handle",
        Code={"ZipFile": first.path.read_bytes()},
        Description=f"{first.name} {first.sha256[:12]}",
        Publish=True,
        Timeout=2,
    )
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    yield open_target(name)
    functions.delete_function(FunctionName=name)


@contextmanager
def send_traffic(cloud: Cloud, service: Service) -> Iterator[dict[str, int]]:
    """Send requests all the time, and count what answered them."""
    seen: dict[str, int] = {}
    stopped = threading.Event()

    def send() -> None:
        address = f"{cloud.front}/{service.function}/live/predict"
        body = json.dumps({"rows": [{"x": 3.0}]}).encode()
        while not stopped.wait(0.01):
            request = Request(address, body, {"content-type": "application/json"})
            try:
                with urlopen(request, timeout=10) as answer:
                    told = json.load(answer)["model_version"]
            except OSError as error:
                told = type(error).__name__
            seen[told] = seen.get(told, 0) + 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield seen
    finally:
        stopped.set()
        thread.join()


def test_release_that_proves_itself_is_promoted_and_nobody_goes_unanswered(
    cloud: Cloud, service: Service, tmp_path: Path
) -> None:
    with send_traffic(cloud, service) as seen:
        version = deploy(service, build(tmp_path, "v1.1.0"), ANSWERS, PARAMS)
        time.sleep(0.3)

    alias = service.read_alias()
    assert (alias.version, alias.weights) == (version, {})
    assert set(seen) == {"v1.0.0", "v1.1.0"}
    # Deployed again, nothing is done; rolled back, the former champion serves.
    assert deploy(service, build(tmp_path, "v1.1.0"), ANSWERS, PARAMS) == version
    assert service.roll_back() == "1"
    assert service.read_alias().version == "1"


@pytest.mark.acceptance
@pytest.mark.usefixtures("cloud")
def test_bundle_with_a_challenger_deploys_like_any_other(
    rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(rivals, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    change_params(Path(), {"serve": {"mode": "split", "share": 0.4}})
    commit_all(Path(), "Split")
    run_python(Path.cwd(), "lifecycle.bundle", "--challenger", "v1.1.0")
    with zipfile.ZipFile("first.zip", "w") as first:
        text = "def handle(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n"
        first.writestr(zipfile.ZipInfo("lifecycle/serve.py"), text)
    boto3.client("lambda").create_function(
        FunctionName="both",
        Runtime=f"python{platform.python_version().rpartition('.')[0]}",
        Role=os.environ["STAND_IN_ROLE"],
        Handler=lifecycle.bundle.HANDLER,
        Code={"ZipFile": Path("first.zip").read_bytes()},
        Description="part-failure@v0 first",
        Publish=True,
        Timeout=30,
    )
    boto3.client("lambda").create_alias(FunctionName="both", Name="live", FunctionVersion="1")
    service, release = open_target("both"), read_release()
    answers = read_answers(release.path)

    version = deploy(service, release, answers, PARAMS.model_copy(update={"max_latency_ratio": 1000.0}))

    told = set()
    for key in map(str, range(20)):
        event = make_event(json.dumps({"rows": answers.rows})) | {"headers": {"x-key": key}}
        name = json.loads(service.invoke(version, event)["body"])["model_version"]
        assert name == ("v1.1.0" if is_dealt(key, "a", 0.4) else "v1.0.0")
        told.add(name)
    assert service.read_alias().version == version == "2" and told == {"v1.0.0", "v1.1.0"}
    assert release.name == "part-failure@v1.0.0" and len(answers.predictions) == 2


FAULTS = {
    "wrong": ({"factor": 2.5}, "predicts otherwise"),
    "crashing": ({"fault": "raise ValueError('no')"}, "fails: ValueError: no"),
    "not starting": ({"start": "raise RuntimeError('no start')"}, "fails"),
    "slow": ({"fault": "time.sleep(0.4)"}, "times as long"),
    "for some": ({"fault": "if json.loads(event['body'])['rows'][0]['x'] == 3: raise ValueError('no')"}, "failed in"),
}


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", FAULTS)
def test_release_with_a_fault_is_rolled_back(kind: str, cloud: Cloud, service: Service, tmp_path: Path) -> None:
    fault, said = FAULTS[kind]
    # The model's metrics are the environment's, so each fault has a version of its own.
    release = build(tmp_path, f"v1.2.{list(FAULTS).index(kind)}", **fault)

    with send_traffic(cloud, service), pytest.raises(RefusedError, match=said):
        deploy(service, release, ANSWERS, PARAMS.model_copy(update={"bake_seconds": 6.0}))

    alias = service.read_alias()
    assert (alias.version, alias.weights) == ("1", {})


def test_rollback_by_a_person_ends_a_deploy_that_bakes(cloud: Cloud, service: Service, tmp_path: Path) -> None:
    patient = PARAMS.model_copy(update={"bake_seconds": 60.0})
    with send_traffic(cloud, service), ThreadPoolExecutor(1) as pool:
        baking = pool.submit(deploy, service, build(tmp_path, "v1.6.0"), ANSWERS, patient)
        wait_for(lambda: service.read_alias().weights)
        assert service.roll_back() == "1"
        with pytest.raises(RefusedError, match="share of 2 was taken away"):
            baking.result(timeout=30)

    alias = service.read_alias()
    assert (alias.version, alias.weights) == ("1", {})


def test_bundle_that_no_commit_holds_is_not_deployed(tmp_path: Path) -> None:
    facts = {"sha256": "0" * 64, "name": "model", "version": "abc1234+changed", "commit": "abc1234", "changed": True}
    (tmp_path / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")

    with pytest.raises(RefusedError, match="differ from commit abc1234"):
        read_release(tmp_path / "bundle.zip", tmp_path / "bundle.json")


def test_versions_that_no_longer_serve_are_removed_and_the_way_back_stays(service: Service, tmp_path: Path) -> None:
    hasty = PARAMS.model_copy(update={"bake_seconds": 0.0})
    for minor in range(1, 4):
        deploy(service, build(tmp_path, f"v1.{minor}.0"), ANSWERS, hasty)

    assert remove_published(service, keep=1) == ["1"]

    assert list(service.list_published()) == ["2", "3", "4"]
    assert service.roll_back() == "3"


def test_alarm_that_goes_off_rolls_back(service: Service, tmp_path: Path) -> None:
    metrics = boto3.client("cloudwatch")
    quiet = {"Statistic": "Sum", "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "ignore"}
    numbers = {"Threshold": 1, "Period": 60, "EvaluationPeriods": 1}
    metrics.put_metric_alarm(AlarmName="errors", MetricName="none", Namespace="none", **numbers, **quiet)
    metrics.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a test")
    try:
        with pytest.raises(RefusedError, match="alarm errors went off"):
            deploy(service, build(tmp_path, "v1.3.0"), ANSWERS, PARAMS)
    finally:
        metrics.delete_alarms(AlarmNames=["errors"])

    assert service.read_alias().weights == {}


def test_bundle_of_other_bytes_is_refused_before_anything_is_sent(service: Service, tmp_path: Path) -> None:
    release = build(tmp_path, "v1.4.0")
    release.path.write_bytes(release.path.read_bytes()[:-1] + b"x")

    with pytest.raises(RefusedError, match="has the SHA-256"):
        deploy(service, release, ANSWERS, PARAMS)

    listed = boto3.client("lambda").list_versions_by_function(FunctionName=service.function)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1"]


KILLED = """
import logging, os, signal, sys
sys.path[:0] = ["tests/lifecycle", "tests"]
from pathlib import Path
from test_deploy import ANSWERS, PARAMS, build, open_target
from lifecycle.deploy import deploy
class Killer(logging.Handler):
    def emit(self, record):
        if f"step={sys.argv[1]}" in record.getMessage():
            os.kill(os.getpid(), signal.SIGKILL)
logging.getLogger("lifecycle.deploy").addHandler(Killer())
logging.getLogger("lifecycle.deploy").setLevel(logging.INFO)
deploy(open_target(sys.argv[3]), build(Path(sys.argv[2]), "v1.5.0"), ANSWERS, PARAMS)
"""


@pytest.mark.acceptance
@pytest.mark.parametrize("step", ["published", "answered", "canary", "baked", "promoted"])
def test_deploy_that_is_killed_after_any_step_ends_well_the_next_time(
    step: str, cloud: Cloud, service: Service, tmp_path: Path
) -> None:
    assert cloud
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(tmp_path), service.function], env=environment, check=False
    )
    assert done.returncode == -9
    assert service.read_alias().version == ("2" if step == "promoted" else "1")

    assert deploy(service, build(tmp_path, "v1.5.0"), ANSWERS, PARAMS) == "2"

    alias = service.read_alias()
    assert (alias.version, alias.weights) == ("2", {})
    listed = boto3.client("lambda").list_versions_by_function(FunctionName=service.function)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]


def test_one_deploy_at_a_time_and_the_other_learns_who(cloud: Cloud) -> None:
    assert cloud
    with hold_lease("bundles", "run 7", 60):
        with pytest.raises(RefusedError, match="run 7 deploys already"), hold_lease("bundles", "run 8", 60):
            pass
    with hold_lease("bundles", "run 8", 60):
        pass


def test_lease_of_a_deploy_that_was_killed_runs_out(cloud: Cloud) -> None:
    assert cloud
    entry = json.dumps({"holder": "killed", "until": time.time() - 1})
    boto3.client("s3").put_object(Bucket="bundles", Key="deploy.lease", Body=entry)

    with hold_lease("bundles", "next", 60):
        pass

    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="bundles", Prefix="deploy.lease")
