"""The fit, its conversion, and the proof that the two agree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run_python
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import TargetEncoder

from lifecycle.data.rows import Rows
from lifecycle.errors import ParityError, RefusedError
from lifecycle.metrics import load_metrics
from lifecycle.params import TrainParams, read_params
from lifecycle.paths import CARD, CROSS_VALIDATION, MODEL, ONNX, PROFILE
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.train import UNSEEN, check_parity, cross_validate, list_parity_rows, train
from rehearsal.remote import change_params

PARAMS = TrainParams(seed=0, max_rows=None, folds=2, threads=1, parity_tolerance=0.001, hyperparameters=None)


def make_rows(n: int = 400, classes: bool = False) -> Rows:
    """Make rows whose target depends on both features."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 10, (n, 2)).astype(np.float32)
    y = (X[:, 0] * 2 + X[:, 1] + rng.normal(0, 0.1, n)).astype(np.float32)
    time = np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "h")
    return Rows(("first", "second"), X, (y > y.mean()).astype(np.float32) if classes else y, time, {})


def make_trees() -> Pipeline:
    """Make a model of two steps that convert to different sets of operators."""
    return make_pipeline(TargetEncoder(cv=KFold(2)), HistGradientBoostingRegressor(max_iter=3))


def test_conversion_predicts_what_was_fitted() -> None:
    rows = make_rows()
    fitted, converted, difference = train(rows, LinearRegression(), PARAMS)
    predictor = Predictor(converted)
    assert predictor.features == ("first", "second")
    assert predictor.classes is None
    assert difference <= PARAMS.parity_tolerance
    np.testing.assert_allclose(predictor.predict(rows.X), fitted.predict(rows.X), atol=0.001)


def test_classifier_gives_probabilities_and_its_classes() -> None:
    rows = make_rows(classes=True)
    fitted, converted, _ = train(rows, LogisticRegression(), PARAMS)
    predictor = Predictor(converted)
    assert predictor.classes == (0, 1)
    np.testing.assert_allclose(predictor.predict(rows.X), fitted.predict_proba(rows.X), atol=0.001)


def test_model_that_converts_wrongly_is_refused() -> None:
    """Native categories of these trees are lost in the conversion, and nothing else says so."""
    rows = make_rows()
    model = HistGradientBoostingRegressor(categorical_features=[0], max_iter=20, random_state=0)
    with pytest.raises(ParityError, match=r"differs from the fitted one by .*'first': .*allows 0\.001"):
        train(rows, model, PARAMS)


def test_parity_refuses_a_difference_that_is_no_number() -> None:
    rows = make_rows()
    fitted, converted, _ = train(rows, LinearRegression(), PARAMS)
    X = rows.X.copy()
    X[0, 0] = np.nan

    class Tolerant(RegressorMixin, BaseEstimator):
        """A fitted model that answers where the converted one cannot."""

        def predict(self, X: np.ndarray) -> np.ndarray:
            """Predict with missing values taken for 0."""
            return fitted.predict(np.nan_to_num(X))

    with pytest.raises(ParityError, match="differs from the fitted one by nan"):
        check_parity(Tolerant(), Predictor(converted), X, 0.001)


def test_parity_rows_hold_real_unseen_and_missing_values() -> None:
    """Missing ones only of a feature that can be missing."""
    rows = make_rows()
    rows.X[0, 1] = np.nan
    X = list_parity_rows(rows.X, seed=0)
    assert (X[: len(rows.X)] != UNSEEN).all()
    assert (X == UNSEEN).any(axis=0).all()
    assert np.isnan(X).sum(axis=0).tolist() == [0, np.isnan(X[:, 1]).sum()]
    assert np.isnan(X[:, 1]).sum() > 100


def test_folds_go_forward_in_time() -> None:
    rows = make_rows()
    metrics = load_metrics(["neg_mean_absolute_error"], read_params().load_domain())
    folds = list(cross_validate(LinearRegression(), rows, 3, metrics))
    assert [fold["train_rows"] for fold in folds] == [100, 200, 300]
    assert [fold["test_rows"] for fold in folds] == [100, 100, 100]
    assert all(fold["mean_absolute_error"] < 0.2 for fold in folds)


@pytest.mark.acceptance
def test_same_model_converts_to_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """The converter uses sets of strings, whose order is another one in each process."""
    script = (
        "import hashlib; from test_train import *;"
        "print(hashlib.sha256(train(make_rows(), make_trees(), PARAMS)[1]).hexdigest())"
    )
    seen = set()
    # Two whose orders differ.
    for seed in "05":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", script]
        seen.add(subprocess.run(command, env=environment, capture_output=True, cwd=tmp_path, check=True).stdout)
    assert len(seen) == 1


def test_training_again_gives_the_same_bytes(workspace: Path) -> None:
    """In a process and a folder of its own, from the same prepared rows."""
    before = {path: path.read_bytes() for path in (MODEL, ONNX, CROSS_VALIDATION)}
    for path in before:
        path.unlink()
    run_python(workspace, "lifecycle.train")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.acceptance
def test_model_of_a_sample_is_fitted_on_as_many_rows_and_the_card_says_so(workspace: Path) -> None:
    before = {path: path.read_bytes() for path in (ONNX, PROFILE)}
    change_params(workspace, {"train": {"max_rows": 900}})

    told = run_python(workspace, "lifecycle.train").stderr
    run_python(workspace, "lifecycle.evaluate")

    assert "train rows=900 " in told
    # Two folds.
    assert [fold["test_rows"] for fold in json.loads(CROSS_VALIDATION.read_text(encoding="utf-8"))] == [300, 300]
    assert "fitted on a sample of 900 of the " in CARD.read_text(encoding="utf-8")
    assert all(path.read_bytes() != content for path, content in before.items())


def test_file_that_is_no_model_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(RefusedError, match="is missing; make it with: make pipeline"):
        load_predictor(path)
    path.write_bytes(b"no model")
    with pytest.raises(RefusedError, match="is no model that train wrote") as caught:
        load_predictor(path)
    assert "\n" not in str(caught.value)
