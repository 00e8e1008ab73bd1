"""Decide what IAM policy documents allow, as AWS would.

It knows what the documents in infra use, and refuses to guess about anything else.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lifecycle.errors import MisuseError

ISSUER = "token.actions.githubusercontent.com"
ASSUME = "sts:AssumeRoleWithWebIdentity"

Document = Mapping[str, Any]
Context = Mapping[str, str | Sequence[str]]


def trusts(document: Document, claims: Context, provider: str) -> bool:
    """Decide whether a role's trust policy lets a token of GitHub Actions in.

    Parameters
    ----------
    document : Document
        The trust policy.
    claims : Context
        The token's claims, such as ``sub`` and ``aud``.
    provider : str
        The ARN of the identity provider that vouches for the token.

    Returns
    -------
    bool
    """
    context = {f"{ISSUER}:{name}": value for name, value in claims.items()}
    return allows(document, ASSUME, context=context, principal=("Federated", provider))


def allows(
    document: Document,
    action: str,
    resource: str | None = None,
    context: Context | None = None,
    principal: tuple[str, str] | None = None,
) -> bool:
    """Decide whether one policy allows an action; as `explain_refusal` has it."""
    return explain_refusal([document], action, resource and [resource], context, principal) is None


def explain_refusal(
    documents: Iterable[Document],
    action: str,
    resources: Sequence[str] | None = None,
    context: Context | None = None,
    principal: tuple[str, str] | None = None,
) -> str | None:
    """Decide whether policies allow an action: some statement allows it, and none denies it.

    Parameters
    ----------
    documents : iterable of Document
        The policies, read from their JSON.
    action : str
        Such as ``s3:GetObject``.
    resources : sequence of str, optional
        The ARN that is acted on, in each form in which it may be written; without it, as in a trust policy,
        resources are not looked at.
    context : Context, optional
        The values of condition keys; one that is not there is absent from the request.
    principal : tuple[str, str], optional
        Kind and name of who asks; without it principals are not looked at.

    Returns
    -------
    str or None
        Why it is not allowed, in AWS's words; None if it is.

    Raises
    ------
    MisuseError
        If a statement uses something that is not known here.

    Notes
    -----
    See "Policy evaluation logic" in the AWS Identity and Access Management user guide.
    """
    # Names of keys have no case, their values do.
    known = {name.lower(): value for name, value in (context or {}).items()}
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _listed(document["Statement"])
        if _applies(statement, action, resources, known, principal)
    }
    if "Deny" in effects:
        return "with an explicit deny in an identity-based policy"
    if not effects:
        return f"because no identity-based policy allows the {action} action"
    return None


def list_actions(document: Document, effect: str = "Allow") -> set[str]:
    """List the actions of all statements that allow, or of those that deny."""
    statements = [part for part in _listed(document["Statement"]) if part["Effect"] == effect]
    return {action for part in statements for action in _listed(part["Action"])}


def _applies(
    statement: Mapping[str, Any],
    action: str,
    resources: Sequence[str] | None,
    context: Context,
    principal: tuple[str, str] | None,
) -> bool:
    """Tell whether a statement is about such a request."""
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown or statement["Effect"] not in ("Allow", "Deny"):
        raise MisuseError(f"this evaluator does not know {', '.join(sorted(unknown)) or statement['Effect']}")
    conditions = [
        _holds(operator, context.get(key.lower()), [str(value) for value in _listed(values)])
        for operator, wanted in statement.get("Condition", {}).items()
        for key, values in wanted.items()
    ]
    return (
        # Actions have no case.
        _matches_any(action.lower(), [pattern.lower() for pattern in _listed(statement["Action"])])
        and (
            resources is None
            or any(_matches_any(resource, _listed(statement.get("Resource", []))) for resource in resources)
        )
        and (principal is None or _is_principal(statement.get("Principal"), *principal))
        and all(conditions)
    )


def _holds(operator: str, value: str | Sequence[str] | None, wanted: list[str]) -> bool:
    """Tell whether a condition holds for what the request has under its key."""
    quantifier, _, plain = operator.rpartition(":")
    optional = plain.endswith("IfExists")
    compare = {
        "StringEquals": lambda one: one in wanted,
        "StringNotEquals": lambda one: one not in wanted,
        "StringLike": lambda one: _matches_any(one, wanted),
        "Bool": lambda one: one.lower() in [each.lower() for each in wanted],
    }.get(plain.removesuffix("IfExists"))
    if compare is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise MisuseError(f"this evaluator does not know the condition {operator}")
    if value is None:
        # No value at all is true of all values: the trap of ForAllValues.
        return optional or quantifier == "ForAllValues" or (not quantifier and plain.startswith("StringNot"))
    verdicts = [compare(one) for one in _listed(value)]
    return any(verdicts) if quantifier == "ForAnyValue" else all(verdicts)


def _is_principal(principal: str | Mapping[str, Any] | None, kind: str, name: str) -> bool:
    """Tell whether a statement's principal is, or includes, who asks."""
    if principal is None or isinstance(principal, str):
        return principal == "*"
    return name in _listed(principal.get(kind, [])) or "*" in _listed(principal.get("AWS", []))


def _matches_any(text: str, patterns: Iterable[str]) -> bool:
    """Tell whether a text matches a pattern in which * stands for any characters, and ? for one."""
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL)
        for pattern in patterns
    )


def _listed(value: Any) -> list[Any]:
    """List what a policy may give alone or as a list."""
    return list(value) if isinstance(value, list | tuple | set) else [value]
