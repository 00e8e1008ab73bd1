"""The addresses of functions: an HTTP server that makes of each request the event that Lambda would, and back."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from moto.awslambda.exceptions import LambdaClientError

from rehearsal.cloud.process import Outcome

TEXT = ("text/", "application/json", "application/javascript", "application/xml")
# Headers that the server sets itself.
OWN_HEADERS = {"connection", "content-length", "date", "server", "transfer-encoding"}


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


Call = Callable[[str, str, bytes], tuple[str, Outcome]]
# Takes function, qualifier and headers; gives the reason why the caller may not.
Refuse = Callable[[str, str, Mapping[str, str]], str | None]
Count = Callable[[str, str, int, float], None]


def make_event(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Make an event in Lambda's payload format 2.0."""
    lower = {name.lower(): value for name, value in headers.items()}
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    is_text = lower.get("content-type", "text/plain").startswith(TEXT)
    now = datetime.now(UTC)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": lower,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "rehearsal",
            "domainName": lower.get("host", ""),
            "domainPrefix": "rehearsal",
            "http": {
                "method": method,
                "path": unquote(path),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": lower.get("user-agent", ""),
            },
            "requestId": str(uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": bool(body) and not is_text,
    }
    if "cookie" in lower:
        event["cookies"] = [part.strip() for part in lower["cookie"].split(";")]
    if parameters:
        event["queryStringParameters"] = parameters
    if body:
        event["body"] = body.decode(errors="replace") if is_text else base64.b64encode(body).decode()
    return event


def tell(status: int, message: str) -> Answer:
    """Answer in the front's own name."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps({"Message": message}).encode())


def read_answer(outcome: Outcome) -> Answer:
    """Make of what a function returned the answer to a client; a failed function is a 502."""
    if outcome.error:
        return tell(502, "Internal Server Error")
    returned = json.loads(outcome.payload or b"null")
    if not isinstance(returned, dict) or "statusCode" not in returned:
        body = returned.encode() if isinstance(returned, str) else json.dumps(returned).encode()
        return Answer(200, {"Content-Type": "application/json"}, body)
    try:
        body = returned.get("body") or ""
        content = base64.b64decode(body) if returned.get("isBase64Encoded") else str(body).encode()
        headers = {str(name): str(value) for name, value in (returned.get("headers") or {}).items()}
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/json"
        return Answer(int(returned["statusCode"]), headers, content, tuple(returned.get("cookies") or ()))
    except (AttributeError, TypeError, ValueError):
        return tell(502, "Internal Server Error")


class _Handler(BaseHTTPRequestHandler):
    """Split an address into function, alias and path, and answer."""

    protocol_version = "HTTP/1.1"
    # Otherwise each call waits 44 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    call: Call
    refuse: Refuse
    count: Count

    def _handle(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, function, qualifier, path = f"{url.path}//".split("/", 3)
        started = time.perf_counter()
        answer = self._answer(function, unquote(qualifier), f"/{path.removesuffix('//').removesuffix('/')}", body)
        self.count(function, unquote(qualifier), answer.status, (time.perf_counter() - started) * 1000)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        for cookie in answer.cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _answer(self, function: str, qualifier: str, path: str, body: bytes) -> Answer:
        """Let the function answer a request that its caller may send."""
        headers = dict(self.headers.items())
        refused = self.refuse(function, qualifier, headers)
        if refused:
            return tell(403, refused)
        event = make_event(self.command, path, urlsplit(self.path).query, headers, body)
        try:
            _, outcome = self.call(function, qualifier, json.dumps(event).encode())
        except LambdaClientError as error:
            return tell(429 if error.code == 429 else 404, str(error.message))
        return read_answer(outcome)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Keep the terminal quiet."""


def make_front(call: Call, refuse: Refuse, count: Count) -> ThreadingHTTPServer:
    """Make the server, on a free port of loopback.

    Parameters
    ----------
    call : callable
        Runs a function: name, qualifier, payload.
    refuse : callable
        Tells why a caller may not, if so: name, qualifier, headers.
    count : callable
        Takes each request's name, qualifier, status and duration in milliseconds.
    """
    parts = {"call": staticmethod(call), "refuse": staticmethod(refuse), "count": staticmethod(count)}
    return ThreadingHTTPServer(("127.0.0.1", 0), type("Front", (_Handler,), parts))
