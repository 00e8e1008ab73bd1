"""What a request to AWS asks for: its caller, and the actions and resources that IAM knows it by."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from botocore.parsers import BaseCBORParser

from rehearsal.cloud.permissions import (
    BUCKET_PARTS,
    CONDITIONS,
    LAMBDA_ACTIONS,
    PASSING,
    PUT_TO_DELETE,
    RESOURCES,
    SECOND,
    TAGGING,
)

CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/[0-9]+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


@dataclass(frozen=True)
class Wanted:
    """An action on a resource; without a resource this room does not know what the action is done to."""

    action: str
    resource: str | None
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A signed request: who sends it, and all that must be allowed for it."""

    key: str
    token: str | None
    region: str
    service: str
    wanted: tuple[Wanted, ...]


def read_ask(environ: dict[str, Any], account: str) -> Ask | None:
    """Read what a request asks for; None if it is not signed.

    Parameters
    ----------
    environ : dict
        Of WSGI; a body that is read is put back.
    account : str
    """
    query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", ""), True).items()}
    signed = environ.get("HTTP_AUTHORIZATION") or f"Credential={query.get('X-Amz-Credential', '')}"
    match = CREDENTIAL.search(signed)
    if not match:
        return None
    region, service = match["region"], "cloudwatch" if match["service"] == "monitoring" else match["service"]
    conditions = {"aws:RequestedRegion": region}
    if service == "s3":
        wanted = tuple(list_bucket_actions(environ, query))
        conditions |= {"s3:prefix": query["prefix"]} if "prefix" in query else {}
    elif service == "lambda":
        wanted = tuple(list_function_actions(environ, query, f"arn:aws:lambda:{region}:{account}:function"))
    else:
        action, fields = read_fields(environ, query)
        wanted = tuple(list_actions(service, action, fields, {"region": region, "account": account}))
        named = CONDITIONS.get(service, {})
        conditions |= {key: str(fields[name]) for name, key in named.items() if name in fields}
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token")
    asked = tuple(replace(one, conditions={**conditions, **one.conditions}) for one in wanted)
    return Ask(match["key"], token, region, service, asked)


def list_actions(service: str, action: str, fields: Mapping[str, Any], place: Mapping[str, str]) -> Iterator[Wanted]:
    """List what a request to a service with named fields asks for."""
    # A name is one of what the action is called after: DescribeApiDestination, of an api-destination.
    place = {**place, "kind": "-".join(re.findall("[A-Z][a-z]+", action)[1:]).lower()}
    for name, resource in RESOURCES.get(service, {}).items():
        if fields.get(name):
            values = fields[name] if isinstance(fields[name], list) else [fields[name]]
            for value in values:
                wanted = Wanted(f"{service}:{action}", resource.format(value=value, **place))
                yield wanted
                yield from list_dependents(wanted, fields)
            return
    everything = f"arn:aws:cloudwatch:{place['region']}:{place['account']}:alarm:*"
    yield Wanted(f"{service}:{action}", everything if action == "DescribeAlarms" else None)


def list_dependents(wanted: Wanted, fields: Mapping[str, Any]) -> Iterator[Wanted]:
    """List what AWS asks for beside an action."""
    if wanted.action in TAGGING and any(name.lower().startswith("tags") for name in fields):
        yield Wanted(TAGGING[wanted.action], wanted.resource)
    service = f"{wanted.action.partition(':')[0]}.amazonaws.com"
    for role in list_values(fields, PASSING.get(wanted.action, ())):
        yield Wanted("iam:PassRole", role, {"iam:PassedToService": service})
    if second := fields.get(SECOND.get(wanted.action, "")):
        yield Wanted(wanted.action, second)


def list_values(value: Any, names: Sequence[str]) -> Iterator[str]:
    """List the texts under a row of names, in each item of what is a list."""
    for one in value if isinstance(value, list) else [value]:
        if names and isinstance(one, Mapping):
            yield from list_values(one.get(names[0]), names[1:])
        elif isinstance(one, str):
            yield one


def list_bucket_actions(environ: Mapping[str, Any], query: Mapping[str, str]) -> Iterator[Wanted]:
    """List what a request to S3 asks for."""
    _, bucket, key = f"{environ['PATH_INFO']}//".split("/", 2)
    key, method = key.removesuffix("//").removesuffix("/"), environ["REQUEST_METHOD"]
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete", "POST": "Put"}[method]
    resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
    part = next((name for name in BUCKET_PARTS if name in query), None)
    if not bucket:
        yield Wanted("s3:ListAllMyBuckets", "*")
    elif not key and part:
        verb = "Put" if part in PUT_TO_DELETE and method == "DELETE" else verb
        yield Wanted(f"s3:{verb}{BUCKET_PARTS[part]}", resource)
    elif not key and verb == "Get":
        listed = (
            "BucketVersions" if "versions" in query else "BucketMultipartUploads" if "uploads" in query else "Bucket"
        )
        yield Wanted(f"s3:List{listed}", resource)
    elif not key and method == "POST":
        yield Wanted("s3:DeleteObject", f"{resource}/*")
    elif not key:
        yield Wanted({"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}[method], resource)
    elif "uploadId" in query and verb != "Put":
        yield Wanted(f"s3:{'AbortMultipartUpload' if verb == 'Delete' else 'ListMultipartUploadParts'}", resource)
    else:
        suffix = "Tagging" if "tagging" in query else "Version" if "versionId" in query and verb != "Put" else ""
        yield Wanted(f"s3:{verb}Object{suffix}", resource)
        if source := unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).partition("?")[0]:
            yield Wanted("s3:GetObject", f"arn:aws:s3:::{source.removeprefix('/')}")


@cache
def list_operations() -> list[tuple[str, re.Pattern[str], str]]:
    """List Lambda's operations: method, pattern of the path and name, those with the longest path first."""
    model = botocore.session.get_session().get_service_model("lambda")
    found = []
    # It is a list, whatever pylint makes of botocore's cached property.
    for name in model.operation_names:  # pylint: disable=not-an-iterable
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0].rstrip("/")
        pattern = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", path)
        found.append((http["method"], re.compile(f"{pattern}/?"), name))
    return sorted(found, key=lambda operation: -len(operation[1].pattern))


def list_function_actions(environ: dict[str, Any], query: Mapping[str, str], prefix: str) -> Iterator[Wanted]:
    """List what a request to Lambda asks for."""
    for method, pattern, name in list_operations():
        # A function's ARN in the path is still quoted in some servers' eyes.
        match = pattern.fullmatch(environ["PATH_INFO"]) if method == environ["REQUEST_METHOD"] else None
        if not match:
            continue
        labels = match.groupdict()
        resource = labels.get("Resource")
        function = labels.get("FunctionName")
        fields = read_json(environ)
        if function or "FunctionName" in fields:
            named = unquote(function or fields["FunctionName"])
            resource = named if named.startswith("arn:") else f"{prefix}:{named}"
            resource += f":{query['Qualifier']}" if query.get("Qualifier") else ""
        wanted = Wanted(f"lambda:{LAMBDA_ACTIONS.get(name, name)}", unquote(resource) if resource else None)
        yield wanted
        yield from list_dependents(wanted, fields)
        code = fields.get("Code", fields)
        if "S3Bucket" in code and "S3Key" in code:
            yield Wanted("s3:GetObject", f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}")
        return
    yield Wanted(f"lambda:{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", None)


def read_json(environ: dict[str, Any]) -> dict[str, Any]:
    """Read a body that is a JSON object; an empty one if it is anything else."""
    try:
        read = json.loads(read_body(environ) or b"{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def read_body(environ: dict[str, Any]) -> bytes:
    """Read a request's body and put it back."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    content = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(content) if length else environ["wsgi.input"]
    return content


def read_fields(environ: dict[str, Any], query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Read a request's action and fields, in any of the protocols in which they are named."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2], read_json(environ)
    content = read_body(environ)
    if "/operation/" in environ["PATH_INFO"]:
        return environ["PATH_INFO"].rpartition("/")[2], read_cbor(environ, content)
    fields: dict[str, Any] = dict(query)
    for name, values in parse_qs(content.decode(errors="replace")).items():
        listed = re.fullmatch(r"(\w+)\.member\.[0-9]+", name)
        if listed:
            fields.setdefault(listed[1], []).extend(values)
        else:
            fields[name] = values[-1]
    return str(fields.get("Action")), fields


def read_cbor(environ: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """Read a body in CBOR, which may be compressed and then holds nothing that is asked for here."""
    if not content or environ.get("HTTP_CONTENT_ENCODING"):
        return {}
    parser = BaseCBORParser()
    return parser.parse_data_item(parser.get_peekable_stream_from_bytes(content))
