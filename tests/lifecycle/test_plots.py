"""The plots: their rows, their specifications and their bytes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lifecycle.views.plot_style import render_png
from lifecycle.views.plots import (
    Labels,
    bin_predictions,
    draw_importance,
    draw_predicted,
    draw_residuals,
    draw_slices,
    render_plots,
    summarise_residuals,
)

SLICES = [
    {"slice": "day", "group": "Monday", "rows": 900, "error": 2.0, "judged": True},
    {"slice": "day", "group": "Sunday", "rows": 800, "error": 5.5, "judged": True},
    {"slice": "size", "group": "large", "rows": 1, "error": 9.0, "judged": False},
    {"slice": "size", "group": "small", "rows": 1693, "error": 3.0, "judged": True},
]
IMPORTANCE = [
    {"feature": "colour", "importance": 0.1, "spread": 0.02},
    {"feature": "weight", "importance": 2.5, "spread": 0.1},
]


@pytest.fixture(name="rows")
def make_rows():
    """Bin made-up predictions."""
    rng = np.random.default_rng(0)
    prediction = rng.gamma(3, 5, 1000)
    return bin_predictions(prediction + rng.normal(size=1000), prediction)


def test_bins_hold_every_row_once_and_are_equally_large():
    prediction = np.arange(1000.0)[::-1]
    rows = bin_predictions(prediction + 1, prediction, bins=20)
    assert [row["bin"] for row in rows] == list(range(20))
    assert {row["rows"] for row in rows} == {50}
    assert [row["prediction"] for row in rows] == [24.5 + 50 * index for index in range(20)]
    assert all(row["target"] == row["prediction"] + 1 for row in rows)
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((5.9, 45.1))


def test_equal_predictions_share_a_bin():
    prediction = np.array([1.0] * 90 + [2.0] * 10)
    rows = bin_predictions(np.arange(100.0), prediction, bins=20)
    assert [(row["prediction"], row["rows"]) for row in rows] == [(1, 90), (2, 10)]


def test_bins_of_a_constant_or_single_prediction():
    assert [row["rows"] for row in bin_predictions(np.arange(5.0), np.ones(5))] == [5]
    assert [row["target"] for row in bin_predictions(np.array([7.0]), np.array([3.0]))] == [7]


def test_residuals_are_summarised_by_the_hour_of_their_time():
    time = np.array(["2024-01-01T00:59", "2024-01-02T23:00", "2024-02-03T00:00"], dtype="datetime64[us]")
    rows = summarise_residuals(time, np.array([5.0, 1.0, 8.0]), np.array([4.0, 3.0, 5.0]))
    assert [(row["hour"], row["mean"], row["rows"]) for row in rows] == [(0, 2, 2), (23, -2, 1)]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((1.2, 2.8))


def test_hours_before_1970_count_forward_too():
    time = np.array(["1969-12-31T23:30"], dtype="datetime64[us]")
    assert summarise_residuals(time, np.ones(1), np.zeros(1))[0]["hour"] == 23


def test_predicted_plot_holds_rows_labels_and_diagonal(rows):
    spec = draw_predicted(rows, "weight", "kg")
    assert spec["data"]["values"] == rows
    diagonal, *_, dots = spec["layer"]
    assert dots["encoding"]["x"]["title"] == "Predicted weight (kg)"
    assert dots["encoding"]["y"]["title"] == "Actual weight (kg)"
    assert all(point["prediction"] == point["target"] for point in diagonal["data"]["values"])
    off = max(abs(row["target"] - row["prediction"]) for row in rows)
    assert f"{off:#.4g} kg" in " ".join(spec["title"]["text"])


def test_predicted_plot_of_classes_shows_no_percentiles():
    probability = np.linspace(0, 1, 100)
    spec = draw_predicted(bin_predictions((probability > 0.5).astype(float), probability), "share of yes", "")
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "point"]
    assert spec["layer"][-1]["encoding"]["x"]["title"] == "Predicted share of yes"


@pytest.mark.parametrize(("mean", "side"), [(3.0, "low"), (-3.0, "high")])
def test_residual_plot_names_the_worst_hour_and_its_side(mean, side):
    rows = [
        {"hour": 4, "mean": mean, "rows": 9, "low": mean - 1, "high": mean + 1},
        {"hour": 5, "mean": 0.5, "rows": 9, "low": -1.0, "high": 2.0},
    ]
    spec = draw_residuals(rows, "sold_at", "kg")
    assert spec["title"]["text"] == [f"Predictions are furthest off at 04:00: 3.000 kg too {side}"]
    assert spec["layer"][-1]["encoding"]["x"]["title"] == "Hour of sold_at"
    assert spec["layer"][-1]["encoding"]["y"]["title"] == "Actual minus predicted (kg)"


def test_slice_plot_puts_the_worst_group_first_and_judges_no_small_one():
    spec = draw_slices(SLICES, "mean_absolute_error", "kg", 3.2)
    assert [row["group"] for row in spec["data"]["values"]] == ["Sunday", "Monday", "large", "small"]
    assert [row["kind"] for row in spec["data"]["values"]] == ["worst", "judged", "unjudged", "judged"]
    assert [row["note"] for row in spec["data"]["values"]] == ["800 rows", "900 rows", "1 row", "1,693 rows"]
    assert spec["title"]["text"] == ["The model does worst where day is Sunday"]
    title = spec["spec"]["layer"][0]["encoding"]["x"]["title"]
    assert title == "Mean absolute error (kg), lower is better"


def test_slice_plot_of_a_score_puts_the_lowest_first():
    spec = draw_slices(SLICES, "r2_score", "", 3.2)
    assert [row["group"] for row in spec["data"]["values"]] == ["Monday", "Sunday", "small", "large"]
    assert spec["spec"]["layer"][0]["encoding"]["x"]["title"] == "R2 score, higher is better"


def test_slice_plot_leaves_out_groups_without_an_error():
    rows = [*SLICES, {"slice": "size", "group": "none", "rows": 1, "error": float("nan"), "judged": False}]
    assert len(draw_slices(rows, "mean_absolute_error", "", 3.2)["data"]["values"]) == len(SLICES)


def test_importance_plot_is_sorted_and_warns_of_causes():
    spec = draw_importance(IMPORTANCE, "mean_absolute_error", "kg")
    assert [row["feature"] for row in spec["data"]["values"]] == ["weight", "colour"]
    assert [row["note"] for row in spec["data"]["values"]] == ["± 0.100", "± 0.020"]
    assert spec["title"]["text"] == ["The model leans most on weight"]
    assert "not what causes the target" in " ".join(spec["title"]["subtitle"])


def test_rendering_twice_gives_the_same_png(rows, tmp_path):
    spec = draw_predicted(rows, "weight", "kg")
    for name in ("a.png", "b.png"):
        render_png(spec, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_png_does_not_depend_on_the_fonts_of_the_machine(rows, tmp_path):
    spec = draw_predicted(rows, "weight", "kg")
    render_png(spec, tmp_path / "here.png")
    script = "import json, pathlib, sys; from lifecycle.views.plot_style import render_png; "
    script += "render_png(json.load(sys.stdin), pathlib.Path(sys.argv[1]))"
    # With this file, where fontconfig is used, no font of the machine is found.
    (tmp_path / "fonts.conf").write_text('<?xml version="1.0"?><fontconfig><dir>/nowhere</dir></fontconfig>')
    bare = {**os.environ, "FONTCONFIG_FILE": str(tmp_path / "fonts.conf")}
    command = [sys.executable, "-c", script, str(tmp_path / "bare.png")]
    subprocess.run(command, input=json.dumps(spec), text=True, env=bare, check=True)
    assert (tmp_path / "bare.png").read_bytes() == (tmp_path / "here.png").read_bytes()


@pytest.mark.parametrize("slices", [SLICES, []])
def test_all_plots_are_rendered_under_their_names(rows, slices, tmp_path):
    residuals = summarise_residuals(np.array(["2024-01-01T05"], dtype="datetime64[us]"), np.ones(1), np.zeros(1))
    plots = {"predicted": rows, "residuals": residuals, "slices": slices, "importance": IMPORTANCE}
    render_plots(plots, Labels("sold_at", "weight", "kg", "mean_absolute_error", "kg", 3.2), tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(plots)
