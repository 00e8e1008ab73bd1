"""A challenger beside the champion: in one bundle, in the answers and in the log."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from conftest import PACKAGE, commit_all, replace_text, run_git, run_python
from onnx import TensorProto, helper
from test_bundle import read_json, require_platform
from test_compare import list_models
from test_serve import ROW, Running, list_probabilities, make_event, read_sent, start_server

from lifecycle import serve
from lifecycle.data.rows import read_rows
from lifecycle.delivery.answers import KnownAnswers, read_answers
from lifecycle.deploy import read_release
from lifecycle.errors import RefusedError
from lifecycle.paths import BUNDLE, BUNDLE_FACTS, BUNDLE_MATERIALS, CHALLENGER, CHAMPION, ONNX, TEST
from lifecycle.predictor import METADATA, Predictor, load_predictor
from lifecycle.repository import find_hash, hash_content, read_lock
from lifecycle.serving.archive import hash_tree
from lifecycle.serving.challenge import _SLOTS, is_dealt
from lifecycle.serving.manifest import hash_bytes
from lifecycle.serving.openapi import describe_service
from lifecycle.serving.service import MANIFEST, Service, add_challenger, load_service
from rehearsal.remote import change_params

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
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(rivals)
        patch.setattr(sys, "path", sys.path[:])
        service = load_service()
    manifest = service.manifest | {"version": "v1.0.0"}
    return replace(service, manifest=manifest, predictor=load_predictor(list_models(rivals)[0]))


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


@pytest.fixture(name="bundled", scope="module")
def fixture_bundled(rivals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the two versions in which the bundle of both was built."""
    require_platform()
    folder = tmp_path_factory.mktemp("challenger") / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    said = run_python(folder, "lifecycle.bundle", "--challenger", "v1.1.0").stdout
    assert said.startswith("out/bundle.zip  part-failure v1.0.0 with the challenger v1.1.0 (shadow)  ")
    return folder


@pytest.fixture(name="unpacked", scope="module")
def fixture_unpacked(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle of both was unpacked."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(bundled / BUNDLE) as file:
        file.extractall(unpacked)
    return unpacked


@pytest.fixture(name="server", scope="module")
def fixture_server(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the unpacked bundle on loopback."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with (
        log.open("w", encoding="utf-8") as file,
        start_server(unpacked, file, PYTHONPATH=str(unpacked)) as (address, process),
    ):
        yield Running(process.pid, int(address.rpartition(":")[2]), log)


def test_bundle_of_both_says_the_truth_about_both(
    bundled: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundled)
    manifest, facts = read_json(unpacked / MANIFEST), read_json(BUNDLE_FACTS)

    champion, challenger = (
        run_git(bundled, "rev-parse", f"part-failure@{one}^{{commit}}").strip() for one in ("v1.0.0", "v1.1.0")
    )
    for described, commit, version, name in (
        (manifest, champion, "v1.0.0", ONNX.name),
        (manifest["challenger"], challenger, "v1.1.0", CHALLENGER.name),
    ):
        content = (unpacked / name).read_bytes()
        assert (described["version"], described["commit"]) == (version, commit)
        assert described["model"] == {
            "md5": find_hash(read_lock(commit), str(ONNX)),
            "sha256": hash_bytes(content),
            "size_bytes": len(content),
        }
        assert described["model"]["md5"] == hash_content(content)
        assert described["metrics"] == json.loads(run_git(bundled, "show", f"{commit}:out/metrics.json"))
    assert manifest["changed"] is False and manifest["code"] == challenger
    assert manifest["serve"] == yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["serve"]
    assert manifest["files_sha256"] == hash_tree(unpacked, MANIFEST)
    assert facts["challenger"] == "v1.1.0 (shadow)" and facts["version"] == "v1.0.0"
    bill = read_json(BUNDLE_MATERIALS)
    models = [one for one in bill["components"] if one["type"] == "machine-learning-model"]
    assert [one["version"] for one in models] == ["v1.0.0", "v1.1.0"]


def test_bundle_of_both_serves_both_over_http(server: Running, rivals: Path) -> None:
    sent, X = read_sent(rivals, 10), read_rows(rivals / TEST).X[:10]

    _, _, shown = server.ask("GET", "/version")
    status, _, answer = server.ask("POST", "/predict", {"rows": sent}, x_request_id="order-7")
    server.ask("GET", "/health")

    champion, challenger = (load_predictor(path) for path in list_models(rivals))
    logged = [line for line in server.read_log("order-7") if line["kind"] == "prediction"]
    assert (shown["version"], shown["challenger"]["version"]) == ("v1.0.0", "v1.1.0")
    assert status == 200 and list_probabilities(answer) == champion.predict(X).tolist()
    assert [line["variant"] for line in logged] == ["champion"] * 10 + ["shadow"] * 10
    assert [list(line["prediction"]["probabilities"].values()) for line in logged[10:]] == challenger.predict(
        X
    ).tolist()


class Answering:
    """Stands where a deployed function does, and lets the handler answer."""

    def invoke(self, version: str, event: dict[str, Any]) -> dict[str, Any]:
        """Answer an event."""
        assert version
        return serve.handle(event, None)


def pack_split(bundle: Path, path: Path) -> Path:
    """Pack the same models for a split."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(path, "w") as target:
        for name in (ONNX.name, CHALLENGER.name):
            target.writestr(name, source.read(name))
        manifest = json.loads(source.read(MANIFEST))
        target.writestr(MANIFEST, json.dumps({**manifest, "serve": {**manifest["serve"], "mode": "split"}}))
    return path


def test_deploy_knows_the_answers_of_each_model_that_answers(
    bundled: Path, champion: Service, challenger: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundled)
    split = put_beside(champion, challenger, mode="split")
    monkeypatch.setattr(serve, "get_service", lambda: split)
    service: Any = Answering()

    release = read_release()
    both = read_answers(pack_split(release.path, tmp_path / "split.zip"))

    assert len(read_answers(release.path).predictions) == 1 and release.name == "part-failure@v1.0.0"
    for _ in range(20):
        both.check(service, "1")
    third = KnownAnswers(both.rows, tuple(own + 0.1 for own in both.predictions))
    with pytest.raises(RefusedError, match="predicts otherwise than the model that was approved"):
        third.check(service, "1")


def change_domain(folder: Path) -> None:
    """Change the code of the task since the champion."""
    replace_text(folder / "src" / PACKAGE / "features.py", "float32", "float64")
    commit_all(folder, "Change a feature")


def end_production(folder: Path) -> None:
    """Leave no version in production."""
    run_git(folder, "tag", "--delete", "part-failure#production#1")


def retire(folder: Path) -> None:
    """Take the challenger out of use."""
    run_python(folder, "lifecycle.registry", "retire", "v1.1.0")


def promote(folder: Path) -> None:
    """Make the challenger the champion."""
    run_python(folder, "lifecycle.registry", "promote", "v1.1.0")


def bring_other_features(folder: Path) -> None:
    """Register a version whose model takes other features, though the code is the same."""
    model = onnx.load(folder / ONNX)
    described = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps(described | {"features": described["features"][::-1]})
    content = model.SerializeToString()
    run_git(folder, "tag", "--delete", "part-failure@v1.1.0")
    (folder / ONNX).unlink()
    (folder / ONNX).write_bytes(content)
    former = find_hash(yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8")), str(ONNX))
    md5 = hash_content(content)
    replace_text(folder / "dvc.lock", str(former), md5)
    (folder / ".dvc/cache/files/md5" / md5[:2]).mkdir(exist_ok=True)
    (folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).write_bytes(content)
    commit_all(folder, "Bring a model of other features")
    run_python(folder, "lifecycle.registry", "register", "--version", "v1.1.0")


@pytest.mark.parametrize(
    ("prepare", "version", "said"),
    [
        (end_production, "v1.1.0", "RefusedError: no version is in production, so there is nobody to challenge."),
        (retire, "v1.1.0", "RefusedError: part-failure@v1.1.0 is retired; name another version."),
        (promote, "v1.1.0", "RefusedError: part-failure@v1.1.0 is the champion's model itself"),
        (change_domain, "v1.1.0", "RefusedError: src/parts is not what it was when v1.0.0 was made"),
        (bring_other_features, "v1.1.0", "RefusedError: v1.1.0 has the features "),
        (lambda folder: None, "v7.0.0", "MisuseError: part-failure@v7.0.0 is not registered"),
    ],
    ids=["no champion", "retired", "itself", "other code", "other features", "unknown"],
)
def test_challenger_that_cannot_share_a_bundle_is_refused_and_the_former_bundle_stays(
    rivals: Path, tmp_path: Path, prepare: Callable[[Path], None], version: str, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    prepare(folder)
    (folder / BUNDLE).write_bytes(b"former")

    done = run_python(folder, "lifecycle.bundle", "--challenger", version, check=False)

    assert done.returncode in (1, 2) and done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (folder / BUNDLE).read_bytes() == b"former" and not (folder / BUNDLE_FACTS).exists()


def test_share_and_mode_of_params_go_into_the_manifest(rivals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    change_params(folder, {"serve": {"mode": "split", "share": 0.25}})
    commit_all(folder, "Split")
    code = (
        "import json; from lifecycle.params import read_params;"
        "from lifecycle.serving.contenders import describe_challenge;"
        "print(json.dumps(describe_challenge(read_params(), 'v1.1.0')))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)

    manifest = json.loads(done.stdout)
    assert (manifest["serve"]["mode"], manifest["serve"]["share"]) == ("split", 0.25)
    assert manifest["version"] == "v1.0.0" and (folder / CHAMPION).is_file() and (folder / CHALLENGER).is_file()
