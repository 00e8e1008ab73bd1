"""A challenger beside the champion: whom it answers, and that a shadow is in nobody's way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rivals import list_models
from servers import ROW, list_probabilities, make_event, read_sent

from lifecycle import serve
from lifecycle.data.contract import read_contract
from lifecycle.data.rows import read_rows
from lifecycle.params import read_params
from lifecycle.paths import ONNX, TEST
from lifecycle.predictor import METADATA, Predictor, load_predictor
from lifecycle.serving.challenge import _SLOTS, is_dealt
from lifecycle.serving.manifest import describe_model
from lifecycle.serving.openapi import describe_service
from lifecycle.serving.service import Service, add_challenger

KEYS = [f"caller-{number}" for number in range(100_000)]
SERVE = {"mode": "shadow", "budget_ms": 20_000, "share": 0.3, "key": "x-key", "salt": "a"}
# Looks for a row of the weights that is not there, and finds that out only when it predicts.
FAULT = [
    helper.make_node("Shape", ["X"], ["shape"]),
    helper.make_node("Mul", ["shape", "many"], ["beyond"]),
    helper.make_node("Gather", ["weights", "beyond"], ["rows"]),
    helper.make_node("ReduceSum", ["rows"], ["made"], keepdims=0),
]
Ask = Callable[..., tuple[int, dict[str, Any], list[dict[str, Any]]]]


@pytest.fixture(name="champion", scope="module")
def fixture_champion(rivals: Path) -> Service:
    """The champion v1.0.0, alone."""
    return load_champion(rivals)


@pytest.fixture(name="challenger", scope="module")
def fixture_challenger(rivals: Path) -> Predictor:
    """The challenger v1.1.0."""
    return load_predictor(rivals / ONNX)


@pytest.fixture(name="ask")
def fixture_ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Ask a service through the handler; gives the status, the answer and the log's lines."""

    def ask(service: Service, body: Any, **headers: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        monkeypatch.setattr(serve, "get_service", lambda: service)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = serve.handle(make_event(json.dumps(body)) | {"headers": sent}, None)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return answer["statusCode"], json.loads(answer["body"]), lines

    return ask


def load_champion(rivals: Path) -> Service:
    """Load the champion v1.0.0, described in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(rivals)
        patch.setattr(sys, "path", sys.path[:])
        params = read_params()
        domain, manifest = params.load_domain(), describe_model(params) | {"version": "v1.0.0"}
    contract = read_contract(domain.CONTRACT)
    return Service(manifest, load_predictor(list_models(rivals)[0]), contract, domain.compute_features, "champion")


def put_beside(champion: Service, challenger: Predictor, **changes: Any) -> Service:
    """Put a challenger beside the champion."""
    manifest = champion.manifest | {"challenger": {"version": "v1.1.0"}, "serve": SERVE | changes}
    return add_challenger(replace(champion, manifest=manifest), challenger)


def make_classifier(champion: Service, *before: onnx.NodeProto) -> Predictor:
    """Make a model of the champion's features whose probabilities are what the nodes before make of `half`."""
    features = len(champion.predictor.features)
    X = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, features])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    constants = [
        helper.make_tensor("weights", TensorProto.FLOAT, [features, 2], [0.0] * features * 2),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("many", TensorProto.INT64, [], [1000]),
        helper.make_tensor("rounds", TensorProto.INT64, [], [300_000]),
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
    ]
    last = [
        helper.make_node("MatMul", ["X", "weights"], ["zeros"]),
        helper.make_node("Add", ["zeros", "made"], ["y"]),
    ]
    graph = helper.make_graph([*before, *last], "made", [X], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    described = {"features": champion.predictor.features, "classes": champion.predictor.classes}
    helper.set_model_props(model, {METADATA: json.dumps(described)})
    return Predictor(model.SerializeToString())


def make_loop() -> onnx.NodeProto:
    """Make a node that counts for seconds, in a way that no optimisation sees through."""
    body = helper.make_graph(
        [helper.make_node("Sin", ["before"], ["after"]), helper.make_node("Identity", ["going"], ["still"])],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, []),
        ],
    )
    return helper.make_node("Loop", ["rounds", "true", "half"], ["made"], body=body)


def test_shadow_predicts_the_same_request_and_the_champion_answers(
    champion: Service, challenger: Predictor, rivals: Path, ask: Ask
) -> None:
    sent = read_sent(rivals, 20)

    _, alone, _ = ask(champion, {"rows": sent}, x_request_id="order-7")
    status, answer, lines = ask(put_beside(champion, challenger), {"rows": sent}, x_request_id="order-7")

    X = read_rows(rivals / TEST).X[:20]
    assert status == 200 and answer == alone
    assert answer["model_hash"] == champion.predictor.sha256 and answer["model_version"] == "v1.0.0"
    assert [(line["kind"], line["variant"]) for line in lines] == [
        *[("prediction", "champion")] * 20,
        ("request", "champion"),
        *[("prediction", "shadow")] * 20,
        ("request", "shadow"),
    ]
    assert {line["request_id"] for line in lines} == {"order-7"}
    shadows = [line for line in lines if (line["kind"], line["variant"]) == ("prediction", "shadow")]
    assert [line["row"] for line in shadows] == list(range(20))
    predicted = [list(line["prediction"]["probabilities"].values()) for line in shadows]
    assert predicted == challenger.predict(X).tolist() != list_probabilities(answer)
    assert {(line["model_version"], line["model_hash"]) for line in shadows} == {("v1.1.0", challenger.sha256)}
    assert (lines[-1]["status"], lines[-1]["Predictions"], lines[-1]["model_version"]) == (200, 20, "v1.1.0")


@pytest.mark.parametrize(
    ("nodes", "budget_ms", "error"),
    [
        ([helper.make_node("Div", ["zero", "zero"], ["made"])], 20_000, "ValueError"),
        (FAULT, 20_000, "InvalidArgument"),
        ([make_loop()], 1, "TimeoutError"),
    ],
    ids=["no number", "fault", "slow"],
)
def test_shadow_that_fails_or_is_slow_is_logged_and_the_answer_is_the_champions(
    champion: Service, ask: Ask, nodes: list[onnx.NodeProto], budget_ms: float, error: str
) -> None:
    broken = make_classifier(champion, *nodes)

    _, alone, _ = ask(champion, ROW, x_request_id="order-7")
    status, answer, lines = ask(put_beside(champion, broken, budget_ms=budget_ms), ROW, x_request_id="order-7")

    wait_for_shadows()
    assert status == 200 and answer == alone
    assert [line["kind"] for line in lines] == ["prediction", "request", "fault", "request"]
    fault, point = lines[2:]
    assert fault["error"] == error
    assert {(one["request_id"], one["model_version"], one["variant"]) for one in (fault, point)} == {
        ("order-7", "v1.1.0", "shadow")
    }
    assert (point["status"], point["Errors"], point["Predictions"]) == (500, 1, 0)
    assert (lines[1]["status"], lines[1]["Errors"], lines[1]["variant"]) == (200, 0, "champion")


def test_shadows_that_never_end_do_not_pile_up(champion: Service, ask: Ask) -> None:
    service = put_beside(champion, make_classifier(champion, make_loop()), budget_ms=1)

    asked = [ask(service, ROW) for _ in range(6)]

    wait_for_shadows()
    messages = [lines[2]["message"] for _, _, lines in asked]
    assert {status for status, _, _ in asked} == {200}
    assert messages == ["no prediction within 1 ms"] * 4 + ["former requests still wait for the shadow"] * 2


def wait_for_shadows() -> None:
    """Wait until no shadow predicts any more."""
    for _ in range(4):
        _SLOTS.acquire()  # pylint: disable=consider-using-with
    _SLOTS.release(4)


def test_refused_request_is_not_shown_to_the_shadow(champion: Service, challenger: Predictor, ask: Ask) -> None:
    status, _, lines = ask(put_beside(champion, challenger), ROW | {"age_days": -1})

    assert status == 400 and [line["variant"] for line in lines] == ["champion"]


def test_split_lets_one_model_answer_and_names_it(champion: Service, challenger: Predictor, ask: Ask) -> None:
    service = put_beside(champion, challenger, mode="split")
    answered = {"champion": champion.predictor, "challenger": challenger}

    for key in KEYS[:40]:
        variant = "challenger" if is_dealt(key, "a", 0.3) else "champion"
        status, answer, lines = ask(service, ROW, x_key=key)
        _, again, _ = ask(service, ROW, X_Key=key)

        expected = put_beside(champion, challenger).challenger if variant == "challenger" else champion
        assert status == 200 and answer["predictions"] == again["predictions"]
        assert answer["predictions"] == expected.predict([ROW], False)[1]
        assert answer["model_hash"] == again["model_hash"] == answered[variant].sha256
        assert answer["model_version"] == ("v1.1.0" if variant == "challenger" else "v1.0.0")
        assert [(line["kind"], line["variant"]) for line in lines] == [("prediction", variant), ("request", variant)]
        assert key not in json.dumps(lines)


def test_caller_who_names_no_key_is_dealt_by_the_requests_id(
    champion: Service, challenger: Predictor, ask: Ask
) -> None:
    service = put_beside(champion, challenger, mode="split")

    for request_id in KEYS[:20]:
        _, answer, _ = ask(service, ROW, x_request_id=request_id)
        _, keyed, _ = ask(service, ROW, x_request_id="another", x_key=request_id)
        assert answer["model_hash"] == keyed["model_hash"]


def test_key_that_is_no_text_is_dealt_all_the_same(champion: Service, challenger: Predictor, ask: Ask) -> None:
    status, _, _ = ask(put_beside(champion, challenger, mode="split"), ROW, x_key="\ud800")

    assert status == 200


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_share_of_100000_keys_is_the_declared_one(share: float) -> None:
    dealt = sum(is_dealt(key, "a", share) for key in KEYS)

    # Four standard deviations of as many throws.
    assert abs(dealt - share * len(KEYS)) < 4 * np.sqrt(len(KEYS) * share * (1 - share))


@pytest.mark.acceptance
def test_keys_are_dealt_alike_in_every_process_and_anew_under_another_salt() -> None:
    code = (
        "from lifecycle.serving.challenge import is_dealt\n"
        "print(*(int(is_dealt(f'caller-{number}', 'a', 0.3)) for number in range(100_000)), sep='')"
    )
    processes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]

    here = np.array([is_dealt(key, "a", 0.3) for key in KEYS])
    anew = np.array([is_dealt(key, "b", 0.3) for key in KEYS])
    more = np.array([is_dealt(key, "a", 0.4) for key in KEYS])
    assert processes[0] == processes[1] == "".join(str(int(dealt)) for dealt in here)
    assert abs((here & anew).mean() - 0.09) < 0.005
    # Who has the challenger keeps it when its share grows.
    assert (more[here]).all()


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_openapi_names_the_callers_header_in_a_split(champion: Service, challenger: Predictor, mode: str) -> None:
    alone, document = (describe_service(one) for one in (champion, put_beside(champion, challenger, mode=mode)))

    headers = [one["name"] for one in document["paths"]["/predict"]["post"]["parameters"]]
    assert headers == (["x-request-id", "x-key"] if mode == "split" else ["x-request-id"])
    assert document["components"] == alone["components"] and document["info"] == alone["info"]
