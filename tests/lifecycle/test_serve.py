"""What serving answers, over HTTP and as Lambda would ask it, and what it writes down."""

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import readings
from conftest import PACKAGE, run_python
from servers import ROW, Running, list_probabilities, make_event, read_sent, serve_folder
from small_models import make_regression

from lifecycle import serve
from lifecycle.data.contract import read_contract
from lifecycle.data.rows import read_rows
from lifecycle.paths import ONNX, TEST
from lifecycle.predictor import load_predictor
from lifecycle.serving.openapi import describe_service
from lifecycle.serving.request import MAX_BODY_BYTES, MAX_ROWS
from lifecycle.serving.service import Service


@pytest.fixture(name="server", scope="module")
def fixture_server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the second task's model."""
    with serve_folder(trained, tmp_path_factory.mktemp("serve") / "log") as running:
        yield running


@pytest.fixture(name="ask")
def fixture_ask(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Any]]:
    """Ask the handler as Lambda does, with the second task's model, which is loaded once for all tests."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def ask(body: Any, path: str = "/predict", method: str = "POST", **more: Any) -> tuple[int, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        answer = serve.handle(make_event(text, path, method) | more, None)
        return answer["statusCode"], json.loads(answer["body"])

    return ask


def test_many_rows_are_answered_as_each_alone_and_as_the_model_predicts(server: Running, trained: Path) -> None:
    sent = read_sent(trained, 60)

    status, _, many = server.ask("POST", "/predict", {"rows": sent})
    alone = [server.ask("POST", "/predict", row)[2] for row in sent]

    predictor, X = load_predictor(trained / ONNX), read_rows(trained / TEST).X[:60]
    expected = predictor.predict(X)
    assert status == 200
    assert any(row["vibration_mm_per_s"] is None for row in sent)
    assert list_probabilities(many) == expected.tolist()
    assert [list_probabilities(one)[0] for one in alone] == [predictor.predict(X[[n]])[0].tolist() for n in range(60)]
    # ONNX Runtime adds many rows up in another order than one: the last of a float's digits may differ.
    np.testing.assert_allclose(np.concatenate([list_probabilities(one) for one in alone]), expected, atol=1e-6)
    assert [one["class"] for one in many["predictions"]] == expected.argmax(axis=1).tolist()
    assert {(one["model_version"], one["model_hash"]) for one in (many, *alone)} == {
        (many["model_version"], predictor.sha256)
    }


def test_handler_answers_an_event_as_the_server_does(server: Running, ask: Callable[..., Any]) -> None:
    _, _, served = server.ask("POST", "/predict", ROW)
    status, plain = ask(ROW)
    _, encoded = ask(base64.b64encode(json.dumps(ROW).encode()).decode(), isBase64Encoded=True)
    _, staged = ask(ROW, path="/live/predict", requestContext={"http": {"method": "POST"}, "stage": "live"})

    assert status == 200
    assert plain["predictions"] == served["predictions"] == encoded["predictions"] == staged["predictions"]


def test_prediction_leaves_a_line_with_what_the_model_saw(server: Running) -> None:
    sent = {key: value for key, value in ROW.items() if key != "vibration_mm_per_s"}

    _, headers, answer = server.ask("POST", "/predict", {"rows": [sent, ROW]}, x_request_id="order-7")

    first, second, point = server.read_log("order-7")
    assert headers["x-request-id"] == answer["request_id"] == "order-7"
    assert first["features"] == {
        "age_days": 120,
        "temperature_celsius": 61.5,
        "vibration_mm_per_s": None,
        "at_foundry": 0,
        "at_harbour": 0,
        "at_mill": 1,
    }
    assert [first["prediction"], second["prediction"]] == answer["predictions"]
    assert (first["row"], second["row"]) == (0, 1)
    assert first["variant"] == point["variant"] == "canary"
    assert (first["model_version"], first["model_hash"]) == (answer["model_version"], answer["model_hash"])
    assert first["time"].endswith("+00:00") and 0 < first["latency_ms"] < 10_000
    assert "inspected_at" not in json.dumps(first)


def test_request_leaves_metrics_in_the_embedded_format(server: Running) -> None:
    server.ask("POST", "/predict", {"rows": [ROW] * 3}, x_request_id="good")
    server.ask("POST", "/predict", {}, x_request_id="bad")

    good, bad = server.read_log("good")[-1], server.read_log("bad")[-1]

    assert len(server.read_log("good")) == 4 and len(server.read_log("bad")) == 1
    (directive,) = good["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "ModelLifecycle/part-failure"
    assert directive["Dimensions"] == [["model_version", "variant"]]
    # Each member that the directive names stands beside it: numbers for metrics, texts for dimensions.
    assert all(isinstance(good[name], str) and good[name] for name in directive["Dimensions"][0])
    assert {one["Name"]: good[one["Name"]] for one in directive["Metrics"]} | {"Latency": 0} == {
        "Latency": 0,
        "Predictions": 3,
        "Errors": 0,
    }
    assert isinstance(good["_aws"]["Timestamp"], int) and good["Latency"] > 0
    assert (bad["status"], bad["Predictions"], bad["Errors"]) == (400, 0, 0)


def test_metrics_go_to_the_namespace_that_the_environment_names(
    ask: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_NAMESPACE", "team/staging")

    ask({})

    (directive,) = json.loads(capsys.readouterr().out)["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "team/staging"


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"age_days": None}, "age_days", "age_days is null; expected a number from 0 (days)."),
        ({"age_days": "12"}, "age_days", 'age_days is "12"; expected a number from 0 (days).'),
        ({"age_days": True}, "age_days", "age_days is true; expected a number"),
        ({"age_days": [[1]]}, "age_days", "age_days is [[1]]; expected a number"),
        ({"age_days": 10**400}, "age_days", "0...; expected a number"),
        ({"temperature_celsius": 401}, "temperature_celsius", "is 401; expected a number from -40 to 400"),
        ({"vibration_mm_per_s": -1}, "vibration_mm_per_s", "(mm/s), or null."),
        ({"site": "mine"}, "site", 'site is "mine"; expected a text out of foundry, harbour, mill'),
        ({"site": "m\u001b[31m\n" * 500}, "site", 'site is "m\\u001b[31m\\nm'),
        ({"inspected_at": "soon"}, "inspected_at", "expected a time such as 2024-01-31T08:30:00 (UTC)."),
        ({"inspected_at": "2025-03-01T08:30:00Z"}, "inspected_at", "expected a time such as"),
        (
            {"colour": 1, "shape": 2},
            "colour",
            '"colour" is no field of a request; expected inspected_at, site, age_days',
        ),
        ({"days_to_failure": 3}, "days_to_failure", "is no field of a request"),
        ({"\u202e\n" * 100: 1}, "?" * 60 + "...", '"\\u202e\\n'),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_broken_contract_is_answered_with_field_value_and_what_was_expected(
    ask: Callable[..., Any], capsys: pytest.CaptureFixture[str], change: dict[str, Any], field: str, said: str
) -> None:
    status, alone = ask(ROW | change)
    _, among = ask({"rows": [ROW, ROW, ROW | change]})

    assert status == 400
    assert alone["field"] == field and said in alone["error"] and len(alone["error"]) < 300
    assert "row" not in alone
    assert among["row"] == 2 and among["error"] == f"rows[2]: {alone['error']}"
    assert alone["error"].isprintable() and alone.get("value", "").isprintable()
    # What was refused leaves its metrics and nothing of itself.
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["request", "request"]


def test_odd_values_in_any_field_are_answered_or_refused_and_never_a_fault(ask: Callable[..., Any]) -> None:
    rng = random.Random(0)
    odd = [
        None,
        True,
        0,
        -0.0,
        1e308,
        2**63,
        10**300,
        "",
        " ",
        "\0",
        "\ud800",
        "mill",
        "2025-03-01",
        "0001-01-01",
        [],
        {},
    ]
    odd += ["9999-12-31T23:59:59.999999", "2025-W09-1", "20250301T0830", "2025-03-01T08:30+01:00", "٢٠٢٥-٠٣-٠١"]
    statuses = []

    for _ in range(500):
        row = {name: rng.choice(odd) if rng.random() < 0.3 else value for name, value in ROW.items()}
        statuses.append(ask(row if rng.random() < 0.5 else {"rows": [ROW, row]})[0])

    assert set(statuses) == {200, 400}


def test_model_that_predicts_no_number_is_a_fault(
    ask: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = read_contract(readings.CONTRACT)
    manifest = serve.get_service().manifest
    broken = Service(manifest, make_regression(np.inf), contract, readings.compute_features, "champion")
    monkeypatch.setattr(serve, "get_service", lambda: broken)

    status, _ = ask({"at": "2024-01-31T08:30", "size": 5})

    kinds = [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]
    assert (status, kinds) == (500, ["request", "fault"])


def test_missing_field_is_called_missing(ask: Callable[..., Any]) -> None:
    status, answer = ask({key: value for key, value in ROW.items() if key != "site"})

    assert (status, answer["field"]) == (400, "site")
    assert answer["error"].startswith("site is missing; expected a text out of foundry")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body is no JSON"),
        ("{", "the body is no JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"age_days": NaN}', "NaN is no JSON number"),
        ('{"age_days": ' + "9" * 5000 + "}", "the body is no JSON"),
        ("[1]", "the body is an array; expected an object"),
        ("null", "the body is null; expected an object"),
        ('{"rows": []}', f"rows holds 0 rows; expected 1 to {MAX_ROWS:,}."),
        ('{"rows": [' + "{}," * MAX_ROWS + "{}]}", f"rows holds 1,001 rows; expected 1 to {MAX_ROWS:,}."),
        ('{"rows": [{}, 3]}', "rows[0]: inspected_at is missing"),
        ('{"rows": [{}], "site": "mill"}', '"site" stands beside rows; expected rows alone.'),
        ('{"rows": 3}', '"rows" is no field of a request'),
        ("\ud800", "the event is of no function URL or HTTP API"),
    ],
    ids=lambda value: value[:20].encode("ascii", "replace").decode(),
)
def test_body_that_is_no_rows_is_refused(ask: Callable[..., Any], body: str, said: str) -> None:
    status, answer = ask(body)

    assert status == 400
    if body != '{"rows": [{}, 3]}':
        assert said in answer["error"]
    else:
        assert answer["error"] == "rows[1] is a number; expected an object."


@pytest.mark.parametrize("event", [None, [], {}, "x", {"rawPath": "/predict"}, make_event("") | {"body": 3}], ids=str)
def test_event_of_another_kind_is_refused(event: Any) -> None:
    answer = serve.handle(event, None)

    assert answer["statusCode"] == 400
    assert "expected payload 2.0" in json.loads(answer["body"])["error"]


def test_body_of_a_megabyte_is_read_and_one_byte_more_is_refused(server: Running) -> None:
    row = json.dumps(ROW).encode()

    fits, _, _ = server.ask("POST", "/predict", row.ljust(MAX_BODY_BYTES))
    large, _, answer = server.ask("POST", "/predict", row.ljust(MAX_BODY_BYTES + 1))
    event = serve.handle(make_event(row.decode().ljust(MAX_BODY_BYTES + 1)), None)

    assert (fits, large, event["statusCode"]) == (200, 413, 413)
    assert answer["error"] == "the body has 1,000,001 bytes; expected at most 1,000,000."


@pytest.mark.parametrize(
    ("sent", "context", "chosen"),
    [
        ("order-7:a.b_c", None, "order-7:a.b_c"),
        ("x" * 129, SimpleNamespace(aws_request_id="lambda-1"), "lambda-1"),
        ('a"} {"b', SimpleNamespace(aws_request_id="lambda-1"), "lambda-1"),
        ("a\nb", SimpleNamespace(aws_request_id="lambda-1"), "lambda-1"),
        ("order-7\n", SimpleNamespace(aws_request_id="lambda-1"), "lambda-1"),
        (None, SimpleNamespace(aws_request_id="lambda-1"), "lambda-1"),
    ],
)
def test_request_id_is_the_callers_if_it_is_safe(sent: str | None, context: Any, chosen: str) -> None:
    event = make_event("", path="/nowhere") | {"headers": {"X-Request-Id": sent} if sent else {}}

    answer = serve.handle(event, context)

    assert answer["headers"]["x-request-id"] == json.loads(answer["body"])["request_id"] == chosen


def test_request_id_is_made_where_nobody_gives_one() -> None:
    first, second = (serve.handle(make_event("", path="/nowhere"), None)["headers"] for _ in range(2))

    assert len(first["x-request-id"]) == 36 and first != second


def test_unexpected_fault_is_answered_with_the_id_alone_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A folder without a model, which is found only when the first request comes.
    monkeypatch.chdir(tmp_path)
    serve.get_service.cache_clear()
    event = make_event(json.dumps({"secret": "s3cr3t"})) | {"headers": {"x-request-id": "r1", "authorization": "k3y"}}

    answer = serve.handle(event, None)

    logged = capsys.readouterr().out
    fault = json.loads(logged)
    assert answer["statusCode"] == 500
    assert json.loads(answer["body"]) == {
        "error": "an unexpected fault; the log has it under the request id.",
        "request_id": "r1",
    }
    assert (fault["kind"], fault["request_id"], fault["error"]) == ("fault", "r1", "RefusedError")
    assert "in load_service" in "".join(fault["traceback"])
    assert "s3cr3t" not in logged and "k3y" not in logged


def test_fault_while_predicting_counts_as_an_error(
    ask: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve.get_service()
    broken = Service(service.manifest, service.predictor, service.contract, lambda columns: {}, "champion")
    monkeypatch.setattr(serve, "get_service", lambda: broken)

    status, answer = ask(ROW)
    monkeypatch.undo()

    point, fault = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (status, set(answer)) == (500, {"error", "request_id"})
    assert (point["status"], point["Errors"], point["Predictions"]) == (500, 1, 0)
    assert fault["error"] == "KeyError" and fault["request_id"] == point["request_id"]


def test_version_is_the_manifest_of_the_commit(server: Running, trained: Path) -> None:
    _, _, manifest = server.ask("GET", "/version")
    _, _, health = server.ask("GET", "/health?deep=1")

    assert manifest == json.loads(run_python(trained, "lifecycle.serving.manifest").stdout)
    assert manifest["domain"] == PACKAGE and manifest["model"]["sha256"] == load_predictor(trained / ONNX).sha256
    assert health == {"status": "ok", "model_version": manifest["version"]}


def test_openapi_says_what_the_contract_promises(server: Running) -> None:
    _, _, document = server.ask("GET", "/openapi.json")

    schemas = document["components"]["schemas"]
    fields = schemas["Row"]["properties"]
    assert document["info"]["title"] == "Machine parts that fail within a week"
    assert list(fields) == list(ROW)
    assert schemas["Row"]["required"] == ["inspected_at", "site", "age_days", "temperature_celsius"]
    assert fields["site"]["enum"] == ["foundry", "harbour", "mill"]
    assert fields["vibration_mm_per_s"]["type"] == ["number", "null"]
    assert (fields["temperature_celsius"]["minimum"], fields["temperature_celsius"]["maximum"]) == (-40, 400)
    assert fields["temperature_celsius"]["description"] == "of the bearing (degrees Celsius)"
    probabilities = schemas["Answer"]["properties"]["predictions"]["items"]["properties"]["probabilities"]
    assert probabilities["required"] == ["0", "1"]


def test_examples_of_openapi_are_answered_as_it_says(server: Running) -> None:
    _, _, document = server.ask("GET", "/openapi.json")
    asked = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]

    for example in asked.values():
        status, _, answer = server.ask("POST", "/predict", example["value"])
        assert status == 200
        assert set(answer) == set(document["components"]["schemas"]["Answer"]["required"])


def test_references_of_openapi_lead_somewhere(server: Running) -> None:
    _, _, document = server.ask("GET", "/openapi.json")

    text = json.dumps(document)
    named = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}

    assert named == set(document["components"]["schemas"])


def test_regression_is_answered_with_numbers_and_described_as_such() -> None:
    contract = read_contract(readings.CONTRACT)
    service = Service({"version": "v1.0.0"}, make_regression(), contract, readings.compute_features, "champion")

    features, predictions = service.predict(
        [{"at": "2024-01-31T08:30", "size": 5}, {"at": "2024-01-31T08:30", "size": 6.5, "kind": "fine"}], True
    )

    answer = describe_service(service)["components"]["schemas"]["Answer"]["properties"]["predictions"]["items"]
    assert predictions == [5, 7.5]
    assert features == {"size": [5, 6.5], "is_fine": [0, 1]}
    assert answer == {"type": "number", "description": "seconds: from begin to end (seconds)", "x-unit": "seconds"}
    row = describe_service(service)["components"]["schemas"]["Row"]["properties"]
    assert row["kind"]["enum"] == ["coarse", "fine", None]


def test_serving_loads_the_standard_library_numpy_and_onnxruntime_alone(trained: Path) -> None:
    code = (
        "import json, sys; before = set(sys.modules); from lifecycle.serve import get_service, handle;"
        "print(get_service.cache_info().currsize, file=sys.stderr);"
        f"print(handle({make_event(json.dumps(ROW))!r}, None)['statusCode'], file=sys.stderr);"
        f"print(handle({make_event('', '/openapi.json', 'GET')!r}, None)['statusCode'], file=sys.stderr);"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before}, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(trained / "src"), "AWS_LAMBDA_FUNCTION_NAME": "served"}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=trained, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    loaded, first, second, names = done.stderr.splitlines()
    # On Lambda the model is loaded before the first request.
    assert (loaded, first, second) == ("1", "200", "200")
    assert {*names.split()} - sys.stdlib_module_names == {"lifecycle", "numpy", "onnxruntime", PACKAGE}
