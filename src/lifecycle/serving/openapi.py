"""Describe the service as an OpenAPI document, from the data contract."""

from typing import Any

from lifecycle.data.contract import Column, Contract
from lifecycle.serving.request import ID_HEADER, MAX_ROWS
from lifecycle.serving.service import SPLIT, Service, name_classes

EXAMPLE_TIME = "2024-01-31T08:30:00"
ERRORS = {
    "400": "the request is not what the contract says, or holds a number too large for the model",
    "413": "the body is too large",
    "500": "an unexpected fault; the log has it under the request id",
}


def describe_service(service: Service) -> dict[str, Any]:
    """Describe the service.

    Parameters
    ----------
    service : Service

    Returns
    -------
    dict
        An OpenAPI 3.1 document.
    """
    contract = service.contract
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}
    many = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
    example = make_example(contract)
    examples = {"one": {"value": example}, "many": {"value": {"rows": [example, example]}}}
    asked = {"required": True, "content": _as_json({"oneOf": [row, many]}, examples=examples)}
    failed = {code: _respond(text, {"$ref": "#/components/schemas/Error"}) for code, text in ERRORS.items()}
    answered = {"200": _respond("one prediction a row, in their order", {"$ref": "#/components/schemas/Answer"})}
    headers = [_describe_header(ID_HEADER, "comes back with the answer, and stands in the log")]
    if service.challenger and service.challenger.variant == SPLIT:
        headers.append(_describe_header(service.manifest["serve"]["key"], "names the caller, who gets one model"))
    predict = {"summary": "Predict one row, or many", "parameters": headers, "requestBody": asked}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": contract.title,
            "version": str(service.manifest["version"]),
            "description": "\n\n".join(contract.caveats),
        },
        "paths": {
            "/predict": {"post": {**predict, "responses": answered | failed}},
            "/health": _describe_page("Say that the model is loaded"),
            "/version": _describe_page("Say which model this is, and where it came from: the manifest"),
            "/openapi.json": _describe_page("Describe the service"),
        },
        "components": {
            "schemas": {
                "Row": describe_row(contract),
                "Answer": _describe_answer(service),
                "Error": _describe_error(),
            }
        },
    }


def describe_row(contract: Contract) -> dict[str, Any]:
    """Describe a row as a JSON schema: the columns that are known when a prediction is asked for."""
    known = contract.known_at_start()
    return {
        "type": "object",
        "properties": {column.name: _describe_column(column) for column in known},
        "required": [column.name for column in known if not column.nullable],
        "additionalProperties": False,
    }


def make_example(contract: Contract) -> dict[str, Any]:
    """Make a row that the contract allows."""
    return {column.name: _make_value(column) for column in contract.known_at_start()}


def _make_value(column: Column) -> Any:
    """Make a value that a column may hold."""
    if column.type == "timestamp":
        return EXAMPLE_TIME
    if column.type == "text":
        return column.values[0] if column.values else "text"
    if column.minimum is not None:
        return column.minimum
    return 0 if column.maximum is None else min(0, column.maximum)


def _describe_column(column: Column) -> dict[str, Any]:
    """Describe a column as a JSON schema."""
    kind = "number" if column.type == "number" else "string"
    bounds = {"minimum": column.minimum, "maximum": column.maximum}
    schema: dict[str, Any] = {
        "type": [kind, "null"] if column.nullable else kind,
        "description": f"{column.meaning} ({column.unit})",
        "x-unit": column.unit,
        "examples": [_make_value(column)],
        **{key: bound for key, bound in bounds.items() if bound is not None},
    }
    if column.type == "timestamp":
        # Of RFC 3339's date-time, but without an offset.
        schema["format"] = "date-time-local"
    if column.values is not None:
        schema["enum"] = [*column.values, None] if column.nullable else list(column.values)
    return schema


def _describe_answer(service: Service) -> dict[str, Any]:
    """Describe what a prediction is answered with."""
    target = service.contract.find_column(service.contract.target)
    meaning = {"description": f"{target.name}: {target.meaning} ({target.unit})", "x-unit": target.unit}
    prediction: dict[str, Any] = {"type": "number", **meaning}
    if service.predictor.classes is not None:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        names = name_classes(service.predictor)
        fields = {
            "class": {"enum": list(service.predictor.classes), **meaning},
            "probabilities": {"type": "object", "properties": dict.fromkeys(names, share), "required": names},
        }
        prediction = {"type": "object", "properties": fields, "required": list(fields)}
    fields = {
        "predictions": {"type": "array", "items": prediction},
        "model_version": {"type": "string"},
        "model_hash": {"type": "string", "description": "SHA-256 of the model's bytes"},
        "request_id": {"type": "string"},
    }
    return {"type": "object", "properties": fields, "required": list(fields)}


def _describe_error() -> dict[str, Any]:
    """Describe what a request that fails is answered with."""
    fields = {
        "error": {"type": "string", "description": "what is wrong, and what was expected"},
        "request_id": {"type": "string"},
        "field": {"type": "string"},
        "value": {"description": "shortened"},
        "expected": {"type": "string"},
        "row": {"type": "integer", "minimum": 0, "description": "place in rows, from 0"},
    }
    return {"type": "object", "properties": fields, "required": ["error", "request_id"]}


def _describe_header(name: str, description: str) -> dict[str, Any]:
    """Describe a header that a caller may send."""
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def _describe_page(summary: str) -> dict[str, Any]:
    """Describe a path that is only read."""
    return {"get": {"summary": summary, "responses": {"200": _respond("done", {"type": "object"})}}}


def _respond(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a response of JSON."""
    return {"description": description, "content": _as_json(schema)}


def _as_json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe content that is JSON."""
    return {"application/json": {"schema": schema, **more}}
