"""Each role may do what it is for, and nothing else: what it asked in its life is held against what it may."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from subprocess import CompletedProcess
from typing import Any

import pytest

from rehearsal.cloud.access import Documents, Permissions
from rehearsal.cloud.requests import Wanted
from rehearsal.cloud.server import serve_cloud
from rehearsal.github import Repository, serve_github
from tests.infra.life import DATA, DEPLOY, MONITOR, PLAN, PREFIX, Life, begin, drop_action, live
from tests.infra.terraform import REPOSITORY, TOKEN

pytestmark = pytest.mark.acceptance

SERVICES = [f"{PREFIX}-{name}" for name in ("delivery", "function", "retraining", "subscription")]
ROLES = [DATA, DEPLOY, MONITOR, PLAN, *SERVICES]
# What AWS documents for a service's own role and the emulator's service does not ask for.
UNASKED = {
    # Of Firehose: it looks for the bucket, and writes what is large in parts.
    f"{PREFIX}-delivery": {
        "s3:AbortMultipartUpload",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
    },
    # Of the services that write to Firehose: either call, as they see fit.
    f"{PREFIX}-subscription": {"firehose:PutRecordBatch"},
}


@pytest.fixture(name="github", scope="module")
def fixture_github() -> Repository:
    """The repository on GitHub that the alarm is to wake."""
    return Repository(full_name=REPOSITORY)


@pytest.fixture(name="life", scope="module")
def fixture_life(tmp_path_factory: pytest.TempPathFactory, github: Repository) -> Iterator[Life]:
    """A life in which nothing was refused."""
    folder = tmp_path_factory.mktemp("life")
    with (
        serve_github(github, folder) as found,
        pytest.MonkeyPatch.context() as patch,
        serve_cloud(folder / "cloud", seed=0, hosts={"api.github.com": found["GH_HOST"]}) as cloud,
    ):
        patch.setenv("SSL_CERT_FILE", found["SSL_CERT_FILE"])
        life = begin(cloud, folder)
        live(life)
        assert not cloud.guard.refusals
        yield life


@pytest.mark.usefixtures("life")
def test_alarm_on_the_live_error_starts_retraining(github: Repository) -> None:
    assert github.dispatches[0] == {"event_type": "retrain", "client_payload": {"alarm": f"{PREFIX}-live-error"}}
    assert {request.token for request in github.requests} == {TOKEN}


def read_role(life: Life, role: str) -> tuple[Permissions, list[Wanted]]:
    """Read what bounds a role, and what it asked for, once each."""
    asked = {repr(wanted): wanted for wanted in life.cloud.guard.asked[role]}
    return life.cloud.guard.read_permissions(role), list(asked.values())


def list_drops(documents: Documents) -> Iterator[tuple[str, Documents]]:
    """List the actions that a role's policies allow, statement by statement, and the policies without each."""
    for place, document in enumerate(documents):
        for row, statement in enumerate(document["Statement"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            for action in actions:
                yield action, replace_statement(documents, place, row, drop_action(statement, action))


def list_loosened(documents: Documents) -> Iterator[tuple[str, Documents]]:
    """List the values of all conditions, and the policies without each."""
    for place, document in enumerate(documents):
        for row, statement in enumerate(document["Statement"]):
            for operator, wanted in statement.get("Condition", {}).items():
                for key, values in wanted.items():
                    for value in values if isinstance(values, list) else [values]:
                        others = [other for other in values if other != value] if isinstance(values, list) else []
                        condition = {**statement["Condition"], operator: {**wanted, key: others}}
                        changed = {**statement, "Condition": condition}
                        yield f"{key} {value}", replace_statement(documents, place, row, changed)


def replace_statement(documents: Documents, place: int, row: int, statement: dict[str, Any]) -> Documents:
    """Give policies with one statement replaced."""
    statements = list(documents[place]["Statement"])
    statements[row] = statement
    return (*documents[:place], {**documents[place], "Statement": statements}, *documents[place + 1 :])


def list_refusals(permissions: Permissions, asked: list[Wanted]) -> list[str]:
    """Say what would have been refused."""
    return [reason for wanted in asked if (reason := permissions.explain_refusal(wanted))]


@pytest.mark.parametrize("role", ROLES)
def test_role_without_any_one_of_its_actions_is_refused_by_that_actions_name(life: Life, role: str) -> None:
    permissions, asked = read_role(life, role)
    drops = list(list_drops(permissions.own))

    refused = [(action, list_refusals(replace(permissions, own=own), asked)) for action, own in drops]

    assert drops
    assert {action for action, reasons in refused if not reasons} == UNASKED.get(role, set())
    assert all(action in reason for action, reasons in refused for reason in reasons)


def test_boundary_without_any_one_of_its_actions_is_felt_by_a_role_within_it(life: Life) -> None:
    within = [read_role(life, role) for role in SERVICES]
    boundary = within[0][0].boundary
    assert boundary is not None

    refused = {
        action: [
            reason
            for permissions, asked in within
            for reason in list_refusals(replace(permissions, boundary=documents), asked)
        ]
        for action, documents in list_drops(boundary)
    }

    assert {action for action, reasons in refused.items() if not reasons} == set().union(*UNASKED.values())
    assert all(f"boundary allows the {action} action" in each for action, found in refused.items() for each in found)


@pytest.mark.parametrize("role", [DATA, DEPLOY, MONITOR])
def test_role_needs_every_value_of_its_conditions(life: Life, role: str) -> None:
    permissions, asked = read_role(life, role)
    loosened = list(list_loosened(permissions.own))

    unneeded = [named for named, own in loosened if not list_refusals(replace(permissions, own=own), asked)]

    assert loosened
    assert not unneeded


COMMANDS: dict[str, tuple[str, str, Callable[[Life], CompletedProcess[str]]]] = {
    "plan": (PLAN, "sns:GetTopicAttributes", Life.plan),
    "dvc push": (DATA, "s3:PutObject", lambda life: push_anew(life)),  # pylint: disable=unnecessary-lambda
    "rollback": (DEPLOY, "lambda:UpdateAlias", Life.call_rollback),
}


def push_anew(life: Life) -> CompletedProcess[str]:
    """Push a model that the store does not have."""
    (life.store / "model").unlink(missing_ok=True)
    (life.store / "model").write_text("other weights", encoding="utf-8")
    life.call_dvc("add", "-q", "model")
    return life.call_dvc("push")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_without_an_action_ends_with_that_actions_name(life: Life, command: str) -> None:
    role, action, call = COMMANDS[command]

    with life.drop(role, action):
        done = call(life)

    assert done.returncode != 0
    assert f"not authorized to perform: {action}" in done.stdout + done.stderr
