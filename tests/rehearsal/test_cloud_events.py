"""The cloud on loopback tells others of an alarm as AWS does: by a rule, in a role's name, over HTTPS."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearsal.cloud.events import transform
from rehearsal.cloud.server import Cloud, serve_cloud
from rehearsal.github import Repository, serve_github
from tests.rehearsal.clouds import create_role, make_client

ENDPOINT = "https://api.github.com/repos/team/model/dispatches"
PATTERN = {"source": ["aws.cloudwatch"], "detail": {"alarmName": ["worst"], "state": {"value": ["ALARM"]}}}
TRANSFORMER = {
    "InputPathsMap": {"alarm": "$.detail.alarmName"},
    "InputTemplate": '{"event_type": "retrain", "client_payload": {"alarm": <alarm>}}',
}
TOLD = {"event_type": "retrain", "client_payload": {"alarm": "worst"}}


@dataclass(frozen=True)
class World:
    """A cloud with an alarm and a rule, and the GitHub that it leads to."""

    cloud: Cloud
    github: Repository

    def lead(self, role: str = "", pattern: Any = None, header: str = "Authorization", url: str = ENDPOINT) -> None:
        """Lead the alarm's changes to GitHub."""
        events = make_client(self.cloud, "events")
        key = {"ApiKeyAuthParameters": {"ApiKeyName": header, "ApiKeyValue": "Bearer a-token"}}
        connection = events.create_connection(Name="github", AuthorizationType="API_KEY", AuthParameters=key)
        destination = events.create_api_destination(
            Name="github", ConnectionArn=connection["ConnectionArn"], InvocationEndpoint=url, HttpMethod="POST"
        )["ApiDestinationArn"]
        allowed = {"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": destination}
        role = role or create_role(self.cloud, "sender", {"Version": "2012-10-17", "Statement": [allowed]})
        events.put_rule(Name="retraining", EventPattern=json.dumps(pattern or PATTERN))
        target = {"Id": "one", "Arn": destination, "RoleArn": role, "InputTransformer": TRANSFORMER}
        events.put_targets(Rule="retraining", Targets=[{**target, "RetryPolicy": {"MaximumRetryAttempts": 2}}])

    def report(self, error: float) -> dict[str, str]:
        """Report a live error, and let the alarm see it, while services do what their roles allow alone."""
        data = [{"MetricName": "live_error", "Value": error}]
        make_client(self.cloud, "cloudwatch").put_metric_data(Namespace="Models/live", MetricData=data)
        self.cloud.guard.root_allowed = False
        try:
            return self.cloud.evaluate_alarms()
        finally:
            self.cloud.guard.root_allowed = True


@pytest.fixture(name="world")
def fixture_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A cloud that finds GitHub on loopback, and an alarm that looks at the largest live error of an hour."""
    github = Repository()
    with serve_github(github, tmp_path) as found:
        monkeypatch.setenv("SSL_CERT_FILE", found["SSL_CERT_FILE"])
        hosts = {"api.github.com": found["GH_HOST"]}
        with serve_cloud(tmp_path / "cloud", hosts=hosts, in_background=False) as cloud:
            make_client(cloud, "cloudwatch").put_metric_alarm(
                AlarmName="worst",
                Namespace="Models/live",
                MetricName="live_error",
                Statistic="Maximum",
                Period=3600,
                EvaluationPeriods=1,
                Threshold=5,
                ComparisonOperator="GreaterThanThreshold",
                TreatMissingData="ignore",
            )
            yield World(cloud, github)


def test_live_error_above_the_threshold_arrives_at_github_once(world: World) -> None:
    world.lead()

    assert world.report(1.0) == {"worst": "OK"}
    assert not world.github.requests
    assert world.report(6.0) == {"worst": "ALARM"}
    world.report(7.0)

    assert world.github.dispatches == [TOLD]
    assert [request.token for request in world.github.requests] == ["a-token"]
    assert [(sent.url, sent.status) for sent in world.cloud.sent] == [(ENDPOINT, 204)]


def test_role_without_the_permission_sends_nothing_and_the_refusal_names_it(world: World) -> None:
    world.lead(role=create_role(world.cloud, "mute"))

    assert world.report(6.0) == {"worst": "ALARM"}

    assert not world.github.requests
    assert "role/mute is not authorized to perform: events:InvokeApiDestination" in world.cloud.guard.refusals[-1]


@pytest.mark.parametrize(
    "pattern", [{**PATTERN, "detail": {"alarmName": ["another"]}}, {**PATTERN, "source": ["aws.ec2"]}]
)
def test_rule_about_something_else_sends_nothing(world: World, pattern: dict[str, Any]) -> None:
    world.lead(pattern=pattern)

    world.report(6.0)

    assert not world.cloud.sent


def test_rule_that_is_switched_off_sends_nothing(world: World) -> None:
    world.lead()
    make_client(world.cloud, "events").disable_rule(Name="retraining")

    world.report(6.0)

    assert not world.cloud.sent


def test_host_that_is_not_on_loopback_is_never_called(world: World) -> None:
    world.lead(url="https://example.com/hook")

    world.report(6.0)

    assert [(sent.url, sent.status) for sent in world.cloud.sent] == [("https://example.com/hook", None)]


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (404, 1)])
def test_what_may_pass_is_tried_again_as_often_as_the_policy_says(world: World, status: int, tries: int) -> None:
    world.lead()
    world.github.refusals[("POST", "/dispatches")] = (status, "not now")

    world.report(6.0)

    assert [request.path for request in world.github.requests] == ["/repos/team/model/dispatches"] * tries
    assert [sent.status for sent in world.cloud.sent] == [status]


def test_github_hears_nobody_without_a_token(world: World) -> None:
    world.lead(header="X-Key")

    world.report(6.0)

    assert [sent.status for sent in world.cloud.sent] == [401]
    assert not world.github.dispatches


def test_event_has_the_parts_that_aws_documents(world: World) -> None:
    world.lead()
    events = make_client(world.cloud, "events")
    [target] = events.list_targets_by_rule(Rule="retraining")["Targets"]
    del target["InputTransformer"]
    events.put_targets(Rule="retraining", Targets=[target])
    world.report(1.0)

    world.report(6.0)

    [event] = [json.loads(sent.body) for sent in world.cloud.sent]
    assert (event["source"], event["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert event["resources"] == ["arn:aws:cloudwatch:eu-central-1:123456789012:alarm:worst"]
    assert (event["detail"]["previousState"]["value"], event["detail"]["state"]["value"]) == ("OK", "ALARM")
    [metric] = event["detail"]["configuration"]["metrics"]
    named = {"namespace": "Models/live", "name": "live_error", "dimensions": {}}
    assert metric["metricStat"] == {"metric": named, "period": 3600, "stat": "Maximum"}


def test_template_holds_any_value_as_json_and_null_for_what_is_not_there() -> None:
    paths = {"name": "$.detail.name", "rows": "$.detail.rows", "lost": "$.detail.name.more"}
    transformer = {"InputPathsMap": paths, "InputTemplate": '{"a": <name>, "b": <rows>, "c": <lost>}'}

    written = transform({"detail": {"name": 'a "b"', "rows": [1, {"x": 2}]}}, transformer)

    assert json.loads(written) == {"a": 'a "b"', "b": [1, {"x": 2}], "c": None}
