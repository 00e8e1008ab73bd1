"""Alarms of which others hear: a change of state goes by EventBridge's rules to an address outside."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener
from uuid import uuid4

from moto.cloudwatch.models import Alarm
from moto.core.utils import utcnow
from moto.events.models import EventsBackend, Rule, events_backends

from rehearsal.cloud.requests import Wanted

CHANGE = "CloudWatch Alarm State Change"
# What AWS waits for an answer, and which answers it takes for a reason to try again.
TIMEOUT_SECONDS = 5
AGAIN = {409, 429}
Event = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """What a rule's target was told, and its answer's status; None where nobody answered, or nothing may be sent."""

    url: str
    body: str
    status: int | None


class Bus:
    """Bring events to the API destinations of the rules that match them; other targets get none here.

    Parameters
    ----------
    account, region : str
    hosts : mapping of str to str
        Where hosts of the world outside are on loopback, as ``api.github.com``; to others nothing is sent.
    refuse : callable
        Tells why a service may not do something in a role's name: the role's ARN, and what it wants to do.
    """

    def __init__(self, account: str, region: str, hosts: Mapping[str, str], refuse: Callable[..., object]) -> None:
        self.sent: list[Sent] = []
        self._account = account
        self._region = region
        self._hosts = hosts
        self._refuse = refuse

    @property
    def _backend(self) -> EventsBackend:
        """Give moto's rules, connections and destinations."""
        return events_backends[self._account][self._region]

    def announce(self, alarm: Alarm) -> None:
        """Announce that an alarm has another state now."""
        event = describe_change(alarm, self._account, self._region)
        for rule in list(self._backend.event_buses["default"].rules.values()):
            if matches(rule, event):
                for target in list(rule.targets):
                    self._send(target, event)

    def _send(self, target: Mapping[str, Any], event: Event) -> None:
        """Send an event to a target, in the name of the target's role, as often as its policy has it."""
        destinations = {one.arn: one for one in self._backend.destinations.values()}
        destination = destinations.get(target["Arn"])
        if destination is None or self._refuse(
            target.get("RoleArn", ""), Wanted("events:InvokeApiDestination", target["Arn"])
        ):
            return
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Amazon/EventBridge/ApiDestinations",
            **self._read_key(destination.connection_arn),
        }
        url, method = destination.invocation_endpoint, destination.http_method
        host, body = urlsplit(url).netloc, transform(event, target.get("InputTransformer"))
        status = None
        # Without a policy AWS tries for a day; here once.
        for _ in range(1 + target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 0)):
            if host in self._hosts:
                known = url.replace(host, self._hosts[host], 1)
                status = send(Request(known, body.encode(), headers, method=method))
            if status is not None and status < 500 and status not in AGAIN:
                break
        self.sent.append(Sent(url, body, status))

    def _read_key(self, arn: str) -> dict[str, str]:
        """Read the header with which a connection says who sends."""
        for connection in self._backend.connections.values():
            if connection.arn == arn:
                key = connection.auth_parameters["ApiKeyAuthParameters"]
                return {key["ApiKeyName"]: key["ApiKeyValue"]}
        return {}


def matches(rule: Rule, event: Event) -> bool:
    """Tell whether a rule is about an event; one that has a schedule alone is about none."""
    pattern = rule.event_pattern
    return rule.state == "ENABLED" and bool(pattern.get_pattern()) and pattern.matches_event(event)


def transform(event: Event, transformer: Mapping[str, Any] | None) -> str:
    """Write what a target gets of an event: the event, or the template with what lies under its paths.

    A text gets quotes, so that the template holds ``<name>`` without them.
    """
    if transformer is None:
        return json.dumps(event)
    values = {name: read_path(event, path) for name, path in transformer["InputPathsMap"].items()}
    template = transformer["InputTemplate"]
    return re.sub(r"<([\w.-]+)>", lambda found: json.dumps(values.get(found[1])), template)


def read_path(event: Event, path: str) -> Any:
    """Read what lies under a path such as ``$.detail.alarmName``; None if nothing does."""
    value: Any = event
    for key in path.split(".")[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def send(request: Request) -> int | None:
    """Send a request, and give the status of the answer; None if nobody answered."""
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status
    except HTTPError as error:
        return error.code
    except OSError:
        return None


def describe_change(alarm: Alarm, account: str, region: str) -> Event:
    """Describe the last change of an alarm's state.

    Notes
    -----
    See "Alarm events and EventBridge" in the Amazon CloudWatch user guide.
    """
    _, reason, data, value, time = alarm.history[-1]
    metric = {
        "namespace": alarm.namespace,
        "name": alarm.metric_name,
        "dimensions": {dimension.name: dimension.value for dimension in alarm.dimensions},
    }
    statistic = {
        "metric": metric,
        "period": int(alarm.period),
        "stat": alarm.statistic or alarm.extended_statistic,
    }
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": CHANGE,
        "source": "aws.cloudwatch",
        "account": account,
        "time": f"{utcnow():%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [alarm.alarm_arn],
        "detail": {
            "alarmName": alarm.name,
            "configuration": {
                "description": alarm.description,
                "metrics": [{"id": str(uuid4()), "metricStat": statistic, "returnData": True}],
            },
            "previousState": describe_state(reason, data, value, time),
            "state": describe_state(
                alarm.state_reason, alarm.state_reason_data, alarm.state_value, alarm.state_updated_timestamp
            ),
        },
    }


def describe_state(reason: str, data: str, value: str, time: Any) -> dict[str, str]:
    """Describe a state of an alarm."""
    return {"reason": reason, "reasonData": data, "timestamp": f"{time:%Y-%m-%dT%H:%M:%S.000+0000}", "value": value}
