"""The monitor on S3 and CloudWatch on loopback, with the rights of its role alone."""

# pylint: disable=unused-argument  # a fixture that only prepares what is there

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from logs import UNTIL, make_label, make_line, register_reference, watch, write_log

from lifecycle.errors import RefusedError
from lifecycle.explain import find_line
from lifecycle.monitor import main, report_error
from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import create_role, make_client

pytestmark = pytest.mark.usefixtures("readings_folder")

FEW = 40
BUCKET = "logs"
ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::{BUCKET}/predictions/*"]},
    ],
}


@pytest.fixture(name="cloud")
def fixture_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A bucket with a log and labels, in a cloud that the environment names."""
    with serve_cloud(tmp_path / "cloud", in_background=False) as cloud:
        store = make_client(cloud, "s3")
        store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        write_log(tmp_path / "store/predictions", [make_line(number, 2 + 2 * number) for number in range(FEW)])
        write_log(tmp_path / "store/labels", [make_label(number, 1 + number) for number in range(FEW)], "2026-11-03")
        for path in (tmp_path / "store").rglob("*.gz"):
            store.put_object(
                Bucket=BUCKET, Key=path.relative_to(tmp_path / "store").as_posix(), Body=path.read_bytes()
            )
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield cloud
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_log_on_s3_says_what_the_same_files_in_a_folder_do(cloud, tmp_path) -> None:
    remote = watch(f"s3://{BUCKET}/predictions", f"s3://{BUCKET}/labels")

    assert remote == watch(tmp_path / "store/predictions", tmp_path / "store/labels")
    assert remote["versions"][0]["labelled"] == FEW


def test_damaged_object_costs_itself_alone(cloud) -> None:
    key = "predictions/day=2026-11-02/cut.gz"
    make_client(cloud, "s3").put_object(Bucket=BUCKET, Key=key, Body=b"\x1f\x8b\x08cut")

    report = watch(f"s3://{BUCKET}/predictions", f"s3://{BUCKET}/labels")

    assert report["left_out"] == {"file cannot be read": 1}
    assert report["versions"][0]["predictions"] == FEW


def test_bucket_without_labels_yet_is_no_fault(cloud) -> None:
    report = watch(f"s3://{BUCKET}/predictions", f"s3://{BUCKET}/none")

    assert report["versions"][0]["labelled"] == 0


def test_bucket_that_does_not_exist_is_refused(cloud) -> None:
    with pytest.raises(RefusedError, match=r"s3://nowhere/predictions cannot be read"):
        watch("s3://nowhere/predictions", f"s3://{BUCKET}/labels")


def test_role_without_a_right_to_labels_and_metrics_is_refused(cloud, monkeypatch) -> None:
    arn = create_role(cloud, "monitor", ALLOWED)
    keys = make_client(cloud, "sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    with pytest.raises(RefusedError, match=r"s3://logs/labels can(not)? be read"):
        watch(f"s3://{BUCKET}/predictions", f"s3://{BUCKET}/labels")
    with pytest.raises(RefusedError, match="s3://logs/labels cannot be read"):
        find_line(f"s3://{BUCKET}/labels", "id-3", 0)
    report = {"metric": "r2_score", "versions": [{"judged": True, "metrics": {"r2_score": {"value": 0.5}}}]}
    with pytest.raises(RefusedError, match="^live_error could not be reported to CloudWatch: .*AccessDenied"):
        report_error(report, "model/staging")


def test_answer_is_found_in_a_bucket(cloud) -> None:
    assert find_line(f"s3://{BUCKET}/predictions", "id-3", 0).line == make_line(3, 8)


def find_points(cloud: Cloud) -> list[float]:
    """Find the live errors that reached the metric which the alarm looks at."""
    now = datetime.now(UTC)
    found = make_client(cloud, "cloudwatch").get_metric_statistics(
        Namespace="model/staging",
        MetricName="live_error",
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=3600,
        Statistics=["Maximum"],
    )
    return [point["Maximum"] for point in found["Datapoints"]]


def test_command_finds_the_log_by_the_target_and_reports_the_live_error(cloud, tmp_path, capsys) -> None:
    register_reference(tmp_path)
    outputs = {"logs_bucket": {"value": BUCKET}, "metric_namespace": {"value": "model/staging"}}
    Path("target.json").write_text(json.dumps(outputs), encoding="utf-8")

    main(["--target", "target.json", "--until", UNTIL.isoformat()])

    assert capsys.readouterr().out.endswith("live_error=1 namespace=model/staging\n")
    assert find_points(cloud) == [1]


def test_live_error_that_is_not_known_is_not_reported(cloud, tmp_path, capsys) -> None:
    report = watch(f"s3://{BUCKET}/predictions", f"s3://{BUCKET}/none")

    report_error(report, "model/staging")

    assert not capsys.readouterr().out and not find_points(cloud)
