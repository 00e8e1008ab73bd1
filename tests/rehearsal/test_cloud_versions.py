"""The cloud on loopback refuses what AWS refuses of versions and aliases, in AWS's words."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.server import Cloud, serve_cloud
from tests.rehearsal.clouds import HANDLER, create_function, pack

STALE = "PreconditionFailedException.*The Revision Id provided does not match the latest Revision Id"


@pytest.fixture(scope="module", name="cloud")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Serve a cloud."""
    with serve_cloud(tmp_path_factory.mktemp("cloud"), in_background=False) as served:
        yield served


@pytest.fixture(scope="module", name="client")
def fixture_client(cloud: Cloud) -> Any:
    """Create a function with three versions and an alias."""
    client = create_function(cloud, "model")
    for number in (2, 3):
        client.update_function_code(FunctionName="model", ZipFile=pack(f"{HANDLER}# {number}"), Publish=True)
    client.create_alias(FunctionName="model", Name="live", FunctionVersion="1")
    return client


@pytest.mark.parametrize(
    ("version", "weights", "code", "said"),
    [
        ("1", {"2": 1.5}, "ValidationException", "Member must have value less than or equal to 1.0"),
        ("1", {"2": -0.1}, "ValidationException", "Member must have value greater than or equal to 0.0"),
        ("1", {"live": 0.1}, "ValidationException", "Member must satisfy regular expression pattern"),
        ("$LATEST", {"2": 0.1}, "InvalidParameterValueException", "is not supported for an alias pointing to more"),
        ("1", {"$LATEST": 0.1}, "ValidationException", "Member must satisfy regular expression pattern"),
        ("1", {"1": 0.1}, "InvalidParameterValueException", "is already included in routing configuration"),
        ("1", {"2": 0.1, "3": 0.1}, "InvalidParameterValueException", "cannot be greater than 1"),
        ("1", {"9": 0.1}, "ResourceNotFoundException", "Function not found: .*function:model:9"),
        ("9", {}, "ResourceNotFoundException", "Function not found: .*function:model:9"),
        ("live", {}, "ResourceNotFoundException", "Function not found: .*function:model:live"),
    ],
)
def test_alias_that_aws_refuses_is_refused(
    client: Any, version: str, weights: dict[str, float], code: str, said: str
) -> None:
    asked = {"FunctionName": "model", "FunctionVersion": version}
    asked["RoutingConfig"] = {"AdditionalVersionWeights": weights}

    for call, name in ((client.update_alias, "live"), (client.create_alias, "other")):
        with pytest.raises(ClientError, match=said) as refused:
            call(**asked, Name=name)
        assert refused.value.response["Error"]["Code"] == code

    alias = client.get_alias(FunctionName="model", Name="live")
    assert (alias["FunctionVersion"], alias.get("RoutingConfig")) == ("1", None)


def test_alias_takes_weights_and_loses_them(client: Any) -> None:
    client.create_alias(FunctionName="model", Name="moving", FunctionVersion="1")
    asked = {"FunctionName": "model", "Name": "moving"}

    weighted = client.update_alias(**asked, RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    cleared = client.update_alias(**asked, FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})

    assert weighted["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}
    assert weighted["FunctionVersion"] == "1"
    assert (cleared["FunctionVersion"], cleared.get("RoutingConfig")) == ("2", None)


def test_alias_that_weighs_a_version_cannot_be_pointed_at_it(client: Any) -> None:
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    client.create_alias(FunctionName="model", Name="heavy", FunctionVersion="1", RoutingConfig=weights)

    with pytest.raises(ClientError, match="already included in routing configuration"):
        client.update_alias(FunctionName="model", Name="heavy", FunctionVersion="2")


def test_alias_that_somebody_else_changed_is_left_alone(client: Any) -> None:
    asked = {"FunctionName": "model", "Name": "shared"}
    read = client.create_alias(**asked, FunctionVersion="1")
    written = client.update_alias(**asked, FunctionVersion="2", RevisionId=read["RevisionId"])

    with pytest.raises(ClientError, match=STALE):
        client.update_alias(**asked, FunctionVersion="3", RevisionId=read["RevisionId"])

    assert client.get_alias(**asked)["FunctionVersion"] == "2"
    assert client.update_alias(**asked, Description="x", RevisionId=written["RevisionId"])["FunctionVersion"] == "2"


def test_alias_is_created_once(client: Any) -> None:
    with pytest.raises(ClientError, match="ResourceConflictException.*Alias already exists: .*function:model:live"):
        client.create_alias(FunctionName="model", Name="live", FunctionVersion="1")


def test_version_that_an_alias_points_to_is_not_deleted(client: Any) -> None:
    with pytest.raises(ClientError, match="ResourceConflictException.*aliases reference it"):
        client.delete_function(FunctionName="model", Qualifier="1")


def test_unchanged_code_is_published_once(cloud: Cloud) -> None:
    client = create_function(cloud, "same")

    client.update_function_code(FunctionName="same", ZipFile=pack())
    again = client.publish_version(FunctionName="same")["Version"]
    client.update_function_configuration(FunctionName="same", Timeout=9)
    configured = client.publish_version(FunctionName="same", Description="slow")

    assert (again, configured["Version"], configured["Description"]) == ("1", "2", "slow")
    assert client.get_function_configuration(FunctionName="same", Qualifier="1")["Timeout"] == 3


def test_number_of_a_deleted_version_is_not_given_again(cloud: Cloud) -> None:
    client = create_function(cloud, "numbers")
    client.update_function_code(FunctionName="numbers", ZipFile=pack(f"{HANDLER}# 2"), Publish=True)
    client.delete_function(FunctionName="numbers", Qualifier="2")

    published = client.update_function_code(FunctionName="numbers", ZipFile=pack(f"{HANDLER}# 3"), Publish=True)

    assert published["Version"] == "3"


def test_publishing_holds_to_the_hash_and_the_revision_that_were_asked_for(cloud: Cloud) -> None:
    client = create_function(cloud, "exact")
    read = client.get_function_configuration(FunctionName="exact")
    updated = client.update_function_code(
        FunctionName="exact", ZipFile=pack(f"{HANDLER}# 2"), RevisionId=read["RevisionId"]
    )

    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*CodeSHA256 \(.*\) is different"):
        client.publish_version(FunctionName="exact", CodeSha256=read["CodeSha256"])
    with pytest.raises(ClientError, match=STALE):
        client.publish_version(FunctionName="exact", RevisionId=read["RevisionId"])
    with pytest.raises(ClientError, match=STALE):
        client.update_function_code(FunctionName="exact", ZipFile=pack(), RevisionId=read["RevisionId"])
    published = client.publish_version(
        FunctionName="exact", CodeSha256=updated["CodeSha256"], RevisionId=updated["RevisionId"]
    )

    assert published["Version"] == "2"
    assert published["CodeSha256"] == updated["CodeSha256"]
