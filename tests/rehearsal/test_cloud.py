"""The cloud on loopback runs the zip file that was deployed, by version and by alias, and fails as Lambda does."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import HANDLER, create_function, invoke, make_client, pack


@pytest.fixture(scope="module", name="cloud")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Serve a cloud whose draws are the same each time."""
    with serve_cloud(tmp_path_factory.mktemp("cloud"), seed=7) as served:
        yield served


def publish_other(client: Any, name: str) -> str:
    """Publish another version of a function."""
    client.update_function_code(FunctionName=name, ZipFile=pack(f"{HANDLER}\n# {time.monotonic_ns()}"))
    return client.publish_version(FunctionName=name)["Version"]


def send(cloud: Cloud, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any, Any]:
    """Send a request to a function's address."""
    connection = http.client.HTTPConnection(urlsplit(cloud.front).netloc, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(content)


def test_version_that_is_named_answers(cloud: Cloud) -> None:
    client = create_function(cloud, "versions", Environment={"Variables": {"MARK": "first"}})
    client.update_function_configuration(FunctionName="versions", Environment={"Variables": {"MARK": "second"}})
    second = client.publish_version(FunctionName="versions")["Version"]

    answers = [invoke(client, "versions", qualifier, n=1) for qualifier in ("1", second, "$LATEST", "1")]

    assert [answer["ExecutedVersion"] for answer, _ in answers] == ["1", "2", "$LATEST", "1"]
    assert [payload["mark"] for _, payload in answers] == ["first", "second", "second", "first"]
    assert all(payload["event"] == {"n": 1} for _, payload in answers)
    assert "FunctionError" not in answers[0][0]


def test_function_finds_the_runtime_and_nothing_else_of_this_machine(cloud: Cloud) -> None:
    client = create_function(cloud, "alone", f"import numpy\n{HANDLER}")

    answer, payload = invoke(client, "alone")

    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert "Unable to import module 'handler': No module named 'numpy'" in payload["errorMessage"]


def test_alias_sends_the_share_that_its_weight_says_to_the_canary(cloud: Cloud) -> None:
    client = create_function(cloud, "shares")
    publish_other(client, "shares")
    routing = {"AdditionalVersionWeights": {"2": 0.1}}
    client.create_alias(FunctionName="shares", Name="live", FunctionVersion="1", RoutingConfig=routing)
    started = time.perf_counter()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: invoke(client, "shares", "live", n=n), range(1000)))

    print(f"{time.perf_counter() - started:.1f} ms a warm call, four callers")
    versions = Counter(answer["ExecutedVersion"] for answer, _ in answers)
    assert 70 <= versions["2"] <= 130
    assert versions["1"] + versions["2"] == 1000
    assert all(answer["ExecutedVersion"] == payload["version"] for answer, payload in answers)


def test_concurrent_calls_get_their_own_answers(cloud: Cloud) -> None:
    client = create_function(cloud, "crowd")
    publish_other(client, "crowd")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: (n, invoke(client, "crowd", str(1 + n % 2), n=n)[1]), range(160)))

    assert all(payload["event"]["n"] == n and payload["version"] == str(1 + n % 2) for n, payload in answers)


@pytest.mark.parametrize(
    ("event", "kind", "said"),
    [
        ({"raise": "no such place"}, "ValueError", "no such place"),
        ({"exit": 3}, "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        ({"exit": 0}, "Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        ({"kill": True}, "Runtime.ExitError", "Error: Runtime exited with error: signal: killed"),
        ({"sleep": 5}, "Sandbox.Timedout", "Error: Task timed out after 1.00 seconds"),
    ],
    ids=["raises", "exits", "ends", "killed", "late"],
)
def test_function_that_fails_says_so_and_answers_the_next_call(
    cloud: Cloud, event: dict[str, Any], kind: str, said: str, request: pytest.FixtureRequest
) -> None:
    name = f"failing-{request.node.callspec.id}"
    client = create_function(cloud, name, Timeout=1)

    answer, payload = invoke(client, name, "1", **event)
    following, _ = invoke(client, name, "1")

    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == kind
    assert said in payload["errorMessage"]
    assert "FunctionError" not in following
    assert [call.error for call in cloud.invocations if call.function == name] == [kind, None]


def test_zip_file_that_cannot_be_unpacked_is_refused_and_the_former_code_stays(cloud: Cloud) -> None:
    client = create_function(cloud, "corrupted")
    broken = bytearray(pack())
    broken[60] ^= 0xFF

    with pytest.raises(ClientError, match="InvalidParameterValueException.*Could not unzip uploaded file"):
        client.update_function_code(FunctionName="corrupted", ZipFile=bytes(broken))

    assert invoke(client, "corrupted")[1]["version"] == "$LATEST"


def test_code_comes_from_a_bucket_and_must_be_there(cloud: Cloud) -> None:
    client, buckets = create_function(cloud, "stored"), make_client(cloud, "s3")
    buckets.create_bucket(Bucket="bundles", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    buckets.put_object(Bucket="bundles", Key="two.zip", Body=pack("def answer(event, context):\n    return 2\n"))

    with pytest.raises(ClientError, match="S3 Error Code: NoSuchKey"):
        client.update_function_code(FunctionName="stored", S3Bucket="bundles", S3Key="three.zip")
    client.update_function_code(FunctionName="stored", S3Bucket="bundles", S3Key="two.zip", Publish=True)

    assert [invoke(client, "stored", version)[1] for version in ("2", "$LATEST")] == [2, 2]


def test_function_that_may_not_run_is_throttled(cloud: Cloud) -> None:
    client = create_function(cloud, "stopped")
    client.put_function_concurrency(FunctionName="stopped", ReservedConcurrentExecutions=0)

    with pytest.raises(ClientError, match="TooManyRequestsException.*Rate Exceeded"):
        invoke(client, "stopped")


def test_unknown_qualifier_is_not_found(cloud: Cloud) -> None:
    client = create_function(cloud, "known")

    with pytest.raises(ClientError, match=r"ResourceNotFoundException.*Function not found: .*function:known:live"):
        invoke(client, "known", "live")


def test_address_of_an_alias_answers_http(cloud: Cloud) -> None:
    source = (
        "def answer(event, context):\n"
        "    if event['rawPath'] == '/fail':\n"
        "        raise KeyError('x')\n"
        "    return {'statusCode': 201, 'headers': {'X-Path': event['rawPath']}, 'cookies': ['a=1'],\n"
        "            'body': __import__('json').dumps(event)}\n"
    )
    client = create_function(cloud, "address", source)
    client.create_alias(FunctionName="address", Name="live", FunctionVersion="1")

    status, headers, event = send(cloud, "POST", "/address/live/predict/a?x=1&x=2", "{}", Content_Type="text/json")

    assert (status, headers["X-Path"], headers["Set-Cookie"]) == (201, "/predict/a", "a=1")
    assert (event["version"], event["body"], event["isBase64Encoded"]) == ("2.0", "{}", False)
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["requestContext"]["http"]["method"] == "POST"
    assert send(cloud, "GET", "/address/live/")[2]["rawPath"] == "/"
    assert send(cloud, "GET", "/address/live/fail")[0] == 502
    assert send(cloud, "GET", "/address/other/")[0] == 404


def test_address_with_access_control_is_closed_to_strangers(cloud: Cloud) -> None:
    client = create_function(cloud, "closed")
    client.create_alias(FunctionName="closed", Name="live", FunctionVersion="1")

    config = client.create_function_url_config(FunctionName="closed", Qualifier="live", AuthType="AWS_IAM")

    assert config["FunctionUrl"] == f"{cloud.front}/closed/live/"
    assert send(cloud, "GET", "/closed/live/")[0] == 403
