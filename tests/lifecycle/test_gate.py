"""The gate, judged by the command that a person and the workflows run."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from conftest import change_params, commit_all, run_git, run_python
from lifecycle.comparison.champion import predict_champion
from lifecycle.data.rows import Rows, read_rows
from lifecycle.errors import RefusedError
from lifecycle.params import read_params
from lifecycle.paths import ONNX, TEST, TRAIN, VERDICT
from lifecycle.predictor import load_predictor
from lifecycle.registry import find_champion
from lifecycle.train import convert_model, fit_model


@pytest.fixture(scope="module")
def challengers(trained: Path) -> dict[str, bytes]:
    """Models by their fault, and one that is better than the committed one."""
    params = read_params(trained / "params.yaml")
    domain = params.load_domain()
    rows = read_rows(trained / TRAIN)
    rng = np.random.default_rng(0)
    better = domain.build_model(
        rows.features, type(params.train.hyperparameters)(0.1, 200, 31, 10, 1.0), params.train.seed
    )
    fitted = fit_model(better, rows)
    shuffled = fit_model(better, Rows(rows.features, rows.X, rng.permutation(rows.y), rows.time, {}))
    good = convert_model(fitted, rows.features)
    return {
        "better": good,
        "shuffled": convert_model(shuffled, rows.features),
        "unfair": spoil_group(good, rows.features.index("weekday"), group=2, shift=8.0),
        "slow": slow_down(good),
        "not a number": add_to_output(good, lambda name: [helper.make_node("Log", [name], ["spoiled"])], sign=-1),
    }


def add_to_output(model: bytes, build: object, sign: int = 1) -> bytes:
    """Append nodes to a model; they read ``inner`` and write ``spoiled``."""
    graph = onnx.load_from_string(model)
    output = graph.graph.output[0]
    for node in graph.graph.node:
        node.output[:] = ["inner" if name == output.name else name for name in node.output]
    if sign < 0:
        graph.graph.node.append(helper.make_node("Neg", ["inner"], ["negative"]))
    graph.graph.node.extend(build("negative" if sign < 0 else "inner"))
    output.name = "spoiled"
    return graph.SerializeToString()


def spoil_group(model: bytes, column: int, group: float, shift: float) -> bytes:
    """Make a model wrong where a feature has one value, and only there."""
    graph = onnx.load_from_string(model)
    name = graph.graph.input[0].name

    def build(inner: str) -> list[onnx.NodeProto]:
        constants = {"column": np.array([column]), "group": np.float32([group]), "shift": np.float32([shift])}
        return [
            *(
                helper.make_node("Constant", [], [key], value=onnx.numpy_helper.from_array(value))
                for key, value in constants.items()
            ),
            helper.make_node("Gather", [name, "column"], ["value"], axis=1),
            helper.make_node("Equal", ["value", "group"], ["hit"]),
            helper.make_node("Cast", ["hit"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["number", "shift"], ["wrong"]),
            helper.make_node("Add", [inner, "wrong"], ["spoiled"]),
        ]

    return add_to_output(model, build)


def slow_down(model: bytes) -> bytes:
    """Make a model multiply large matrices of zeros at each call, whatever the rows."""

    def build(inner: str) -> list[onnx.NodeProto]:
        size = onnx.numpy_helper.from_array(np.array([500, 500]))
        return [
            helper.make_node("Constant", [], ["size"], value=size),
            # From the input, or the optimiser would do it once and for all.
            helper.make_node("ReduceSum", [inner], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "sum"], ["square"]),
            helper.make_node("Expand", ["square", "size"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
            helper.make_node("ReduceMin", ["product"], ["smallest"], keepdims=0),
            helper.make_node("Constant", [], ["zero"], value=onnx.numpy_helper.from_array(np.float32(0))),
            helper.make_node("Min", ["smallest", "zero"], ["nothing"]),
            helper.make_node("Add", [inner, "nothing"], ["spoiled"]),
        ]

    return add_to_output(model, build)


def put_challenger(model: bytes) -> None:
    """Put a model where ``train`` writes it, and its hash into dvc.lock."""
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    old = yaml.safe_load(lock)["stages"]["train"]["outs"]
    entry = next(out for out in old if out["path"] == str(ONNX))
    ONNX.unlink()
    ONNX.write_bytes(model)
    new = hashlib.md5(model, usedforsecurity=False).hexdigest()
    Path("dvc.lock").write_text(lock.replace(entry["md5"], new), encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shuffled", r"root_mean_squared_error overall \S+ -> \S+, \S+ % worse .*; tolerance is 1 %"),
        ("unfair", r"root_mean_squared_error weekday 3 Wed .* worse .*; slice_tolerance is 5 %"),
        ("slow", r"one prediction takes \S+ ms; max_latency_ms is 2"),
    ],
)
def test_gate_refuses_a_challenger_with_a_fault(
    workspace: Path, challengers: dict[str, bytes], fault: str, reason: str
) -> None:
    put_challenger(challengers[fault])
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gate: refuse" in done.stdout
    assert re.search(reason, done.stdout)
    verdict = json.loads(VERDICT.read_text(encoding="utf-8"))
    assert verdict["outcome"] == "refuse" and len(verdict["reasons"]) >= 1


def test_unfair_challenger_is_better_overall_and_refused_for_its_slice_alone(
    workspace: Path, challengers: dict[str, bytes]
) -> None:
    put_challenger(challengers["unfair"])
    run_python(workspace, "lifecycle.gate", check=False)
    verdict = json.loads(VERDICT.read_text(encoding="utf-8"))
    assert verdict["figures"]["challenger"] < verdict["figures"]["champion"]
    assert len(verdict["reasons"]) == 1
    assert "weekday 3 Wed" in verdict["reasons"][0]


def test_gate_says_unchanged_for_the_champion_itself(workspace: Path) -> None:
    done = run_python(workspace, "lifecycle.gate")
    assert "gate: unchanged" in done.stdout


def test_gate_passes_a_better_challenger(workspace: Path, challengers: dict[str, bytes]) -> None:
    put_challenger(challengers["better"])
    done = run_python(workspace, "lifecycle.gate")
    assert "gate: pass" in done.stdout
    assert "better" in done.stdout


def test_gate_refuses_bytes_that_the_lock_does_not_name(workspace: Path) -> None:
    ONNX.unlink()
    ONNX.write_bytes(b"something else")
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("RefusedError: out/model.onnx is not what dvc.lock names")


def test_gate_refuses_predictions_that_are_no_number(workspace: Path, challengers: dict[str, bytes]) -> None:
    put_challenger(challengers["not a number"])
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1
    assert "no finite number" in done.stderr


def test_gate_without_champion_wants_more_than_the_baseline(
    workspace: Path, challengers: dict[str, bytes]
) -> None:
    """A repository whose first commit holds no model yet."""
    model = ONNX.read_bytes()
    run_git(workspace, "rm", "-q", "--cached", "dvc.lock")
    run_git(workspace, "commit", "-q", "--amend", "-m", "Start without a model")
    done = run_python(workspace, "lifecycle.gate")
    assert "gate: pass (against baseline)" in done.stdout
    put_challenger(challengers["shuffled"])
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1
    assert "not surely better than the baseline" in done.stdout
    put_challenger(model)


def test_champion_is_fed_by_the_features_of_its_own_version(workspace: Path) -> None:
    """After a change of the feature transform, the former model still sees what it was trained on."""
    champion = find_champion("model", "HEAD")
    assert champion is not None
    test = read_rows(TEST)
    expected = load_predictor(ONNX).predict(test.X)
    features = workspace / "src/domain/features.py"
    text = features.read_text(encoding="utf-8")
    features.write_text(text.replace("np.float32(60)", "np.float32(1)"), encoding="utf-8")
    run_python(workspace, "lifecycle.prepare")
    changed = read_rows(TEST)
    assert not np.array_equal(changed.X, test.X)
    made = predict_champion(champion, changed, TEST, "domain")
    np.testing.assert_array_equal(made.prediction, expected)


def test_champion_whose_bytes_are_gone_is_named(workspace: Path) -> None:
    champion = find_champion("model", "HEAD")
    assert champion is not None
    shutil.rmtree(".dvc/cache")
    shutil.rmtree(".dvc/sample-store")
    with pytest.raises(RefusedError, match=str(champion.model_hash)):
        predict_champion(champion, read_rows(TEST), TEST, "domain")


def test_gate_limits_hold_whatever_the_champion_does(workspace: Path, challengers: dict[str, bytes]) -> None:
    change_params(workspace, {"gate": {"limits": {"root_mean_squared_error": 0.5, "r2_score": 0.99}}})
    commit_all(workspace, "Ask for much")
    put_challenger(challengers["better"])
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1
    assert re.search(r"root_mean_squared_error is \S+; the limit is 0.5000", done.stdout)
    assert re.search(r"r2_score is \S+; the limit is 0.9900", done.stdout)


def test_gate_asks_for_a_known_base(workspace: Path) -> None:
    done = run_python(workspace, "lifecycle.gate", "--base", "nowhere", check=False)
    assert done.returncode == 2
    assert "'nowhere' is no revision" in done.stderr
