"""Draw events of every kind for the handler of any domain."""

import base64
import json
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from servers import make_event

from lifecycle.data.contract import Column, Contract

# Stands in texts that are sent; no request id may hold it, so that the log has no reason to.
CANARY = "<c4n4ry>"
TEXTS = st.text(st.characters(), max_size=20)
MARKED = TEXTS.map(lambda text: CANARY + text)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 2**63, 1e308, -0.0, 5e-324, float("nan"), float("inf"), True]),
)
TIMES = st.sampled_from(
    ["2025-03-01", "2025-W09-1", "20250301T0830", "2025-03-01T08:30Z", "0001-01-01", "9999-12-31T23:59:59.999999"]
)
SCALARS = st.one_of(st.none(), NUMBERS, TEXTS, MARKED, TIMES)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | MARKED, inner, max_size=3),
    max_leaves=4,
)
IDS = st.sampled_from(["order-7", "a" * 128, "a" * 129, "order 7", "a\n", f"{CANARY}-1", "", "é"])
CONTEXTS = st.none() | st.builds(SimpleNamespace, aws_request_id=st.uuids().map(str))
SELDOM = st.sampled_from([False] * 9 + [True])
DEEP = st.builds(str.__mul__, st.sampled_from(["[", '{"a":', '{"rows":[']), st.sampled_from([1, 500, 5000]))
METHODS = st.sampled_from(["POST", "POST", "GET", "DELETE", "post", "BREW"])
PATHS = st.sampled_from(
    ["/predict", "/predict", "/live/predict", "/health", "/version", "/openapi.json", "/", "/predict/../etc/passwd"]
)


def draw_value(column: Column) -> st.SearchStrategy[Any]:
    """Draw values that a column may hold."""
    kinds = {
        # A 32-bit float holds them, as the models want it.
        "number": st.floats(column.minimum, column.maximum, allow_nan=False, allow_infinity=False, width=32),
        "text": st.sampled_from(column.values) if column.values else TEXTS,
        "timestamp": st.datetimes().map(lambda time: time.isoformat()),
    }
    return kinds[column.type] | st.none() if column.nullable else kinds[column.type]


def draw_row(contract: Contract) -> st.SearchStrategy[dict[str, Any]]:
    """Draw rows that the contract allows."""
    known = contract.known_at_start()
    return st.fixed_dictionaries(
        {column.name: draw_value(column) for column in known if not column.nullable},
        optional={column.name: draw_value(column) for column in known if column.nullable},
    )


@st.composite
def draw_content(draw: st.DrawFn, contract: Contract) -> Any:
    """Draw what a body says: rows, rows with a fault, and anything else."""
    if draw(SELDOM):
        return draw(VALUES)
    rows = draw(st.lists(draw_row(contract), min_size=1, max_size=3))
    names = st.sampled_from([column.name for column in contract.known_at_start()])
    if draw(st.booleans()):
        rows[-1][draw(MARKED if draw(SELDOM) else names)] = draw(VALUES)
    if draw(SELDOM):
        rows[-1].pop(draw(names), None)
    if draw(SELDOM):
        rows[-1] = draw(VALUES)
    content = {"rows": rows} if draw(st.booleans()) else rows[-1]
    return content | {draw(MARKED): draw(VALUES)} if draw(SELDOM) and isinstance(content, dict) else content


@st.composite
def draw_body(draw: st.DrawFn, contract: Contract) -> str:
    """Draw bodies: JSON, broken JSON, and what is none."""
    if draw(SELDOM):
        return draw(MARKED | DEEP | st.just('{"a": 1, "a": -Infinity}'))
    text = json.dumps(draw(draw_content(contract)), ensure_ascii=draw(st.booleans()))
    return text[: draw(st.integers(0, len(text)))] if draw(SELDOM) else text


@st.composite
def draw_events(draw: st.DrawFn, contract: Contract) -> list[Any]:
    """Draw a body, and the events that bring it: plain, encoded, and with a fault of their own."""
    body = draw(draw_body(contract))
    # One in many is no text that came from base64.
    content = draw(st.binary(max_size=30)) if draw(SELDOM) else body.encode(errors="replace")
    encoded = make_event(base64.b64encode(content).decode()) | {"isBase64Encoded": True}
    return [make_event(body), encoded, draw_odd(draw, draw(st.sampled_from([make_event(body), encoded])))]


def draw_odd(draw: st.DrawFn, event: dict[str, Any]) -> Any:
    """Draw an event like another one, or none at all."""
    if draw(SELDOM):
        return draw(VALUES)
    method = draw(VALUES if draw(SELDOM) else METHODS)
    stage = draw(VALUES if draw(SELDOM) else st.sampled_from(["$default", "live", None]))
    event = event | {
        "rawPath": draw(TEXTS | MARKED if draw(SELDOM) else PATHS),
        "requestContext": {"http": {"method": method}, "stage": stage},
        "headers": draw_headers(draw),
    }
    if draw(SELDOM):
        event[draw(st.sampled_from(list(event)))] = draw(VALUES)
    if draw(SELDOM):
        del event[draw(st.sampled_from(list(event)))]
    return event


def draw_headers(draw: st.DrawFn) -> Any:
    """Draw headers, some with a request id."""
    headers = {} if draw(st.booleans()) else draw(st.dictionaries(TEXTS | MARKED, SCALARS, max_size=2))
    if draw(st.booleans()):
        headers[draw(st.sampled_from(["x-request-id", "X-Request-Id"]))] = draw(VALUES if draw(SELDOM) else IDS)
    return headers
