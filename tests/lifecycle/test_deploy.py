"""A deploy against AWS on loopback: what proves itself is promoted, and whatever happens callers are answered."""

import json
import logging
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

import boto3
import pytest
from conftest import commit_all, run_here, run_python
from functions import ANSWERS, PARAMS, build, create_service, name_target, open_cloud, open_target
from readings import write_params
from servers import make_event
from sklearn.linear_model import LinearRegression
from waiting import wait_for

import lifecycle.bundle
from lifecycle.delivery.answers import read_answers
from lifecycle.delivery.service import Service
from lifecycle.deploy import check_canary, deploy, read_release
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.paths import BUNDLE, BUNDLE_FACTS
from lifecycle.retire import main as retire
from lifecycle.serving.challenge import is_dealt
from lifecycle.serving.manifest import hash_bytes
from lifecycle.serving.service import MANIFEST
from lifecycle.train import convert_model
from rehearsal.cloud.server import Cloud
from rehearsal.remote import change_params


@pytest.fixture(name="cloud", scope="module")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS on loopback."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(name="service")
def fixture_service(cloud: Cloud, tmp_path: Path) -> Iterator[Service]:
    """A function whose first version is the champion."""
    assert cloud
    with create_service(build(tmp_path, "v1.0.0")) as service:
        yield service


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


# The last two answer as they should at first, so that they are found out while they have a share of the traffic.
FAULTS = {
    "wrong": ({"factor": 2.5}, "predicts otherwise"),
    "refusing": ({"fault": "return {'statusCode': 500, 'body': '{}'}"}, "answers 500 to rows of the sample"),
    "crashing": ({"fault": "raise ValueError('no')"}, "fails: ValueError: no"),
    "not starting": ({"start": "raise RuntimeError('no start')"}, "fails"),
    "slow": ({"fault": "time.sleep(0.4)"}, "times as long"),
    "for some": ({"fault": "if json.loads(event['body'])['rows'][0]['x'] == 3: raise ValueError('no')"}, "failed in"),
}


@pytest.mark.parametrize(
    "kind",
    [*list(FAULTS)[:4], *(pytest.param(kind, marks=pytest.mark.acceptance) for kind in list(FAULTS)[4:])],
)
def test_release_with_a_fault_is_rolled_back(kind: str, cloud: Cloud, service: Service, tmp_path: Path) -> None:
    fault, said = FAULTS[kind]
    # The model's metrics are the environment's, so each fault has a version of its own.
    release = build(tmp_path, f"v1.2.{list(FAULTS).index(kind)}", **fault)

    with send_traffic(cloud, service), pytest.raises(RefusedError, match=said):
        deploy(service, release, ANSWERS, PARAMS.model_copy(update={"bake_seconds": 6.0}))

    alias = service.read_alias()
    assert (alias.version, alias.weights) == ("1", {})


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("kind", ["refusing", "crashing"])
def test_champion_that_fails_is_replaced_without_a_canary(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with create_service(build(tmp_path, "v1.0.0", **FAULTS[kind][0])) as service:
        assert (
            deploy(service, build(tmp_path, "v1.0.1"), ANSWERS, PARAMS.model_copy(update={"bake_seconds": 0.0}))
            == "2"
        )

        assert (service.read_alias().version, service.read_alias().weights) == ("2", {})
    assert "step=no_canary version=2 reason=the champion, version 1, fails" in caplog.text


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


@pytest.mark.parametrize(
    ("error_share", "latency_ms", "former_ms", "said"),
    [
        (0.06, None, None, "failed in 6.0% of its requests; expected at most 5.0%"),
        (0.05, 51.0, 10.0, "takes 51.0 ms, the champion 10.0 ms; expected at most 5 times as long"),
    ],
)
def test_canary_that_fails_too_often_or_is_too_slow_is_refused(
    error_share: float, latency_ms: float | None, former_ms: float | None, said: str
) -> None:
    with pytest.raises(RefusedError, match=said):
        check_canary(error_share, latency_ms, former_ms, PARAMS)


@pytest.mark.parametrize(("latency_ms", "former_ms"), [(50.0, 10.0), (50.0, None), (50.0, 0.0), (None, 10.0)])
def test_canary_within_the_limits_passes_and_so_does_one_whose_speed_is_not_known(
    latency_ms: float | None, former_ms: float | None
) -> None:
    assert check_canary(0.05, latency_ms, former_ms, PARAMS) is None


def pack(folder: Path, version: str) -> None:
    """Pack a bundle as `make bundle` does: it doubles the size of a probe, as the model in it says."""
    release = build(folder, version, column="size")
    model = LinearRegression().fit([[0, 0], [100, 0], [0, 1]], [0.0, 200.0, 0.0])
    with zipfile.ZipFile(release.path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST), "{}")
        archive.writestr(zipfile.ZipInfo("model.onnx"), convert_model(model, ("size", "is_fine")))
    BUNDLE.parent.mkdir()
    shutil.move(release.path, BUNDLE)
    facts = {"name": "model", "version": version, "sha256": hash_bytes(BUNDLE.read_bytes()), "changed": False}
    BUNDLE_FACTS.write_text(json.dumps(facts), encoding="utf-8")


@pytest.mark.usefixtures("readings_folder", "cloud")
def test_command_deploys_the_bundle_and_rolls_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, {"deploy": {"bake_seconds": 0, "max_latency_ratio": 1000.0}})
    pack(tmp_path, "v1.1.0")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "said"))
    with create_service(build(tmp_path, "v1.0.0", column="size")) as service:
        outputs = {name: {"value": value} for name, value in name_target(service.function).items()}
        (tmp_path / "outputs.json").write_text(json.dumps(outputs), encoding="utf-8")

        deployed = run_here(tmp_path, "lifecycle.deploy", "--target", "outputs.json")
        serving = service.read_alias().version
        undone = run_here(tmp_path, "lifecycle.deploy", "--target", "outputs.json", "--rollback")

        assert (deployed.returncode, serving, deployed.stdout) == (0, "2", "version 2 serves model@v1.1.0\n")
        assert (undone.returncode, service.read_alias().version) == (0, "1")
    assert undone.stdout == "all traffic is on version 1 again, model@v1.0.0\n"
    assert (tmp_path / "said").read_text(encoding="utf-8") == "version=v1.0.0\n"
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="bundles", Prefix="deploy.lease")


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize("content", [None, "no JSON", '{"alias_name": "live"}'])
def test_target_that_terraform_did_not_write_is_told(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "outputs.json").write_text(content, encoding="utf-8")

    done = run_here(tmp_path, "lifecycle.deploy", "--target", "outputs.json")

    assert done.returncode == 2
    assert done.stderr.startswith("MisuseError: outputs.json is not what `terraform output -json` writes: ")


def test_folder_without_a_bundle_is_told_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="bundle.json is missing; build the bundle with: make bundle"):
        read_release(tmp_path / "bundle.zip", tmp_path / "bundle.json")


def test_bundle_that_no_commit_holds_is_not_deployed(tmp_path: Path) -> None:
    facts = {"sha256": "0" * 64, "name": "model", "version": "abc1234+changed", "commit": "abc1234", "changed": True}
    (tmp_path / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")

    with pytest.raises(RefusedError, match="differ from commit abc1234"):
        read_release(tmp_path / "bundle.zip", tmp_path / "bundle.json")


@pytest.mark.usefixtures("readings_folder")
def test_versions_that_no_longer_serve_are_removed_and_the_way_back_stays(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hasty = PARAMS.model_copy(update={"bake_seconds": 0.0})
    for minor in range(1, 4):
        deploy(service, build(tmp_path, f"v1.{minor}.0"), ANSWERS, hasty)

    named = {name: {"value": value} for name, value in name_target(service.function).items()}
    (tmp_path / "outputs.json").write_text(json.dumps(named), encoding="utf-8")

    retire(["--target", "outputs.json"])
    retire(["--target", "outputs.json"])

    assert capsys.readouterr().out == "removed from the function: 1\nremoved from the function: nothing\n"
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
from functions import ANSWERS, PARAMS, build, open_target
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
