"""Explain: contributions add up, similar rows are the nearest, and the model is the one that answered."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import readings
from logs import make_line, write_log
from repositories import copy_repository, git
from sklearn.linear_model import LinearRegression

from lifecycle.data.contract import read_contract, read_request
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.explain import find_line, find_training, list_contributions, list_similar, main, read_row
from lifecycle.explanation.inputs import take_columns, take_features
from lifecycle.explanation.shapley import Shares, check_sum, share_out
from lifecycle.explanation.training import (
    Neighbours,
    find_neighbours,
    measure_scale,
    place_rows,
    sample_rows,
    stream_months,
)
from lifecycle.params import read_params
from lifecycle.predictor import Predictor
from lifecycle.serve import get_service, handle
from lifecycle.train import convert_model
from lifecycle.views.explain_text import format_explanation

CONTRACT = read_contract(readings.CONTRACT)
NAMES = ("size", "is_fine")
# Each size and kind at once: the model is 30 + size / 10, and 5 more for fine probes.
CORNERS = np.array([[0, 0], [100, 0], [0, 1]], np.float32)
RNG = np.random.default_rng(0)


@pytest.fixture(name="predictor", scope="module")
def fixture_predictor() -> Predictor:
    """A linear model of the smallest task."""
    return Predictor(convert_model(LinearRegression().fit(CORNERS, [30.0, 40.0, 35.0]), NAMES))


def make_columns(rows: int) -> dict[str, np.ndarray]:
    """Make rows of the smallest task."""
    return {
        "at": np.datetime64("2024-01-01", "us") + np.arange(rows).astype("m8[h]"),
        "size": RNG.uniform(0, 100, rows),
        "kind": RNG.choice(np.array(["fine", "coarse", None], object), rows),
        "seconds": RNG.uniform(1, 60, rows),
    }


def make_explanation(**changes: Any) -> dict[str, Any]:
    """Make an explanation as it is written."""
    contributions = [
        {"input": "size", "value": "90", "contribution": 4.0},
        {"input": "a name that goes on and on and on", "value": "x" * 40, "contribution": -2.0},
    ]
    similar = {"distance": 0.1, "time": "2024-01-01T00:00", "actual": 31.0, "predicted": 32.0}
    return {
        "request_id": "r" * 128,
        "target": "seconds",
        "unit": "seconds",
        "prediction": 37.0,
        "base": 35.0,
        "background_rows": 20,
        "kind": "columns",
        "is_exact": True,
        "gap": 1e-7,
        "contributions": contributions,
        "similar": [{**similar, "inputs": {row["input"]: row["value"] for row in contributions}}],
        "searched_rows": 1234,
        "model_hash": "0" * 64,
        "lineage": {
            "version": None,
            "pull_request": "#7",
            "commit": {"hash": "a" * 40, "author": "Ada", "date": "2026-11-20", "subject": "Train " * 30},
            "data": None,
        },
    } | changes


@pytest.mark.parametrize(("inputs", "is_exact"), [(5, True), (14, False)])
def test_shapley_values_of_a_linear_function_are_weights_times_deviations(inputs: int, is_exact: bool) -> None:
    weights, row, background = RNG.normal(0, 3, inputs), RNG.normal(0, 1, inputs), RNG.normal(0, 1, (30, inputs))

    shares = share_out(lambda X: X @ weights + 7, row, background, 1e-6, 0)

    assert shares.values == pytest.approx((weights * (row - background.mean(axis=0))).tolist())
    assert shares.base == pytest.approx((background @ weights + 7).mean())
    assert shares.prediction == pytest.approx(row @ weights + 7)
    assert shares.gap < 1e-6
    assert shares.is_exact is is_exact


def test_contributions_that_do_not_add_up_are_refused() -> None:
    answers = iter(range(10_000_000))

    def waver(X: np.ndarray) -> np.ndarray:
        return np.array([float(next(answers)) for _ in X])

    with pytest.raises(RefusedError, match=r"^the contributions add up to .*; expected them to agree to 0\.001\."):
        share_out(waver, np.ones(3), np.zeros((10, 3)), 0.001, 0)


@pytest.mark.parametrize("gap", [0.0011, np.nan])
def test_sum_that_is_off_is_refused_and_one_within_the_tolerance_is_not(gap: float) -> None:
    shares = Shares(3.0, 1.0, (2.0, gap), gap, True)

    assert check_sum(Shares(3.0, 1.0, (2.0,), 0.0, True), 0.001).gap == 0
    with pytest.raises(RefusedError, match="^the contributions add up to .* and the prediction is 3; expected them"):
        check_sum(shares, 0.001)


def test_similar_rows_are_told_with_what_became_of_them_and_what_the_model_says(predictor: Predictor) -> None:
    columns = make_columns(2) | {"size": np.array([10.0, 20.0]), "kind": np.array(["fine", None], object)}
    inputs = take_features({"size": 90.0, "is_fine": 1.0}, predictor, readings.compute_features)

    rows = list_similar(Neighbours(columns, np.array([0.5, 1.5]), 99), inputs, CONTRACT, predictor, readings)

    assert [row["actual"] for row in rows] == columns["seconds"].tolist()
    assert [row["predicted"] for row in rows] == pytest.approx([36, 32], abs=1e-4)
    assert [row["distance"] for row in rows] == [0.5, 1.5]
    assert rows[1]["inputs"] == {"size": "20", "is_fine": "0"}


def test_columns_become_numbers_and_come_back(predictor: Predictor) -> None:
    background = make_columns(50)
    asked = read_request(CONTRACT, [{"at": "2024-02-01T06:30:00", "size": 90, "kind": "fine"}])

    inputs = take_columns(asked, background, CONTRACT.known_at_start(), predictor, readings.compute_features)

    assert inputs.names == ("at", "size", "kind")
    assert inputs.features.tolist() == [90, 1]
    assert inputs.predict(inputs.row[None, :]) == pytest.approx([44], abs=1e-4)
    expected = 30 + background["size"] / 10 + 5 * (background["kind"] == "fine")
    assert inputs.predict(inputs.read(background)) == pytest.approx(expected, abs=1e-4)
    shown = [inputs.show(name, value) for name, value in zip(inputs.names, inputs.row, strict=True)]
    assert shown == ["2024-02-01 06:30", "90", "fine"]
    assert [inputs.show(name, np.nan) for name in inputs.names] == ["missing"] * 3


def test_text_that_training_never_saw_and_one_that_is_missing_are_told_apart(predictor: Predictor) -> None:
    background = make_columns(50) | {"kind": np.array(["coarse"] * 50, object)}
    for kind, shown, predicted in (("fine", "fine", 35), (None, "missing", 30)):
        asked = read_request(CONTRACT, [{"at": "2024-02-01T06:30:00", "size": 0, "kind": kind}])

        inputs = take_columns(asked, background, CONTRACT.known_at_start(), predictor, readings.compute_features)

        assert inputs.show("kind", inputs.row[2]) == shown
        assert inputs.predict(inputs.row[None, :]) == pytest.approx([predicted], abs=1e-4)


def test_features_of_a_log_line_are_taken_as_they_are(predictor: Predictor) -> None:
    inputs = take_features({"size": 90.0, "is_fine": np.nan}, predictor, readings.compute_features)

    assert inputs.names == NAMES
    assert [inputs.show(name, value) for name, value in zip(NAMES, inputs.row, strict=True)] == ["90", "missing"]
    assert inputs.read(make_columns(7)).shape == (7, 2)


def test_contributions_are_listed_with_the_largest_first(predictor: Predictor) -> None:
    inputs = take_features({"size": 90.0, "is_fine": 1.0}, predictor, readings.compute_features)

    rows = list_contributions(inputs, Shares(0, 0, (1.0, -3.0), 0, True).values)

    assert rows[0] == {"input": "is_fine", "value": "1", "contribution": -3.0}


def test_sample_draws_each_row_with_the_same_chance_and_the_same_again() -> None:
    batches = [
        {"seconds": np.arange(start, start + size)} for start, size in ((0, 10), (10, 500), (510, 2), (512, 88))
    ]

    drawn = [sample_rows(iter(batches), 60, seed)["seconds"] for seed in range(200)]

    assert all(len(np.unique(rows)) == 60 for rows in drawn)
    assert np.array_equal(sample_rows(iter(batches), 60, 5)["seconds"], drawn[5])
    shares = np.bincount(np.concatenate(drawn) // 60, minlength=10) / (200 * 60)
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert len(sample_rows(iter(batches), 1000, 0)["seconds"]) == 600


def test_neighbours_over_batches_are_those_of_all_rows_at_once() -> None:
    X = RNG.normal(0, [1, 20], (500, 2))
    X[::9, 0] = np.nan
    row, scale = np.array([0.2, -5.0]), measure_scale(X)
    batches = [
        {"x": X[start : start + 70], "n": np.arange(start, min(start + 70, 500))} for start in range(0, 500, 70)
    ]
    # A batch of which the contract left no row.
    batches.insert(3, {"x": X[:0], "n": np.arange(0)})

    near = find_neighbours(iter(batches), lambda columns: columns["x"], row, scale, 6)

    distance = np.linalg.norm(place_rows(X, row, scale), axis=1)
    assert near.columns["n"].tolist() == np.argsort(distance, kind="stable")[:6].tolist()
    assert near.distance == pytest.approx(np.sort(distance)[:6])
    assert near.rows == 500


def test_missing_value_is_one_step_from_any_that_is_there_and_none_from_another() -> None:
    X, scale = np.array([[np.nan, 1], [3.0, 1]]), np.array([2.0, 0.5])

    assert place_rows(X, np.array([3.0, 1]), scale)[0].tolist() == [0, 0, 1, 0]
    assert measure_scale(np.array([[1, np.nan], [1, np.nan]])).tolist() == [1, 1]


def test_only_clean_rows_are_streamed(tmp_path: Path) -> None:
    paths = {month: readings.write_month(tmp_path, month) for month in ("2024-01", "2024-02")}

    batches = list(stream_months(paths, CONTRACT, readings))

    assert sum(len(batch["seconds"]) for batch in batches) == 80
    assert set(batches[0]) == {"at", "size", "kind", "seconds"}


def test_model_that_names_no_month_that_it_learnt_from_is_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy_repository(tmp_path_factory, tmp_path / "repository"))
    commit = git("rev-parse", "HEAD")

    with pytest.raises(RefusedError, match=f"^out/rows.json at {commit[:7]} names no month that the model learnt"):
        find_training({"commit": {"hash": commit}, "data": None}, read_params())


def test_explanation_fits_a_terminal() -> None:
    text = format_explanation(make_explanation())

    assert max(map(len, text.splitlines())) <= 80
    assert "mean of 20 training rows" in text
    assert "size = 90" in text and "+4.00  ▲ ████" in text and "-2.00  ▼ ██" in text
    assert "The 1 most similar of 1,234 training rows" in text
    assert "More: make lineage VERSION=aaaaaaa" in text


def test_answer_is_found_in_the_log_and_its_shadow_is_not(tmp_path: Path) -> None:
    lines = [make_line(1), make_line(2, variant="shadow"), make_line(2), make_line(2, row=1, size=70), make_line(12)]
    write_log(tmp_path, lines)
    write_log(tmp_path, ['{"request_id": "id-2", "cut', "no JSON at all", '["id-2"]'], name="b.jsonl")

    assert find_line(str(tmp_path), "id-2", 0).line == lines[2]
    assert find_line(str(tmp_path), "id-2", 1).line["features"] == {"size": 70}
    with pytest.raises(RefusedError, match="^request 'id-2' has 2 predictions, and none is number 2"):
        find_line(str(tmp_path), "id-2", 2)
    with pytest.raises(RefusedError, match="^no prediction of request 'id-3' is in "):
        find_line(str(tmp_path), "id-3", 0)


def test_answer_is_found_beside_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    write_log(tmp_path, [make_line(1)])
    (tmp_path / "day=2026-11-02/b.gz").write_bytes(gzip.compress(b"x" * 100_000)[:60])

    assert find_line(str(tmp_path), "id-1", 0).line == make_line(1)
    assert "explain skipped=" in caplog.text


def test_line_that_lacks_what_is_explained_is_named(tmp_path: Path) -> None:
    line = {key: value for key, value in make_line(1).items() if key != "features"}
    write_log(tmp_path, [line])

    with pytest.raises(RefusedError, match="^the log's line of request 'id-1' lacks features"):
        find_line(str(tmp_path), "id-1", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "^ROW: the body is no JSON"),
        ("[1]", "^ROW: the body is an array; expected an object"),
        ('{"rows": [{}, {}]}', "^ROW holds 2 rows; expected one"),
    ],
)
def test_row_that_is_none_is_misuse(text: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        read_row(text)


@pytest.mark.parametrize("argv", [[], ["--request", "a"], ["--request", "a", "--row", "{}", "--predictions", "b"]])
def test_explain_wants_one_prediction(argv: list[str]) -> None:
    with pytest.raises(MisuseError, match="^name one prediction: REQUEST=id"):
        main(argv)


ROW = {
    "inspected_at": "2025-03-05T10:00:00",
    "site": "mill",
    "age_days": 700,
    "temperature_celsius": 95,
    "vibration_mm_per_s": None,
}
EXPLANATION = Path("out/explain.json")


def ask_service(capsys: pytest.CaptureFixture[str], request_id: str) -> dict[str, Any]:
    """Ask the service of the working folder, and leave its lines in the folder log; give the prediction's."""
    get_service.cache_clear()
    event = {
        "rawPath": "/predict",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"x-request-id": request_id},
        "body": json.dumps(ROW),
    }
    assert handle(event, None)["statusCode"] == 200
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    write_log(Path("log"), lines)
    return lines[0]


@pytest.mark.usefixtures("workspace")
def test_answer_and_row_are_explained_by_the_model_that_answered(capsys: pytest.CaptureFixture[str]) -> None:
    line = ask_service(capsys, "asked-1")
    probability = line["prediction"]["probabilities"]["1"]

    main(["--request", "asked-1", "--predictions", "log"])
    by_features, text = json.loads(EXPLANATION.read_text(encoding="utf-8")), capsys.readouterr().out
    main(["--row", json.dumps(ROW)])
    by_columns = json.loads(EXPLANATION.read_text(encoding="utf-8"))

    for explained in (by_features, by_columns):
        added = explained["base"] + sum(row["contribution"] for row in explained["contributions"])
        assert added == pytest.approx(probability, abs=0.001)
        assert explained["prediction"] == pytest.approx(probability, abs=1e-5)
        assert explained["model_hash"] == line["model_hash"]
        assert explained["unit"] == "probability of 1"
        assert len(explained["similar"]) == 5
        distances = [row["distance"] for row in explained["similar"]]
        assert distances == sorted(distances)
        assert explained["lineage"]["commit"]["subject"] == "Train a small model"
    assert {row["input"] for row in by_columns["contributions"]} == set(ROW)
    # The time is no feature, so that it can push nothing.
    pushed = {row["input"]: row["contribution"] for row in by_columns["contributions"]}
    assert pushed["inspected_at"] == pytest.approx(0, abs=1e-9)
    assert "asked-1" in text and max(map(len, text.splitlines())) <= 80


@pytest.mark.usefixtures("workspace")
def test_what_cannot_be_explained_truly_is_refused_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = ask_service(capsys, "asked-1")
    asked = ["--request", "asked-1", "--predictions", "log"]

    write_log(Path("log"), [line | {"model_hash": "1" * 64}])
    with pytest.raises(MisuseError, match="^no registered version and not HEAD has a model with the hash 1111"):
        main(asked)
    write_log(Path("log"), [line | {"prediction": {"class": 1, "probabilities": {"0": 0.01, "1": 0.99}}}])
    with pytest.raises(
        RefusedError, match=r"^the log says 0\.99, and the model predicts .* The line is not this model's"
    ):
        main(asked)
    write_log(Path("log"), [line | {"features": {"age_days": 1.0}}])
    with pytest.raises(RefusedError, match="^the log's line lacks the model's features temperature_celsius"):
        main(asked)
    month = min(Path("data").iterdir())
    month.write_bytes(month.read_bytes() + b" ")
    with pytest.raises(
        RefusedError, match=r"learnt from 2025-01, which is not in data/ as it was then.*dvc checkout"
    ):
        main(["--row", json.dumps(ROW)])
    with Path("src/parts/features.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with pytest.raises(RefusedError, match=r"^src/parts is not what it was at .* git worktree add \.\./then"):
        main(["--row", json.dumps(ROW)])

    assert not EXPLANATION.exists()
