"""The evaluator of policies decides as AWS documents it."""

from typing import Any

import pytest

from lifecycle.errors import MisuseError
from rehearsal.policy import allows, explain_refusal, trusts

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
SUB = "token.actions.githubusercontent.com:sub"


def make_document(*statements: dict[str, Any]) -> dict[str, Any]:
    """Make a policy of statements that allow reading of one object, if they say nothing else."""
    usual = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::store/a"}
    return {"Version": "2012-10-17", "Statement": [{**usual, **statement} for statement in statements]}


def make_trust(condition: dict[str, Any], principal: Any = None) -> dict[str, Any]:
    """Make a trust policy."""
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": principal or {"Federated": PROVIDER},
        "Condition": condition,
    }
    return {"Version": "2012-10-17", "Statement": statement}


def test_nothing_is_allowed_unless_it_is_said() -> None:
    document = make_document({})

    assert allows(document, "s3:GetObject", "arn:aws:s3:::store/a")
    assert not allows(document, "s3:PutObject", "arn:aws:s3:::store/a")
    assert not allows(document, "s3:GetObject", "arn:aws:s3:::store/ab")
    assert not allows(make_document(), "s3:GetObject", "arn:aws:s3:::store/a")


def test_actions_have_no_case_and_resources_do() -> None:
    document = make_document({"Action": ["S3:getobject"], "Resource": "arn:aws:s3:::store/*"})

    assert allows(document, "s3:GetObject", "arn:aws:s3:::store/b/c")
    assert not allows(document, "s3:GetObject", "arn:aws:s3:::Store/b")


def test_deny_wins_over_allow() -> None:
    document = make_document({}, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"})

    assert not allows(document, "s3:GetObject", "arn:aws:s3:::store/a")


def test_deny_without_its_condition_denies_nothing() -> None:
    refusal = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    document = make_document({}, {**refusal, "Condition": {"Bool": {"aws:SecureTransport": "false"}}})

    assert allows(document, "s3:GetObject", "arn:aws:s3:::store/a", {"aws:SecureTransport": "true"})
    assert not allows(document, "s3:GetObject", "arn:aws:s3:::store/a", {"aws:SecureTransport": "false"})


@pytest.mark.parametrize(
    ("condition", "claims", "verdict"),
    [
        ({"StringEquals": {SUB: "a"}}, {"sub": "a"}, True),
        ({"StringEquals": {SUB: "a"}}, {"sub": "A"}, False),
        ({"StringEquals": {SUB.upper(): "a"}}, {"sub": "a"}, True),
        ({"StringEquals": {SUB: ["a", "b"]}}, {"sub": "b"}, True),
        ({"StringEquals": {SUB: "repo:*"}}, {"sub": "repo:x"}, False),
        ({"StringEquals": {SUB: "a"}}, {}, False),
        ({"StringEqualsIfExists": {SUB: "a"}}, {}, True),
        ({"StringNotEquals": {SUB: "a"}}, {}, True),
        ({"StringNotEquals": {SUB: "a"}}, {"sub": "a"}, False),
        ({"StringLike": {SUB: "repo:o/r:*"}}, {"sub": "repo:o/r:ref:x"}, True),
        ({"StringLike": {SUB: "repo:o/r:*:x"}}, {"sub": "repo:o/r:ref:y:x"}, True),
        ({"StringLike": {SUB: "repo:o/?"}}, {"sub": "repo:o/rr"}, False),
        ({"StringLike": {SUB: "repo:o.r"}}, {"sub": "repo:o/r"}, False),
        ({"ForAllValues:StringEquals": {SUB: "a"}}, {"sub": "b"}, False),
        ({"ForAllValues:StringEquals": {SUB: "a"}}, {}, True),
        ({"ForAllValues:StringLike": {SUB: ["a*", "b"]}}, {"sub": ["ab", "b"]}, True),
        ({"ForAnyValue:StringEquals": {SUB: "a"}}, {"sub": ["a", "b"]}, True),
        ({"ForAnyValue:StringEquals": {SUB: "a"}}, {}, False),
        ({"StringEquals": {SUB: "a", "aws:other": "x"}}, {"sub": "a"}, False),
    ],
)
def test_condition_holds_as_documented(condition: dict[str, Any], claims: dict[str, Any], verdict: bool) -> None:
    assert trusts(make_trust(condition), claims, PROVIDER) is verdict


@pytest.mark.parametrize(
    ("principal", "verdict"),
    [
        ({"Federated": PROVIDER}, True),
        ({"Federated": ["x", PROVIDER]}, True),
        ({"Federated": "accounts.google.com"}, False),
        ({"AWS": PROVIDER}, False),
        ("*", True),
    ],
)
def test_only_the_named_provider_vouches(principal: Any, verdict: bool) -> None:
    document = make_trust({"StringEquals": {SUB: "a"}}, principal)

    assert trusts(document, {"sub": "a"}, PROVIDER) is verdict


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ({"NotAction": "s3:*"}, "NotAction"),
        ({"Effect": "Maybe"}, "Maybe"),
        ({"Condition": {"StringSimilar": {SUB: "a"}}}, "StringSimilar"),
        ({"Condition": {"ForSome:StringEquals": {SUB: "a"}}}, "ForSome"),
    ],
)
def test_unknown_parts_are_not_guessed(statement: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MisuseError, match=complaint):
        allows(make_document(statement), "s3:GetObject", "arn:aws:s3:::store/a", {SUB: "a"})


def test_refusal_says_why() -> None:
    denial = make_document({"Effect": "Deny"})

    missing = explain_refusal([make_document({})], "s3:PutObject", ["arn:aws:s3:::store/a"])
    denied = explain_refusal([make_document({}), denial], "s3:GetObject", ["arn:aws:s3:::store/a"])

    assert missing == "because no identity-based policy allows the s3:PutObject action"
    assert denied == "with an explicit deny in an identity-based policy"


def test_resource_may_be_written_in_several_forms() -> None:
    document = make_document({"Action": "logs:PutLogEvents", "Resource": "arn:aws:logs:::log-group:a"})

    assert explain_refusal([document], "logs:PutLogEvents", ["arn:aws:logs:::log-group:a:*"]) is not None
    assert (
        explain_refusal(
            [document], "logs:PutLogEvents", ["arn:aws:logs:::log-group:a:*", "arn:aws:logs:::log-group:a"]
        )
        is None
    )
