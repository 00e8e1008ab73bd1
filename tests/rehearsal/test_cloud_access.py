"""The cloud on loopback refuses a role what its policies do not allow, and says what was missing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import HANDLER, create_function, create_role, invoke, make_client, pack

EVENTS = "arn:aws:events:eu-central-1:123456789012"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:model"
Credentials = Mapping[str, str]


@pytest.fixture(scope="module", name="cloud")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Serve a cloud with a function, an alias, a bucket with an object, and an alarm."""
    with serve_cloud(tmp_path_factory.mktemp("cloud"), in_background=False) as served:
        client, bucket = create_function(served, "model"), make_client(served, "s3")
        client.create_alias(FunctionName="model", Name="live", FunctionVersion="1")
        bucket.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        bucket.put_object(Bucket="data", Key="store/one", Body=b"1")
        yield served


def make_statement(actions: str, *resources: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """Make a policy's statement."""
    return {"Effect": effect, "Action": actions.split(), "Resource": list(resources), **more}


def assume(cloud: Cloud, name: str, *statements: dict[str, Any]) -> Credentials:
    """Create a role with a policy, and take its keys."""
    role = create_role(cloud, name, {"Version": "2012-10-17", "Statement": list(statements)})
    return make_client(cloud, "sts").assume_role(RoleArn=role, RoleSessionName="run")["Credentials"]


@pytest.fixture(scope="module", name="nobody")
def fixture_nobody(cloud: Cloud) -> Credentials:
    """Take the keys of a role that may do nothing."""
    return assume(cloud, "nobody", make_statement("dynamodb:GetItem", "*"))


def test_role_does_what_its_policy_allows_and_no_more(cloud: Cloud) -> None:
    role = assume(
        cloud,
        "deploy",
        make_statement("lambda:GetAlias lambda:UpdateFunctionCode lambda:PublishVersion", FUNCTION),
        make_statement("lambda:InvokeFunction", f"{FUNCTION}:*"),
    )
    client = make_client(cloud, "lambda", role)

    client.update_function_code(FunctionName="model", ZipFile=pack(f"{HANDLER}# 2"))
    client.publish_version(FunctionName="model")
    client.get_alias(FunctionName="model", Name="live")
    _, payload = invoke(client, "model", "live")
    with pytest.raises(ClientError) as refused:
        client.update_alias(FunctionName="model", Name="live", FunctionVersion="2")

    assert payload["version"] == "1"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refused.value.response["Error"]["Message"] == (
        "User: arn:aws:sts::123456789012:assumed-role/deploy/run is not authorized to perform: lambda:UpdateAlias "
        f"on resource: {FUNCTION} because no identity-based policy allows the lambda:UpdateAlias action"
    )
    assert cloud.guard.refusals[-1] == refused.value.response["Error"]["Message"]
    assert make_client(cloud, "lambda").get_alias(FunctionName="model", Name="live")["FunctionVersion"] == "1"


@pytest.mark.parametrize(
    ("service", "call", "arguments", "missing"),
    [
        ("lambda", "get_function", {"FunctionName": "model"}, "lambda:GetFunction on resource"),
        ("lambda", "get_function_configuration", {"FunctionName": "model"}, "lambda:GetFunctionConfiguration on"),
        ("lambda", "invoke", {"FunctionName": "model"}, f"lambda:InvokeFunction on resource: {FUNCTION} "),
        ("lambda", "list_versions_by_function", {"FunctionName": "model"}, "lambda:ListVersionsByFunction on"),
        ("lambda", "delete_function", {"FunctionName": "model"}, "lambda:DeleteFunction on resource"),
        (
            "lambda",
            "put_function_concurrency",
            {"FunctionName": "model", "ReservedConcurrentExecutions": 1},
            "lambda:PutFunctionConcurrency on resource",
        ),
        (
            "s3",
            "get_object",
            {"Bucket": "data", "Key": "store/one"},
            "s3:GetObject on resource: arn:aws:s3:::data/",
        ),
        ("s3", "put_object", {"Bucket": "data", "Key": "a", "Body": b"1"}, "s3:PutObject on resource"),
        ("s3", "delete_object", {"Bucket": "data", "Key": "store/one"}, "s3:DeleteObject on resource"),
        ("s3", "list_objects_v2", {"Bucket": "data"}, "s3:ListBucket on resource: arn:aws:s3:::data "),
        ("s3", "get_bucket_versioning", {"Bucket": "data"}, "s3:GetBucketVersioning on resource"),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["errors"]}, "cloudwatch:DescribeAlarms on .*:alarm:errors"),
        ("cloudwatch", "put_metric_data", {"Namespace": "a", "MetricData": []}, "cloudwatch:PutMetricData because"),
        (
            "logs",
            "filter_log_events",
            {"logGroupName": "/aws/lambda/model"},
            "logs:FilterLogEvents on .*/model",
        ),
        ("iam", "list_roles", {}, "iam:ListRoles because"),
        ("events", "describe_rule", {"Name": "one"}, "events:DescribeRule on .*:rule/one "),
        ("events", "list_targets_by_rule", {"Rule": "one"}, "events:ListTargetsByRule on .*:rule/one "),
        (
            "events",
            "describe_api_destination",
            {"Name": "one"},
            "events:DescribeApiDestination on .*:api-destination/one ",
        ),
        (
            "sts",
            "assume_role",
            {"RoleArn": "arn:aws:iam::123456789012:role/other", "RoleSessionName": "it"},
            "sts:AssumeRole on resource: arn:aws:iam::123456789012:role/other",
        ),
    ],
)
def test_refusal_names_the_action_in_every_protocol(
    cloud: Cloud, nobody: Credentials, service: str, call: str, arguments: dict[str, Any], missing: str
) -> None:
    client = make_client(cloud, service, nobody)

    with pytest.raises(ClientError, match=f"AccessDenied.*is not authorized to perform: {missing}") as refused:
        getattr(client, call)(**arguments)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_role_reads_what_it_may_in_every_protocol(cloud: Cloud) -> None:
    role = assume(
        cloud,
        "reader",
        make_statement("s3:GetObject", "arn:aws:s3:::data/store/*"),
        make_statement("s3:ListBucket", "arn:aws:s3:::data"),
        make_statement("cloudwatch:DescribeAlarms", "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:errors"),
        make_statement("logs:FilterLogEvents", "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/model"),
        make_statement(
            "cloudwatch:PutMetricData", "*", Condition={"StringEquals": {"cloudwatch:namespace": "Models/one"}}
        ),
    )
    watch = make_client(cloud, "cloudwatch", role)
    bucket = make_client(cloud, "s3", role)
    data = [{"MetricName": "live_error", "Value": 1}]

    assert bucket.get_object(Bucket="data", Key="store/one")["Body"].read() == b"1"
    assert bucket.list_objects_v2(Bucket="data")["KeyCount"] == 1
    watch.describe_alarms(AlarmNames=["errors"])
    watch.put_metric_data(Namespace="Models/one", MetricData=data)
    make_client(cloud, "logs", role).filter_log_events(logGroupName="/aws/lambda/model")
    assert make_client(cloud, "sts", role).get_caller_identity()["Arn"].endswith("assumed-role/reader/run")
    with pytest.raises(ClientError, match="cloudwatch:PutMetricData"):
        watch.put_metric_data(Namespace="Models/two", MetricData=data)
    with pytest.raises(ClientError, match="cloudwatch:DescribeAlarms"):
        watch.describe_alarms()


def test_attached_policy_and_boundary_hold(cloud: Cloud) -> None:
    iam = make_client(cloud, "iam")
    documents = {
        "all": make_statement("s3:*", "*"),
        "least": make_statement("s3:GetObject", "arn:aws:s3:::data/*"),
    }
    arns = {
        name: iam.create_policy(
            PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement})
        )["Policy"]["Arn"]
        for name, statement in documents.items()
    }
    trust = '{"Version":"2012-10-17","Statement":[]}'
    role = iam.create_role(RoleName="bounded", AssumeRolePolicyDocument=trust, PermissionsBoundary=arns["least"])[
        "Role"
    ]
    iam.attach_role_policy(RoleName="bounded", PolicyArn=arns["all"])
    keys = make_client(cloud, "sts").assume_role_with_web_identity(
        RoleArn=role["Arn"], RoleSessionName="run", WebIdentityToken="a-token-that-proves-nothing"
    )["Credentials"]
    bucket = make_client(cloud, "s3", keys)

    bucket.get_object(Bucket="data", Key="store/one")
    with pytest.raises(ClientError, match="no permissions boundary allows the s3:DeleteObject action"):
        bucket.delete_object(Bucket="data", Key="store/one")


def test_function_has_its_own_role(cloud: Cloud) -> None:
    source = (
        "import os\nimport urllib.request\ndef answer(event, context):\n    return os.environ['AWS_ACCESS_KEY_ID']\n"
    )
    client = create_function(cloud, "own", source)

    _, key = invoke(client, "own")

    with pytest.raises(ClientError, match="security token included in the request is invalid"):
        make_client(cloud, "s3", {"AccessKeyId": key, "SecretAccessKey": "x"}).list_buckets()


def test_account_itself_may_be_kept_out(cloud: Cloud) -> None:
    role = create_role(cloud, "entrance")
    cloud.guard.root_allowed = False
    try:
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            make_client(cloud, "s3").list_buckets()
        make_client(cloud, "sts").assume_role(RoleArn=role, RoleSessionName="run")
    finally:
        cloud.guard.root_allowed = True

    make_client(cloud, "s3").list_buckets()


def test_what_the_evaluator_does_not_know_is_refused(cloud: Cloud) -> None:
    unknown = {"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}
    bucket = make_client(cloud, "s3", assume(cloud, "odd", unknown))

    with pytest.raises(ClientError, match="this evaluator does not know NotAction"):
        bucket.list_objects_v2(Bucket="data")


@pytest.mark.parametrize(
    ("condition", "missing"),
    [({}, "lambda:TagResource"), ({"iam:PassedToService": "ec2.amazonaws.com"}, "iam:PassRole")],
)
def test_creating_a_function_asks_to_tag_it_and_to_pass_its_role(
    cloud: Cloud, condition: dict[str, str], missing: str
) -> None:
    role = create_role(cloud, f"passed-{len(condition)}")
    asked = {"Code": {"ZipFile": pack()}, "Handler": "handler.answer", "Role": role, "Runtime": "python3.11"}
    allowed = "lambda:CreateFunction" if not condition else "lambda:CreateFunction lambda:TagResource"
    pass_role = make_statement("iam:PassRole", role, Condition={"StringEquals": condition})
    keys = assume(cloud, f"maker-{len(condition)}", make_statement(allowed, f"{FUNCTION}-2"), pass_role)

    with pytest.raises(ClientError, match=f"not authorized to perform: {missing}"):
        make_client(cloud, "lambda", keys).create_function(FunctionName="model-2", Tags={"a": "b"}, **asked)

    assert [wanted.action for wanted in cloud.guard.asked[f"maker-{len(condition)}"]][-1] == missing


@pytest.mark.parametrize(
    ("call", "arguments", "missing"),
    [
        ("put_rule", {"Name": "one", "Tags": [{"Key": "a", "Value": "b"}]}, "events:TagResource on .*:rule/one "),
        (
            "put_targets",
            {
                "Rule": "one",
                "Targets": [{"Id": "1", "Arn": "arn:b"}, {"Id": "2", "Arn": "arn:a", "RoleArn": "arn:r"}],
            },
            "iam:PassRole on resource: arn:r ",
        ),
        (
            "create_api_destination",
            {"Name": "two", "ConnectionArn": f"{EVENTS}:connection/key/1", "HttpMethod": "POST"},
            f"events:CreateApiDestination on resource: {EVENTS}:connection/key/1 ",
        ),
        (
            "describe_api_destination",
            {"Name": "known"},
            f"events:DescribeApiDestination on resource: {EVENTS}:connection/known/",
        ),
    ],
)
def test_rules_and_destinations_ask_for_more_than_themselves(
    cloud: Cloud, call: str, arguments: dict[str, Any], missing: str
) -> None:
    events = make_client(cloud, "events")
    connection = events.create_connection(Name="known", AuthorizationType="API_KEY", AuthParameters={})
    events.create_api_destination(
        Name="known", ConnectionArn=connection["ConnectionArn"], InvocationEndpoint="https://a.b", HttpMethod="POST"
    )
    own = (
        ("events:PutRule events:PutTargets", f"{EVENTS}:rule/*"),
        (
            "events:CreateApiDestination events:DescribeApiDestination",
            f"{EVENTS}:api-destination/*",
        ),
    )
    keys = assume(cloud, f"leads-{call}", *(make_statement(*one) for one in own))

    with pytest.raises(ClientError, match=f"not authorized to perform: {missing}"):
        getattr(make_client(cloud, "events", keys), call)(**arguments)


def test_services_act_in_the_name_of_the_role_that_they_were_given(cloud: Cloud) -> None:
    create_function(cloud, "mute")
    keys = assume(cloud, "caller", make_statement("lambda:InvokeFunction", "*"))
    cloud.guard.root_allowed = False
    try:
        invoke(make_client(cloud, "lambda", keys), "mute", say="x")
    finally:
        cloud.guard.root_allowed = True

    assert "logs:CreateLogStream" in [wanted.action for wanted in cloud.guard.asked["mute"]]
    assert any(
        "role/mute is not authorized to perform: logs:CreateLogStream" in text for text in cloud.guard.refusals
    )
    with pytest.raises(ClientError, match="ResourceNotFound"):
        make_client(cloud, "logs").filter_log_events(logGroupName="/aws/lambda/mute")
