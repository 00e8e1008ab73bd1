"""Read a request: the event of a Lambda function URL or an HTTP API (payload 2.0), and the rows in its body."""

import base64
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_BODY_BYTES = 1_000_000
MAX_ROWS = 1000
# Enough to recognise a value in a message, and too little to fill a log.
SHOWN_CHARACTERS = 60
# What may stand in a log line and in a header, whoever sent it.
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
ID_HEADER = "x-request-id"


class RequestError(Exception):
    """A request that cannot be answered; ``details`` stand beside the message, ``headers`` in the response."""

    def __init__(
        self, status: int, message: str, details: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details = details or {}
        self.headers = headers or {}


@dataclass(frozen=True)
class Request:
    """What is asked."""

    method: str
    path: str
    body: bytes


def choose_id(event: Any, context: Any) -> str:
    """Take the caller's request id if it is a safe one, else Lambda's, else make one.

    Parameters
    ----------
    event : mapping
        As `read_event` takes it; its header ``x-request-id`` counts.
    context : object or None
        Lambda's, with ``aws_request_id``.

    Returns
    -------
    str
    """
    sent = find_header(event, ID_HEADER)
    if sent and SAFE_ID.fullmatch(sent):
        return sent
    return str(getattr(context, "aws_request_id", None) or uuid.uuid4())


def find_header(event: Any, name: str) -> str | None:
    """Find a header of an event by its name in lower case; None where there is no such text."""
    headers = event.get("headers") if isinstance(event, Mapping) else None
    found = headers if isinstance(headers, Mapping) else {}
    sent = next((value for key, value in found.items() if str(key).lower() == name), None)
    return sent if isinstance(sent, str) else None


def read_event(event: Any) -> Request:
    """Read an event.

    Parameters
    ----------
    event : mapping
        With ``rawPath``, ``requestContext.http.method``, ``body`` and ``isBase64Encoded``.

    Returns
    -------
    Request
        A stage of an HTTP API is cut off the path.

    Raises
    ------
    RequestError
        If it is no such event (400), or its body is too large (413).
    """
    try:
        context = event["requestContext"]
        method, path, stage = str(context["http"]["method"]), str(event["rawPath"]), context.get("stage")
        body = event.get("body") or ""
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestError(400, "the event is of no function URL or HTTP API; expected payload 2.0.") from error
    if len(content) > MAX_BODY_BYTES:
        raise refuse_large(len(content))
    if stage and path.startswith(f"/{stage}/"):
        path = path.removeprefix(f"/{stage}")
    return Request(method, path, content)


def refuse_large(size_bytes: int) -> RequestError:
    """Make the error for a body that is too large."""
    return RequestError(413, f"the body has {size_bytes:,} bytes; expected at most {MAX_BODY_BYTES:,}.")


def read_rows(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Read the rows of a request's body.

    Parameters
    ----------
    body : bytes
        JSON: one row, or many under the key ``rows``.

    Returns
    -------
    tuple of list of dict and bool
        The rows, and whether they came as many.

    Raises
    ------
    RequestError
        If the body is no JSON in UTF-8, no row, or holds no or too many rows.
    """
    try:
        content = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is no JSON: {clean(_say(error))}.") from error
    if not isinstance(content, dict):
        raise RequestError(400, f"the body is {name_type(content)}; expected an object with a row, or with rows.")
    if not isinstance(content.get("rows"), list):
        return [content], False
    rows = content["rows"]
    if len(content) > 1:
        other = next(key for key in content if key != "rows")
        raise RequestError(400, f"{shorten(other)} stands beside rows; expected rows alone.", {"field": clean(other)})
    if not 0 < len(rows) <= MAX_ROWS:
        raise RequestError(
            400, f"rows holds {len(rows):,} rows; expected 1 to {MAX_ROWS:,}.", {"field": "rows", "value": len(rows)}
        )
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(400, f"rows[{place}] is {name_type(row)}; expected an object.", {"row": place})
    return rows, True


def name_type(value: Any) -> str:
    """Name a JSON value's type."""
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def shorten(value: Any) -> str:
    """Show a JSON value in one short line of plain characters."""
    return clean(json.dumps(value))


def clean(text: str) -> str:
    """Cut a text, and replace the characters that are not printable."""
    kept = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
    return "".join(letter if letter.isprintable() else "?" for letter in kept)


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read and JSON does not know."""
    raise ValueError(f"{name} is no JSON number")


def _say(error: Exception) -> str:
    """Say what is wrong with a text, without the text itself."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
