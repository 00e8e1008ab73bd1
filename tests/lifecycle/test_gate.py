"""The gate, judged by the command that a person and the workflows run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import PACKAGE, commit_all, put_model, run_git, run_here, run_python
from onnx import helper

from lifecycle.comparison.champion import predict_champion
from lifecycle.data.rows import read_rows
from lifecycle.errors import RefusedError
from lifecycle.params import read_params
from lifecycle.paths import ONNX, TEST, TRAIN, VERDICT
from lifecycle.predictor import load_predictor
from lifecycle.registry import find_champion
from lifecycle.train import convert_model, fit_model
from rehearsal.remote import change_params

# The last key of the row whose group is spoiled, and how far its probabilities are drawn to the wrong side.
GROUP, SPOILED = "at_mill", 0.4


@pytest.fixture(name="challengers", scope="module")
def fixture_challengers(trained: Path) -> dict[str, bytes]:
    """Models by their fault, and one that is better than the committed one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        params, rows = read_params(), read_rows(TRAIN)
        domain = params.load_domain()
    model = domain.build_model(rows.features, type(params.train.hyperparameters)(1.0, 100), params.train.seed)
    constant = domain.build_model(rows.features, type(params.train.hyperparameters)(1e9, 100), params.train.seed)
    shuffled = np.random.default_rng(1).permutation(rows.y)
    good = convert_model(fit_model(model, rows), rows.features)
    return {
        "better": good,
        "shuffled": convert_model(fit_model(model, replace(rows, y=shuffled)), rows.features),
        "constant": convert_model(fit_model(constant, rows), rows.features),
        "unfair": spoil_group(good, rows.features.index(GROUP)),
        "slow": slow_down(good),
        "not a number": add_to_output(good, lambda name: [helper.make_node("Log", [name], ["spoiled"])], sign=-1),
    }


def add_to_output(model: bytes, build: object, sign: int = 1) -> bytes:
    """Append nodes to a model; they read ``inner`` and write ``spoiled``."""
    graph = onnx.load_from_string(model)
    output = graph.graph.output[-1]
    for node in graph.graph.node:
        node.output[:] = ["inner" if name == output.name else name for name in node.output]
    if sign < 0:
        graph.graph.node.append(helper.make_node("Neg", ["inner"], ["negative"]))
    graph.graph.node.extend(build("negative" if sign < 0 else "inner"))
    output.name = "spoiled"
    return graph.SerializeToString()


def spoil_group(model: bytes, column: int) -> bytes:
    """Make a model's probabilities wrong for the rows of one group, and only for them."""
    graph = onnx.load_from_string(model)
    name = graph.graph.input[0].name

    def build(inner: str) -> list[onnx.NodeProto]:
        constants = {"column": np.array([column]), "share": np.float32([SPOILED]), "one": np.float32([1])}
        return [
            *(
                helper.make_node("Constant", [], [key], value=onnx.numpy_helper.from_array(value))
                for key, value in constants.items()
            ),
            # spoiled = inner + share * hit * ((1 - inner) - inner)
            helper.make_node("Gather", [name, "column"], ["hit"], axis=1),
            helper.make_node("Mul", ["hit", "share"], ["weight"]),
            helper.make_node("Sub", ["one", inner], ["other"]),
            helper.make_node("Sub", ["other", inner], ["way"]),
            helper.make_node("Mul", ["weight", "way"], ["wrong"]),
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


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shuffled", r"log_loss overall \S+ -> \S+, \S+ % worse .*; tolerance is 1 %"),
        ("unfair", r"log_loss site mill .* worse .*; slice_tolerance is 10 %"),
        ("slow", r"one prediction takes \S+ ms; max_latency_ms is 2"),
    ],
)
def test_gate_refuses_a_challenger_with_a_fault(
    workspace: Path, challengers: dict[str, bytes], fault: str, reason: str
) -> None:
    put_model(workspace, challengers[fault])
    done = run_python(workspace, "lifecycle.gate", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gate: refuse" in done.stdout
    assert re.search(reason, done.stdout)
    verdict = json.loads(VERDICT.read_text(encoding="utf-8"))
    assert verdict["outcome"] == "refuse" and len(verdict["reasons"]) >= 1


def test_unfair_challenger_is_better_overall_and_refused_for_its_slice_alone(
    workspace: Path, challengers: dict[str, bytes]
) -> None:
    put_model(workspace, challengers["unfair"])
    run_here(workspace, "lifecycle.gate")
    verdict = json.loads(VERDICT.read_text(encoding="utf-8"))
    assert verdict["figures"]["challenger"] < verdict["figures"]["champion"]
    assert len(verdict["reasons"]) == 1
    assert "site mill" in verdict["reasons"][0]


def test_gate_says_unchanged_for_the_champion_itself(workspace: Path) -> None:
    done = run_here(workspace, "lifecycle.gate")
    assert "gate: unchanged" in done.stdout


def test_gate_passes_a_better_challenger(workspace: Path, challengers: dict[str, bytes]) -> None:
    put_model(workspace, challengers["better"])
    done = run_here(workspace, "lifecycle.gate")
    assert "gate: pass" in done.stdout
    assert "better" in done.stdout


def test_gate_refuses_bytes_that_the_lock_does_not_name(workspace: Path) -> None:
    ONNX.unlink()
    ONNX.write_bytes(b"something else")
    done = run_here(workspace, "lifecycle.gate")
    assert done.returncode == 1
    assert done.stderr.startswith("RefusedError: out/model.onnx is not what dvc.lock names")


def test_gate_refuses_predictions_that_are_no_number(workspace: Path, challengers: dict[str, bytes]) -> None:
    put_model(workspace, challengers["not a number"])
    done = run_here(workspace, "lifecycle.gate")
    assert done.returncode == 1
    assert "no finite number" in done.stderr


def test_gate_without_champion_wants_more_than_the_baseline(workspace: Path, challengers: dict[str, bytes]) -> None:
    """A repository whose first commit holds no model yet."""
    run_git(workspace, "rm", "-q", "--cached", "dvc.lock")
    run_git(workspace, "commit", "-q", "--amend", "-m", "Start without a model")
    done = run_here(workspace, "lifecycle.gate")
    assert "gate: pass (against baseline)" in done.stdout
    put_model(workspace, challengers["constant"])
    done = run_here(workspace, "lifecycle.gate")
    assert done.returncode == 1
    assert "not surely better than the baseline" in done.stdout


def test_champion_is_fed_by_the_features_of_its_own_version(workspace: Path) -> None:
    """After a change of the feature transform, the former model still sees what it was trained on."""
    champion = find_champion(read_params().registry.name, "HEAD")
    assert champion is not None
    test = read_rows(TEST)
    expected = load_predictor(ONNX).predict(test.X)
    features = workspace / "src" / PACKAGE / "features.py"
    text = features.read_text(encoding="utf-8")
    features.write_text(text.replace("columns[name]", "2 * columns[name]"), encoding="utf-8")
    run_here(workspace, "lifecycle.prepare")
    changed = read_rows(TEST)
    assert not np.array_equal(changed.X, test.X)
    made = predict_champion(champion, changed, TEST, PACKAGE)
    np.testing.assert_array_equal(made.prediction, expected)


@pytest.mark.usefixtures("workspace")
def test_champion_whose_bytes_are_gone_is_named() -> None:
    champion = find_champion(read_params().registry.name, "HEAD")
    assert champion is not None
    shutil.rmtree(".dvc/cache")
    shutil.rmtree(".dvc/sample-store")
    with pytest.raises(RefusedError, match=str(champion.model_hash)):
        predict_champion(champion, read_rows(TEST), TEST, PACKAGE)


def test_gate_limits_hold_whatever_the_champion_does(workspace: Path, challengers: dict[str, bytes]) -> None:
    change_params(workspace, {"gate": {"limits": {"log_loss": 0.01, "roc_auc_score": 0.999}}})
    commit_all(workspace, "Ask for much")
    put_model(workspace, challengers["better"])
    done = run_here(workspace, "lifecycle.gate")
    assert done.returncode == 1
    assert re.search(r"log_loss is \S+; the limit is 0.01000", done.stdout)
    assert re.search(r"roc_auc_score is \S+; the limit is 0.9990", done.stdout)


def test_gate_asks_for_a_known_base(workspace: Path) -> None:
    done = run_here(workspace, "lifecycle.gate", "--base", "nowhere")
    assert done.returncode == 2
    assert "'nowhere' is no revision" in done.stderr
