"""Access: requests with a role's keys are held against the role's policies, and refused in AWS's words."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from lifecycle.errors import MisuseError
from rehearsal.cloud.requests import CREDENTIAL, Ask, Wanted, read_ask
from rehearsal.policy import Document, explain_refusal

# Nothing need be allowed for them.
FREE = {"sts:GetCallerIdentity", "sts:AssumeRoleWithWebIdentity"}
CODES = {"s3": "AccessDenied", "lambda": "AccessDeniedException", "logs": "AccessDeniedException"}
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Documents = tuple[Document, ...]


@dataclass(frozen=True)
class Permissions:
    """All that bounds a role: its own policies, and where there are any its boundary's and its session's."""

    own: Documents
    boundary: Documents | None = None
    session: Documents | None = None

    def explain_refusal(self, wanted: Wanted) -> str | None:
        """Tell why an action is refused, in AWS's words; None if it is allowed."""
        reason = explain(self.own, wanted)
        for kind, documents in (("permissions boundary", self.boundary), ("session policy", self.session)):
            if reason is None and documents is not None and explain(documents, wanted):
                reason = f"because no {kind} allows the {wanted.action} action"
        return reason


def explain(documents: Documents, wanted: Wanted) -> str | None:
    """Tell why policies do not allow an action; what the evaluator does not know, they do not."""
    # A log group is written with and without what stands for its streams.
    names = wanted.resource and [wanted.resource, wanted.resource.removesuffix(":*")]
    try:
        return explain_refusal(documents, wanted.action, names, wanted.conditions)
    except MisuseError as error:
        return f"because {error}"


class Guard:
    """Hold requests against policies.

    Parameters
    ----------
    account, region : str
    root_allowed : bool
        Whether keys that are no role's may do everything, and AWS's own services too; may be changed at any time.

    Attributes
    ----------
    asked : dict of str to list of Wanted
        What each role asked for, by its name.
    refusals : list of str
        What was refused, in the words in which it was.
    """

    def __init__(self, account: str, region: str, root_allowed: bool) -> None:
        self.root_allowed = root_allowed
        self.asked: dict[str, list[Wanted]] = {}
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
        needed = [one for wanted in ask.wanted if wanted.action not in FREE for one in (wanted, *find_second(wanted))]
        if role is None:
            if self.root_allowed or all(wanted.action == "sts:AssumeRole" for wanted in needed):
                return None
            return self._note("InvalidClientTokenId", "The security token included in the request is invalid.")
        if ask.token != role.session_token:
            return self._note("InvalidClientTokenId", "The security token included in the request is invalid.")
        return self._refuse_role(role, needed, CODES.get(ask.service, "AccessDenied"))

    def refuse_service(self, role_arn: str, *needed: Wanted) -> tuple[str, str] | None:
        """Tell why a service of AWS may not do something in a role's name."""
        reason = self._refuse_role(role_arn, list(needed), "AccessDenied")
        return None if self.root_allowed else reason

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
        conditions = {"lambda:FunctionUrlAuthType": "AWS_IAM"}
        names = ("InvokeFunctionUrl", "InvokeFunction")
        wanted = tuple(Wanted(f"lambda:{name}", resource, conditions) for name in names)
        refused = self.refuse(Ask(match["key"], lower.get("x-amz-security-token"), match["region"], "lambda", wanted))
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

    def _refuse_role(self, taken: AssumedRole | str, needed: list[Wanted], code: str) -> tuple[str, str] | None:
        """Note what a role asks for, and tell why it is refused; by the session of a role, or by its ARN."""
        role_arn, caller = (taken, taken) if isinstance(taken, str) else (taken.role_arn, taken.arn)
        name = role_arn.rpartition("/")[2]
        permissions = self.read_permissions(name, None if isinstance(taken, str) else taken.policy)
        for wanted in map(self._complete, needed):
            with self._lock:
                self.asked.setdefault(name, []).append(wanted)
            reason = permissions.explain_refusal(wanted)
            if reason:
                on = f" on resource: {wanted.resource}" if wanted.resource else ""
                return self._note(code, f"User: {caller} is not authorized to perform: {wanted.action}{on} {reason}")
        return None

    def read_permissions(self, name: str, session: str | None = None) -> Permissions:
        """Read what bounds a role."""
        backend = iam_backends[self._account]["aws"]
        found = [role for role in backend.roles.values() if role.name == name]
        if not found:
            return Permissions(())
        role = found[0]
        documents = [*role.policies.values(), *list_documents(role.managed_policies.values())]
        boundary = backend.managed_policies.get(role.permissions_boundary_arn or "")
        limits = read_documents(list_documents([boundary] if boundary else []))
        return Permissions(
            read_documents(documents),
            limits if role.permissions_boundary_arn else None,
            read_documents([session]) if session else None,
        )

    def _complete(self, wanted: Wanted) -> Wanted:
        """Add what AWS knows of a role that is acted on: its boundary."""
        if not wanted.action.startswith("iam:") or "iam:PermissionsBoundary" in wanted.conditions:
            return wanted
        roles = iam_backends[self._account]["aws"].roles.values()
        found = [role.permissions_boundary_arn for role in roles if role.arn == wanted.resource]
        known = {"iam:PermissionsBoundary": found[0]} if found and found[0] else {}
        return replace(wanted, conditions={**wanted.conditions, **known})


def find_second(wanted: Wanted) -> Iterator[Wanted]:
    """Find what AWS asks for beside a look at a destination: the same of its connection."""
    if wanted.action == "events:DescribeApiDestination" and wanted.resource:
        _, _, _, region, account, named = wanted.resource.split(":")
        found = events_backends[account][region].destinations.get(named.rpartition("/")[2])
        if found:
            yield replace(wanted, resource=found.connection_arn)


def read_documents(texts: Iterable[str]) -> Documents:
    """Read policies from their JSON."""
    return tuple(json.loads(text) for text in texts)


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
