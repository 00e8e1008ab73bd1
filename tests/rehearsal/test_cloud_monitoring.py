"""The cloud on loopback brings log lines, metrics and predictions where AWS would, and its alarms go off."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.cloudwatch.models import Alarm
from waiting import wait_for

from rehearsal.cloud.alarms import decide_state
from rehearsal.cloud.monitoring import Delivery
from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import create_function, invoke, make_client

METRIC_LINE = {
    "_aws": {
        "Timestamp": 1,
        "CloudWatchMetrics": [
            {
                "Namespace": "Models/one",
                "Dimensions": [["variant"], ["absent"]],
                "Metrics": [{"Name": "Latency", "Unit": "Milliseconds"}, {"Name": "Missing"}],
            }
        ],
    },
    "variant": "canary",
    "Latency": 12.5,
}


@pytest.fixture(scope="module", name="cloud")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Serve a cloud in which a minute takes a second, and predictions go to a bucket."""
    with serve_cloud(tmp_path_factory.mktemp("cloud"), minute_seconds=1, delivery=Delivery("lines")) as served:
        region = {"LocationConstraint": served.environment["AWS_REGION"]}
        make_client(served, "s3").create_bucket(Bucket="lines", CreateBucketConfiguration=region)
        yield served


def list_messages(cloud: Cloud, name: str, word: str) -> list[str]:
    """List a function's log lines that hold a word."""
    events = make_client(cloud, "logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [event["message"] for event in events if word in event["message"]]


def read_sum(cloud: Cloud, namespace: str, name: str, **dimensions: str) -> float:
    """Read the sum of a metric in the last hour."""
    answer = make_client(cloud, "cloudwatch").get_metric_data(
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(hours=1),
        MetricDataQueries=[
            {
                "Id": "a",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                    },
                    "Period": 7200,
                    "Stat": "Sum",
                },
            }
        ],
    )
    return sum(answer["MetricDataResults"][0]["Values"])


def test_log_lines_and_embedded_metrics_arrive(cloud: Cloud) -> None:
    client = create_function(cloud, "talks")

    invoke(client, "talks", "1", say="a plain line")
    for _ in range(2):
        invoke(client, "talks", "1", say=json.dumps(METRIC_LINE))

    assert wait_for(lambda: len(list_messages(cloud, "talks", '"Latency": 12.5')) == 2)
    assert list_messages(cloud, "talks", "a plain line") == ["a plain line"]
    assert read_sum(cloud, "Models/one", "Latency", variant="canary") == 25
    listed = make_client(cloud, "cloudwatch").list_metrics(Namespace="Models/one")["Metrics"]
    assert [metric["MetricName"] for metric in listed] == ["Latency"]


def test_traceback_of_a_failed_function_is_logged(cloud: Cloud) -> None:
    client = create_function(cloud, "stumbles")

    invoke(client, "stumbles", **{"raise": "no such place"})

    assert wait_for(lambda: list_messages(cloud, "stumbles", "ValueError: no such place"))


def test_metrics_of_lambda_tell_the_versions_of_an_alias_apart(cloud: Cloud) -> None:
    client = create_function(cloud, "counted")
    client.update_function_configuration(FunctionName="counted", Timeout=9)
    client.publish_version(FunctionName="counted")
    client.create_alias(FunctionName="counted", Name="live", FunctionVersion="1")
    invoke(client, "counted", "live")
    client.update_alias(FunctionName="counted", Name="live", FunctionVersion="2")

    for _ in range(2):
        invoke(client, "counted", "live", **{"raise": "x"})

    named = {"FunctionName": "counted", "Resource": "counted:live"}
    assert read_sum(cloud, "AWS/Lambda", "Invocations", FunctionName="counted") == 3
    assert read_sum(cloud, "AWS/Lambda", "Invocations", **named) == 3
    assert read_sum(cloud, "AWS/Lambda", "Errors", **named, ExecutedVersion="1") == 0
    assert read_sum(cloud, "AWS/Lambda", "Errors", **named, ExecutedVersion="2") == 2
    assert read_sum(cloud, "AWS/Lambda", "Duration", **named) > 0


def test_alarm_goes_off_and_comes_back(cloud: Cloud) -> None:
    client, watch = create_function(cloud, "alarmed"), make_client(cloud, "cloudwatch")
    watch.put_metric_alarm(
        AlarmName="errors",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": "alarmed"}, {"Name": "Resource", "Value": "alarmed:1"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )

    def read_state() -> str:
        return watch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"][0]["StateValue"]

    invoke(client, "alarmed", "1", **{"raise": "x"})
    assert cloud.evaluate_alarms()["errors"] == "OK"

    for _ in range(2):
        invoke(client, "alarmed", "1", **{"raise": "x"})

    assert wait_for(lambda: read_state() == "ALARM")
    assert wait_for(lambda: read_state() == "OK")


def test_alarm_watches_what_a_client_puts(cloud: Cloud) -> None:
    watch = make_client(cloud, "cloudwatch")
    about = {"Namespace": "Models/live", "MetricName": "live_error"}
    options = {"Period": 3600, "EvaluationPeriods": 1, "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold"}
    watch.put_metric_alarm(AlarmName="worst", **about, **options, Statistic="Maximum", TreatMissingData="ignore")
    watch.put_metric_alarm(AlarmName="most", **about, **options, ExtendedStatistic="p90")
    before = cloud.evaluate_alarms()
    for value in (*[1.0] * 9, 6.0):
        data = [{"MetricName": "live_error", "Value": value, "Timestamp": datetime.now(UTC)}]
        watch.put_metric_data(Namespace="Models/live", MetricData=data)

    after = cloud.evaluate_alarms()

    assert (before["worst"], before["most"]) == ("INSUFFICIENT_DATA", "INSUFFICIENT_DATA")
    assert (after["worst"], after["most"]) == ("ALARM", "OK")


@pytest.mark.parametrize(
    ("missing", "periods", "state"),
    [
        ("missing", [None, None], "INSUFFICIENT_DATA"),
        ("ignore", [None, None], "ALARM"),
        ("breaching", [None, None], "ALARM"),
        ("notBreaching", [None, None], "OK"),
        ("notBreaching", [9.0, None], "OK"),
        ("breaching", [9.0, None], "ALARM"),
        ("missing", [9.0, 9.0], "ALARM"),
        ("missing", [9.0, 1.0], "OK"),
    ],
)
def test_alarm_treats_missing_data_as_it_is_told(missing: str, periods: list[float | None], state: str) -> None:
    names = "datapoints_to_alarm extended_statistic ok_actions insufficient_data_actions unit rule"
    names += " metric_data_queries evaluate_low_sample_count_percentile threshold_metric_id"
    options: dict[str, Any] = dict.fromkeys(names.split())
    alarm = Alarm(
        account_id="1",
        region_name="eu-central-1",
        name="a",
        namespace="n",
        metric_name="m",
        comparison_operator="GreaterThanThreshold",
        evaluation_periods=2,
        period=60,
        threshold=5,
        statistic="Sum",
        description="",
        dimensions=[],
        alarm_actions=[],
        actions_enabled=True,
        treat_missing_data=missing,
        **options,
    )

    assert decide_state(alarm, periods, "ALARM") == state


def test_predictions_arrive_in_their_bucket_by_day(cloud: Cloud) -> None:
    client, bucket = create_function(cloud, "logged"), make_client(cloud, "s3")
    lines = [json.dumps({"request_id": str(number), "prediction": number}) for number in range(2)]

    for line in [*lines, "not a prediction", json.dumps({"request_id": "2"})]:
        invoke(client, "logged", "1", say=line)

    def read_lines() -> list[str]:
        keys = [item["Key"] for item in bucket.list_objects_v2(Bucket="lines").get("Contents", [])]
        assert all(key.startswith(f"predictions/day={datetime.now(UTC):%Y-%m-%d}/") for key in keys)
        bodies = [bucket.get_object(Bucket="lines", Key=key)["Body"].read() for key in keys]
        return sorted(line for body in bodies for line in gzip.decompress(body).decode().splitlines())

    assert wait_for(lambda: len(read_lines()) == 2)
    assert read_lines() == lines


def test_subscription_of_a_log_group_leads_predictions_to_its_bucket(tmp_path: Any) -> None:
    with serve_cloud(tmp_path, in_background=False) as cloud:
        logs, bucket = make_client(cloud, "logs"), make_client(cloud, "s3")
        client = create_function(cloud, "led")
        region = {"LocationConstraint": cloud.environment["AWS_REGION"]}
        bucket.create_bucket(Bucket="stream", CreateBucketConfiguration=region)
        target = {"RoleARN": "arn:aws:iam::123456789012:role/led", "BucketARN": "arn:aws:s3:::stream"}
        stream = make_client(cloud, "firehose").create_delivery_stream(
            DeliveryStreamName="predictions",
            ExtendedS3DestinationConfiguration={**target, "Prefix": "rows/!{timestamp:yyyy-MM-dd}/"},
        )
        logs.create_log_group(logGroupName="/aws/lambda/led")
        logs.put_subscription_filter(
            logGroupName="/aws/lambda/led",
            filterName="predictions",
            filterPattern="{ $.prediction = * }",
            destinationArn=stream["DeliveryStreamARN"],
        )
        # What moto writes itself when a subscription is made.
        before = {item["Key"] for item in bucket.list_objects_v2(Bucket="stream").get("Contents", [])}

        invoke(client, "led", "1", say='{"prediction": 1}')
        assert wait_for(lambda: list_messages(cloud, "led", "prediction"))
        cloud.deliver_predictions()

        after = {item["Key"] for item in bucket.list_objects_v2(Bucket="stream")["Contents"]} - before
        assert [key.startswith(f"rows/{datetime.now(UTC):%Y-%m-%d}/") for key in after] == [True]
