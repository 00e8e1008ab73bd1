"""Who may take which role, and what each role may do, decided on the documents that Terraform renders."""

import json
from typing import Any

import pytest

from lifecycle.machine import TAG
from rehearsal.cloud.server import ACCOUNT, REGION
from rehearsal.policy import allows, list_actions, trusts
from rehearsal.terraform import BOOTSTRAP, COMMON, NAME
from tests.infra.terraform import copy_infra, plan_offline, read_documents, read_planned

pytestmark = pytest.mark.acceptance

Documents = dict[str, dict[str, Any]]

PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
ROLES = {
    "plan": "environment:plan",
    "data": "environment:data",
    "monitor": "ref:refs/heads/main",
    "sweep": "environment:runner",
    'deploy["staging"]': "environment:staging",
    'deploy["production"]': "environment:production",
}
# The same repository in the subjects of before July 2026, and in those of since.
FORMS = ["repo:Octo/model", "repo:Octo@11/model@22"]
STRANGERS = {
    "another repository": "repo:Octo/other",
    "another repository, by number": "repo:Octo@11/other@33",
    "a repository whose name starts the same": "repo:Octo/model-2",
    "a fork": "repo:Mallory/model",
    "a fork, by number": "repo:Mallory@99/model@88",
    "a new owner of the name": "repo:Octo@99/model@22",
    "a new repository of the name": "repo:Octo@11/model@88",
    "both anew": "repo:Octo@99/model@88",
    "half of the number form": "repo:Octo@11/model",
    "an owner named like the number form": "repo:Octo@11/model@22/x",
    "another case": "repo:octo/model",
    "another case, by number": "repo:Octo@11/Model@22",
    "no repository": "repo:",
    "a wildcard": "repo:*",
}
BAD_CONTEXTS = [
    "environment:test",
    "environment:Production",
    "environment:production-2",
    "environment:production:x",
    "environment:*",
    "environment:",
    "ref:refs/heads/main2",
    "ref:refs/heads/feature/main",
    "ref:refs/heads/x:environment:production",
    "ref:refs/heads/x:pull_request",
    "ref:refs/heads/*",
    "ref:refs/tags/main",
    "ref:refs/pull/1/merge",
    "pull_request",
    "pull_request_target",
    "pull_request:environment:production",
    "*",
    "",
]
# AWS knows nothing narrower for these: what they act on is found by listing, or has no name.
UNBOUND = {
    "cloudwatch:GetMetricStatistics": "*",
    "cloudwatch:PutMetricData": "*",
    "ec2:DescribeInstances": "*",
    "logs:DescribeLogGroups": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*",
}


@pytest.fixture(name="bootstrap_plan", scope="module")
def fixture_bootstrap_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the bootstrap would make."""
    return plan_offline(copy_infra(tmp_path_factory.mktemp("bootstrap")) / "bootstrap", BOOTSTRAP)


@pytest.fixture(name="bootstrap", scope="module")
def fixture_bootstrap(bootstrap_plan: dict[str, Any]) -> Documents:
    """The bootstrap's policies."""
    return read_documents(bootstrap_plan)


@pytest.fixture(name="root_plan", scope="module")
def fixture_root_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the root would make for staging."""
    infra = copy_infra(tmp_path_factory.mktemp("root"))
    (infra / "staging.tfvars").rename(infra / "staging.auto.tfvars")
    connection = f"arn:aws:events:{REGION}:{ACCOUNT}:connection/{NAME}-staging-retraining/0123-abcd"
    retraining = {"retrain_connection_arn": connection, "retrain_repository": "Octo/model"}
    return plan_offline(infra, {**COMMON, **retraining, "python_version": "3.11", "bundle_key": "first.zip"})


@pytest.fixture(name="root", scope="module")
def fixture_root(root_plan: dict[str, Any]) -> Documents:
    """The root's policies."""
    return read_documents(root_plan)


def list_trusting(documents: Documents, subject: str, audience: str = AUDIENCE) -> set[str]:
    """List the roles that let a subject in."""
    claims = {"sub": subject, "aud": audience}
    return {role for role in ROLES if trusts(documents[f"aws_iam_role.{role} assume_role_policy"], claims, PROVIDER)}


def list_statements(documents: Documents) -> list[tuple[str, dict[str, Any]]]:
    """List the statements of all documents that say what may be done."""
    return [
        (name, statement)
        for name, document in documents.items()
        if name.endswith(" policy")
        for statement in document["Statement"]
    ]


def listed(value: str | list[str]) -> list[str]:
    """List what a policy gives alone or as a list."""
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("role", ROLES)
def test_role_lets_in_its_own_subject_and_no_other_role_does(bootstrap: Documents, role: str, form: str) -> None:
    assert list_trusting(bootstrap, f"{form}:{ROLES[role]}") == {role}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_no_role_lets_in_a_stranger(bootstrap: Documents, stranger: str) -> None:
    for context in ROLES.values():
        assert list_trusting(bootstrap, f"{stranger}:{context}") == set()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context", BAD_CONTEXTS)
def test_no_role_lets_in_another_run_of_the_repository(bootstrap: Documents, context: str, form: str) -> None:
    assert list_trusting(bootstrap, f"{form}:{context}") == set()


@pytest.mark.parametrize("audience", ["https://github.com/Octo", "STS.amazonaws.com", "sts.amazonaws.com.cn", ""])
def test_no_role_lets_in_a_token_for_somebody_else(bootstrap: Documents, audience: str) -> None:
    for context in ROLES.values():
        assert list_trusting(bootstrap, f"{FORMS[0]}:{context}", audience) == set()


def test_no_role_lets_in_a_token_that_says_nothing(bootstrap: Documents) -> None:
    for role, context in ROLES.items():
        document = bootstrap[f"aws_iam_role.{role} assume_role_policy"]
        subject = f"{FORMS[0]}:{context}"

        assert not trusts(document, {"aud": AUDIENCE}, PROVIDER)
        assert not trusts(document, {"sub": subject}, PROVIDER)
        assert not trusts(document, {"sub": subject, "aud": AUDIENCE}, PROVIDER.replace("github", "example"))


def test_every_condition_on_a_token_is_exact(bootstrap: Documents) -> None:
    documents = [document for name, document in bootstrap.items() if name.endswith("assume_role_policy")]

    assert len(documents) == len(ROLES)
    for document in documents:
        for statement in document["Statement"]:
            assert set(statement["Condition"]) == {"StringEquals"}
            assert "*" not in json.dumps(statement)


@pytest.mark.parametrize("folder", ["bootstrap", "root"])
def test_no_policy_allows_a_wildcard_action(folder: str, request: pytest.FixtureRequest) -> None:
    statements = list_statements(request.getfixturevalue(folder))

    assert len(statements) > 5
    for name, statement in statements:
        if statement["Effect"] == "Allow":
            assert "NotAction" not in statement and "NotResource" not in statement, name
            assert not [action for action in listed(statement["Action"]) if "*" in action or "?" in action], name


@pytest.mark.parametrize(("folder", "buckets"), [("bootstrap", 1), ("root", 3)])
def test_every_bucket_denies_unencrypted_transport_and_nothing_else(
    folder: str, buckets: int, request: pytest.FixtureRequest
) -> None:
    statements = [statement for _, statement in list_statements(request.getfixturevalue(folder))]
    denied = [statement for statement in statements if statement["Effect"] == "Deny"]

    assert len(denied) == buckets
    for statement in denied:
        assert statement["Action"] == "s3:*"
        assert statement["Principal"] == "*"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert [resource.partition("/")[2] for resource in statement["Resource"]] in (["", "*"], ["*", ""])


@pytest.mark.parametrize("folder", ["bootstrap", "root"])
def test_policies_name_their_resources(folder: str, request: pytest.FixtureRequest) -> None:
    for name, statement in list_statements(request.getfixturevalue(folder)):
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        if set(actions) & set(UNBOUND):
            assert [UNBOUND[action] for action in actions] == resources, name
            continue
        # A machine has no name of ours; its tag binds it.
        if statement.get("Condition", {}).get("StringEquals", {}).get(f"aws:ResourceTag/{TAG}"):
            continue
        # What stands before the first wildcard is the full name of a thing of ours.
        for resource in resources:
            start = resource.partition("*")[0]
            assert f"{NAME}-" in start and start.endswith((resource, ":", "/")), (name, resource)


def test_deploy_of_one_environment_touches_nothing_of_the_other(bootstrap: Documents) -> None:
    for name, document in bootstrap.items():
        if "deploy_" in name and '["staging"]' in name:
            assert "production" not in json.dumps(document), name


def test_plan_and_monitor_change_nothing(bootstrap: Documents) -> None:
    actions = {
        role: {
            action
            for name, document in bootstrap.items()
            if f"policy.{role}" in name
            for action in list_actions(document)
        }
        for role in ("plan", "monitor")
    }

    assert actions["plan"] and not [
        action for action in actions["plan"] if not action.partition(":")[2].startswith(("Get", "List", "Describe"))
    ]
    assert actions["monitor"] == {"s3:ListBucket", "s3:GetObject", "cloudwatch:PutMetricData"}


def test_sweep_ends_machines_with_the_repositorys_tag_and_does_nothing_else(bootstrap: Documents) -> None:
    document = bootstrap["aws_iam_role_policy.sweep policy"]
    machine = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0"

    def may_end(resource: str, **tags: str) -> bool:
        conditions = {f"aws:ResourceTag/{key.replace('_', '-')}": [value] for key, value in tags.items()}
        return allows(document, "ec2:TerminateInstances", resource, conditions)

    assert list_actions(document) == {"ec2:DescribeInstances", "ec2:TerminateInstances"}
    assert may_end(machine, lifecycle_runner="Octo/model")
    assert not may_end(machine)
    assert not may_end(machine, lifecycle_runner="Octo/other")
    assert not may_end(machine, Name="Octo/model")
    assert not may_end(machine.replace(REGION, "us-east-1"), lifecycle_runner="Octo/model")


def test_plan_reads_no_data_no_model_and_no_prediction(bootstrap: Documents) -> None:
    document = bootstrap['aws_iam_role_policy.plan["production"] policy']

    for bucket in ("data", "bundles", "logs"):
        assert not allows(document, "s3:GetObject", f"arn:aws:s3:::{NAME}-production-{bucket}-{ACCOUNT}/x")
    assert allows(document, "s3:GetObject", f"arn:aws:s3:::{NAME}-state-{ACCOUNT}/production/terraform.tfstate")
    assert not allows(document, "s3:GetObject", f"arn:aws:s3:::{NAME}-state-{ACCOUNT}/bootstrap/terraform.tfstate")


def test_data_role_reaches_the_store_and_deletes_nothing(bootstrap: Documents) -> None:
    document = bootstrap["aws_iam_role_policy.data policy"]
    bucket = f"arn:aws:s3:::{NAME}-production-data-{ACCOUNT}"

    assert allows(document, "s3:PutObject", f"{bucket}/dvc/files/md5/00/11")
    assert not allows(document, "s3:PutObject", f"{bucket}/other/x")
    assert not allows(document, "s3:DeleteObject", f"{bucket}/dvc/files/md5/00/11")
    assert allows(document, "s3:ListBucket", bucket, {"s3:prefix": "dvc/files/md5/00"})
    assert not allows(document, "s3:ListBucket", bucket, {"s3:prefix": "other/"})
    assert not allows(document, "s3:ListBucket", bucket)


def test_deploy_makes_no_role_without_the_boundary(bootstrap: Documents) -> None:
    document = bootstrap['aws_iam_role_policy.deploy_shape["staging"] policy']
    role = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-staging-function"
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/{NAME}-staging-boundary"

    for action in ("iam:CreateRole", "iam:PutRolePolicy"):
        assert allows(document, action, role, {"iam:PermissionsBoundary": boundary})
        assert not allows(document, action, role)
        assert not allows(
            document, action, role, {"iam:PermissionsBoundary": boundary.replace("staging", "production")}
        )
        assert not allows(document, action, f"{role}-2", {"iam:PermissionsBoundary": boundary})
    assert not allows(document, "iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})
    assert not {action for action in list_actions(document) if "Delete" in action} - {"s3:DeleteObject"}


def test_boundary_allows_what_the_roles_within_it_need(bootstrap: Documents, root: Documents) -> None:
    boundary = bootstrap['aws_iam_policy.boundary["staging"] policy']
    needed = [statement for name, statement in list_statements(root) if name.startswith("aws_iam_role_policy")]

    assert len(needed) == 5
    for statement in needed:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                assert allows(boundary, action, resource), (action, resource)


def test_inline_policies_fit_into_a_role(bootstrap_plan: dict[str, Any], bootstrap: Documents) -> None:
    sizes: dict[str, int] = {}
    for address, values in read_planned(bootstrap_plan).items():
        if address.startswith("aws_iam_role_policy."):
            text = json.dumps(bootstrap[f"{address} policy"], separators=(",", ":"))
            role = values.get("role") or address
            sizes[role] = sizes.get(role, 0) + len(text)

    # AWS counts no spaces: 10,240 characters for all inline policies of a role.
    assert len(sizes) >= len(ROLES)
    assert max(sizes.values()) < 10_240


@pytest.mark.parametrize(
    ("address", "attribute", "action", "arn"),
    [
        ("aws_s3_bucket.data", "bucket", "s3:CreateBucket", "arn:aws:s3:::{}"),
        ("aws_s3_bucket.bundles", "bucket", "s3:CreateBucket", "arn:aws:s3:::{}"),
        ("aws_s3_bucket.logs", "bucket", "s3:CreateBucket", "arn:aws:s3:::{}"),
        (
            "aws_lambda_function.model",
            "function_name",
            "lambda:CreateFunction",
            "arn:aws:lambda:{region}:function:{}",
        ),
        ("aws_iam_role.function", "name", "iam:PassRole", "arn:aws:iam::{account}:role/{}"),
        ("aws_iam_role.delivery", "name", "iam:PassRole", "arn:aws:iam::{account}:role/{}"),
        ("aws_iam_role.subscription", "name", "iam:PassRole", "arn:aws:iam::{account}:role/{}"),
        ("aws_cloudwatch_log_group.function", "name", "logs:CreateLogGroup", "arn:aws:logs:{region}:log-group:{}"),
        (
            "aws_kinesis_firehose_delivery_stream.predictions",
            "name",
            "firehose:CreateDeliveryStream",
            "arn:aws:firehose:{region}:deliverystream/{}",
        ),
        (
            "aws_cloudwatch_metric_alarm.errors",
            "alarm_name",
            "cloudwatch:PutMetricAlarm",
            "arn:aws:cloudwatch:{region}:alarm:{}",
        ),
        (
            "aws_cloudwatch_metric_alarm.latency",
            "alarm_name",
            "cloudwatch:PutMetricAlarm",
            "arn:aws:cloudwatch:{region}:alarm:{}",
        ),
        (
            "aws_cloudwatch_metric_alarm.live_error",
            "alarm_name",
            "cloudwatch:PutMetricAlarm",
            "arn:aws:cloudwatch:{region}:alarm:{}",
        ),
        (
            "aws_cloudwatch_dashboard.model",
            "dashboard_name",
            "cloudwatch:PutDashboard",
            "arn:aws:cloudwatch::{account}:dashboard/{}",
        ),
        ("aws_sns_topic.alarms", "name", "sns:CreateTopic", "arn:aws:sns:{region}:{}"),
        ("aws_iam_role.retraining[0]", "name", "iam:PassRole", "arn:aws:iam::{account}:role/{}"),
        ("aws_cloudwatch_event_rule.retraining[0]", "name", "events:PutRule", "arn:aws:events:{region}:rule/{}"),
        (
            "aws_cloudwatch_event_api_destination.retraining[0]",
            "name",
            "events:CreateApiDestination",
            "arn:aws:events:{region}:api-destination/{}",
        ),
    ],
)
def test_deploy_is_allowed_what_the_root_names(
    bootstrap: Documents, root_plan: dict[str, Any], address: str, attribute: str, action: str, arn: str
) -> None:
    name = read_planned(root_plan)[address][attribute]
    resource = arn.format(name, region=f"{REGION}:{ACCOUNT}", account=ACCOUNT)
    document = bootstrap['aws_iam_role_policy.deploy_shape["staging"] policy']

    assert allows(document, action, resource, {"iam:PassedToService": "lambda.amazonaws.com"})


def test_events_of_one_rule_alone_start_retraining_and_reach_one_destination_alone(
    bootstrap: Documents, root: Documents
) -> None:
    trust, own = (
        root[f"aws_iam_role{name}"] for name in (".retraining[0] assume_role_policy", "_policy.retraining[0] policy")
    )
    boundary = bootstrap['aws_iam_policy.boundary["staging"] policy']
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{NAME}-staging-retraining"
    destination = f"arn:aws:events:{REGION}:{ACCOUNT}:api-destination/{NAME}-staging-retraining"

    def lets_in(source: str | None, service: str = "events.amazonaws.com") -> bool:
        context = {"aws:SourceArn": source} if source else {}
        return allows(trust, "sts:AssumeRole", context=context, principal=("Service", service))

    assert lets_in(rule)
    assert not lets_in(None) and not lets_in(f"{rule}-2") and not lets_in(rule, "lambda.amazonaws.com")
    for document in (own, boundary):
        # AWS writes a number of its own behind the name, or leaves it out.
        for named in (destination, f"{destination}/0123-abcd"):
            assert allows(document, "events:InvokeApiDestination", named)
        assert not allows(document, "events:InvokeApiDestination", f"{destination}-2")


def test_deploy_touches_no_connection_but_to_lead_its_own_to_its_destination(bootstrap: Documents) -> None:
    document = bootstrap['aws_iam_role_policy.deploy_shape["staging"] policy']
    connection = f"arn:aws:events:{REGION}:{ACCOUNT}:connection/{NAME}-staging-retraining"

    assert allows(document, "events:CreateApiDestination", f"{connection}/0123-abcd")
    assert not allows(document, "events:CreateApiDestination", connection.replace("staging", "production"))
    for action in ("events:CreateConnection", "events:UpdateConnection", "events:DeauthorizeConnection"):
        assert not allows(document, action, connection)


def test_monitor_reads_where_the_root_writes_and_reports_where_its_alarm_looks(
    bootstrap: Documents, root_plan: dict[str, Any]
) -> None:
    planned = read_planned(root_plan)
    document = bootstrap["aws_iam_role_policy.monitor policy"]
    bucket = planned["aws_s3_bucket.logs"]["bucket"]
    prefix = planned["aws_kinesis_firehose_delivery_stream.predictions"]["extended_s3_configuration"][0]["prefix"]
    namespace = planned["aws_cloudwatch_metric_alarm.live_error"]["namespace"]

    assert allows(document, "s3:GetObject", f"arn:aws:s3:::{bucket}/{prefix}x.gz")
    assert allows(document, "s3:GetObject", f"arn:aws:s3:::{bucket}/labels/day=2026-11-20/x.gz")
    assert not allows(document, "s3:GetObject", f"arn:aws:s3:::{bucket}/failures/x.gz")
    for prefix, allowed in {
        "predictions/": True,
        "labels/day=2026-11-20/": True,
        "failures/": False,
        "": False,
    }.items():
        assert allows(document, "s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": prefix}) is allowed
    assert allows(document, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})
    assert not allows(document, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Lambda"})
