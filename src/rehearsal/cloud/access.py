"""Access: requests with a role's keys are held against the role's policies, and refused in AWS's words."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from rehearsal.cloud.requests import CREDENTIAL, Ask, Wanted, read_ask

# Nothing need be allowed for them.
FREE = {"sts:GetCallerIdentity", "sts:AssumeRoleWithWebIdentity"}
CODES = {"s3": "AccessDenied", "lambda": "AccessDeniedException", "logs": "AccessDeniedException"}
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Statement = Mapping[str, Any]


def as_list(value: Any) -> list[Any]:
    """Give a list of what a policy may write as one or as several."""
    return value if isinstance(value, list) else [value]


def matches(patterns: Any, value: str, ignore_case: bool = False) -> bool:
    """Tell whether a value matches one of a policy's patterns, in which ``*`` is anything and ``?`` one character."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    escaped = (re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in as_list(patterns))
    return any(re.fullmatch(pattern, value, flags) for pattern in escaped)


def meets(conditions: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]) -> bool:
    """Tell whether a request meets a statement's conditions; one that is not understood here is not met."""
    for operator, expected in conditions.items():
        for key, values in expected.items():
            value = known.get(key)
            if operator == "StringEquals":
                met = value is not None and value in as_list(values)
            elif operator == "StringLike":
                met = value is not None and matches(values, value)
            elif operator == "StringNotEquals":
                met = value is None or value not in as_list(values)
            else:
                met = False
            if not met:
                return False
    return True


def applies(statement: Statement, wanted: Wanted, conditions: Mapping[str, str]) -> bool:
    """Tell whether a statement is about an action on a resource."""
    if "NotAction" in statement:
        action = not matches(statement["NotAction"], wanted.action, True)
    else:
        action = matches(statement.get("Action", []), wanted.action, True)
    if wanted.resource is None:
        # What an action is done to is not known here: all that allows it for something allows it, nothing denies it.
        resource = statement["Effect"] == "Allow" or statement.get("Resource") == "*"
    elif "NotResource" in statement:
        resource = not matches(statement["NotResource"], wanted.resource)
    else:
        # A log group is written with and without what stands for its streams.
        names = {wanted.resource, wanted.resource.removesuffix(":*")}
        resource = any(matches(statement.get("Resource", []), name) for name in names)
    return action and resource and meets(statement.get("Condition", {}), conditions)


def decide(documents: Sequence[str], wanted: Wanted, conditions: Mapping[str, str]) -> str | None:
    """Decide by policies whether an action is allowed; one that denies outweighs all that allow.

    Returns
    -------
    str or None
        Why it is not, in AWS's words.
    """
    statements = [statement for document in documents for statement in as_list(json.loads(document)["Statement"])]
    effects = {statement["Effect"] for statement in statements if applies(statement, wanted, conditions)}
    if "Deny" in effects:
        return "with an explicit deny in an identity-based policy"
    if "Allow" not in effects:
        return f"because no identity-based policy allows the {wanted.action} action"
    return None


class Guard:
    """Hold requests against policies.

    Parameters
    ----------
    account, region : str
    root_allowed : bool
        Whether keys that are no role's may do everything; may be changed at any time.

    Attributes
    ----------
    refusals : list of str
        What was refused, in the words in which it was.
    """

    def __init__(self, account: str, region: str, root_allowed: bool) -> None:
        self.root_allowed = root_allowed
        self.refusals: list[str] = []
        self._account = account
        self._region = region
        self._lock = threading.Lock()

    def wrap(self, application: Application) -> Application:
        """Put this before an application."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            ask = read_ask(environ, self._account)
            refused = self.refuse(ask) if ask else None
            if ask is None or refused is None:
                return application(environ, start_response)
            status, headers, body = make_refusal(ask.service, "/operation/" in environ["PATH_INFO"], *refused)
            start_response(status, [*headers.items(), ("Content-Length", str(len(body)))])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

        return answer

    def refuse(self, ask: Ask) -> tuple[str, str] | None:
        """Tell why a request is refused, as code and message; None if it is not."""
        role = self._find_role(ask.key)
        needed = [wanted for wanted in ask.wanted if wanted.action not in FREE]
        if role is None:
            if self.root_allowed or all(wanted.action == "sts:AssumeRole" for wanted in needed):
                return None
            return self._note("InvalidClientTokenId", "The security token included in the request is invalid.")
        if ask.token != role.session_token:
            return self._note("InvalidClientTokenId", "The security token included in the request is invalid.")
        for wanted in needed:
            reason = self._decide(role, wanted, ask.conditions)
            if reason:
                on = f" on resource: {wanted.resource}" if wanted.resource else ""
                message = f"User: {role.arn} is not authorized to perform: {wanted.action}{on} {reason}"
                return self._note(CODES.get(ask.service, "AccessDenied"), message)
        return None

    def refuse_address(
        self, backend: LambdaBackend, function: str, qualifier: str, headers: Mapping[str, str]
    ) -> str | None:
        """Tell why a request to a function's address is refused; one without an address of its own is open."""
        try:
            config = backend.get_function(function, qualifier).url_config or backend.get_function(function).url_config
        except LambdaClientError:
            return None
        if config is None or config.config.get("AuthType") != "AWS_IAM":
            return None
        lower = {name.lower(): value for name, value in headers.items()}
        match = CREDENTIAL.search(lower.get("authorization", ""))
        if not match:
            return self._note("AccessDenied", "Forbidden")[1]
        resource = f"arn:aws:lambda:{self._region}:{self._account}:function:{function}:{qualifier}"
        wanted = tuple(Wanted(f"lambda:{name}", resource) for name in ("InvokeFunctionUrl", "InvokeFunction"))
        conditions = {"lambda:FunctionUrlAuthType": "AWS_IAM"}
        refused = self.refuse(
            Ask(match["key"], lower.get("x-amz-security-token"), match["region"], "lambda", wanted, conditions)
        )
        return "Forbidden" if refused else None

    def _note(self, code: str, message: str) -> tuple[str, str]:
        """Keep a refusal."""
        with self._lock:
            self.refusals.append(message)
        return code, message

    def _find_role(self, key: str) -> AssumedRole | None:
        """Find the role that keys were given out for."""
        for backend in sts_backends[self._account].values():
            found = backend.get_assumed_role_from_access_key(key)
            if found:
                return found
        return None

    def _decide(self, assumed: AssumedRole, wanted: Wanted, conditions: Mapping[str, str]) -> str | None:
        """Decide by a role's own policies, its boundary, and the policy of the session."""
        backend = iam_backends[self._account]["aws"]
        found = [role for role in backend.roles.values() if role.arn == assumed.role_arn]
        if not found:
            return decide([], wanted, conditions)
        role = found[0]
        known = {"aws:PrincipalArn": role.arn, **conditions}
        reason = decide([*role.policies.values(), *list_documents(role.managed_policies.values())], wanted, known)
        if reason is None and role.permissions_boundary_arn:
            boundary = backend.managed_policies.get(role.permissions_boundary_arn)
            if decide([*list_documents([boundary] if boundary else [])], wanted, known):
                reason = f"because no permissions boundary allows the {wanted.action} action"
        if reason is None and assumed.policy and decide([assumed.policy], wanted, known):
            reason = f"because no session policy allows the {wanted.action} action"
        return reason


def list_documents(policies: Iterable[Any]) -> Iterator[str]:
    """List the documents of managed policies, in the version that holds."""
    for policy in policies:
        yield from (version.document for version in policy.versions if version.is_default)


def make_refusal(service: str, is_cbor: bool, code: str, message: str) -> tuple[str, dict[str, str], bytes]:
    """Make the answer to a refused request in its service's protocol: status, headers and body."""
    status = "403 Forbidden"
    if is_cbor:
        headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return status, headers, make_cbor({"__type": f"com.amazonaws#{code}", "message": message})
    if service in ("s3", "sts", "iam", "sns"):
        error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        body = f"<Error>{error}</Error>"
        if service != "s3":
            body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
        return status, {"Content-Type": "application/xml"}, body.encode()
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return status, headers, json.dumps({"__type": code, "Message": message, "message": message}).encode()


def make_cbor(texts: Mapping[str, str]) -> bytes:
    """Write a map of texts in CBOR, each text with a length of four bytes (RFC 8949)."""
    parts = [text.encode() for pair in texts.items() for text in pair]
    return bytes([0xA0 + len(texts)]) + b"".join(b"\x7a" + len(part).to_bytes(4, "big") + part for part in parts)
