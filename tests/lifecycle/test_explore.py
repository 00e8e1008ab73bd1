"""Explore: its figures are those of all rows at once, and what was planted in the data stands in its sentences."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import readings
from conftest import run_git
from surveys import ABOUT, convert_readings, find, make_model, make_month

from lifecycle.data.profile import measure_stability, profile_values
from lifecycle.errors import MisuseError
from lifecycle.exploration.sketch import (
    MOST_TEXTS,
    OTHERS,
    choose_bins,
    find_borders,
    find_keys,
    merge_sketches,
    sketch_numbers,
    sketch_texts,
)
from lifecycle.exploration.survey import measure_errors, read_hours
from lifecycle.explore import explore, find_model, main
from lifecycle.params import read_params
from lifecycle.views.explore_page import render_explore

PAGE = Path("out/explore.html")


def test_buckets_keep_the_order_of_numbers_and_whole_numbers_apart() -> None:
    values = np.sort(np.concatenate([np.random.default_rng(0).normal(0, 1e3, 5000), [0.0, -0.0, 1e-9, -1e30, 1e30]]))

    keys = find_keys(values)

    assert (np.diff(keys) >= 0).all()
    assert (find_borders(keys) <= values.astype(np.float32)).all()
    assert (find_borders(keys + 1) > values.astype(np.float32)).all()
    assert len(np.unique(find_keys(np.arange(-1024.0, 1025.0)))) == 2049
    assert find_keys(np.array([0.0])) == find_keys(np.array([-0.0]))


@pytest.mark.parametrize("sketch", [sketch_numbers, sketch_texts])
def test_merged_sketches_are_the_sketch_of_all_rows(sketch) -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.integers(-40, 1500, 3000).astype(np.float64), rng.normal(0, 1, 3000)
    values[::7] = np.nan
    if sketch is sketch_texts:
        values = np.array([None if np.isnan(value) else f"t{value % 90:g}" for value in values], object)

    whole = sketch(values, weights)
    merged = merge_sketches([sketch(values[start::3], weights[start::3]) for start in range(3)])

    assert (merged.keys == whole.keys).all()
    assert np.allclose(merged.sums, whole.sums)
    assert np.allclose(merged.missing, whole.missing)
    assert merged.rows == 3000


def test_rare_texts_are_counted_together_and_none_is_lost() -> None:
    parts = [np.array([f"{part}-{n}" for n in range(800)] + ["often"] * 50, object) for part in range(3)]

    merged = merge_sketches([sketch_texts(part) for part in parts])

    assert MOST_TEXTS - 1 <= len(merged.keys) <= MOST_TEXTS
    assert merged.sums[0].sum() == 3 * 850
    assert merged.sums[0][merged.keys == "often"] == 150
    assert OTHERS in merged.keys
    bins = choose_bins(merged, 5)
    assert bins.labels[0] in ("often", OTHERS) and bins.labels[-1] == OTHERS
    assert bins.add_up(merged)[0].sum() == 3 * 850


def test_profile_of_a_sketch_is_that_of_the_rows_to_two_thousandths() -> None:
    values = np.random.default_rng(0).lognormal(2, 1, 20_000)
    values[:500] = np.nan

    found, expected = sketch_numbers(values).profile(), profile_values(values)

    assert found["missing"] == pytest.approx(expected["missing"])
    assert found["std"] == pytest.approx(expected["std"], rel=0.002)
    assert found["quantiles"] == pytest.approx(expected["quantiles"], rel=0.002)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (np.repeat([1.0, 2.0, 4.0], 9), ("1", "2", "4")),
        (np.arange(0, 240.0), tuple(f"{n}" for n in range(0, 240, 20))),
        (np.linspace(0, 24, 5000), tuple(f"{n}" for n in range(0, 24, 2))),
        (np.array([3.5]), ("3.5",)),
    ],
)
def test_bins_begin_where_people_count(values, labels) -> None:
    bins = choose_bins(sketch_numbers(values), 12)

    assert bins.labels == labels
    assert bins.add_up(sketch_numbers(values))[0].sum() == len(values)


def test_bins_of_what_is_nearly_always_the_same_are_steps_of_one() -> None:
    bins = choose_bins(sketch_numbers(np.concatenate([np.full(10_000, 7.0), np.linspace(0, 90, 20)])), 12)

    assert bins.labels == ("7",)
    assert bins.describe(0) == "about 7"
    assert bins.add_up(sketch_numbers(np.array([-3.0, 90.0])))[0].tolist() == [2]


def test_bins_are_named_by_where_they_begin_and_end() -> None:
    bins = choose_bins(sketch_numbers(np.arange(0, 240.0)), 12)

    assert [bins.describe(place) for place in (0, 1, 11)] == ["below 20", "20 to 40", "220 and more"]


def test_profile_of_a_sketch_without_a_value_has_no_figures() -> None:
    nothing = sketch_numbers(np.array([]))
    absent = sketch_numbers(np.array([np.nan, np.nan]))

    assert nothing.profile() == {"missing": 0.0, "std": None, "quantiles": None}
    assert absent.profile() == {"missing": 1.0, "std": None, "quantiles": None}


def test_hour_of_the_day_holds_before_1970_and_without_a_time() -> None:
    times = np.array(["1969-12-31T23:30", "2024-02-01T06:15", "NaT"], "datetime64[us]")

    assert np.array_equal(read_hours(times), [23.5, 6.25, np.nan], equal_nan=True)


def test_loss_of_a_classifier_is_what_the_true_class_did_not_get() -> None:
    loss, square, error, truth = measure_errors(np.array([0.0, 1.0]), np.array([[0.7, 0.3], [0.4, 0.6]]), (0.0, 1.0))

    assert loss == pytest.approx([0.3, 0.4])
    assert square == pytest.approx([0.09, 0.16])
    assert error == pytest.approx([0.3, -0.4])
    assert truth.tolist() == [0, 1]


def test_figures_are_those_of_all_rows_at_once(tmp_path: Path) -> None:
    table = make_month(3000)
    dirty = table.set_column(1, "size", pa.array([None] * 40 + [-1.0] * 20 + table["size"].to_pylist()[60:]))

    found = find(tmp_path, {"2024-01": dirty}, make_model())

    frame = dirty.to_pandas()
    frame["seconds"] = (frame["ended"] - frame["begun_at"]).dt.total_seconds()
    clean = frame[frame["size"] >= 0]
    predicted = (30 + clean["size"].astype(np.float32) / 10).to_numpy()
    assert (found.total.rows, found.total.clean) == (3000, 2940)
    assert {reason: n for reason, n in found.total.left_out.items() if n} == {"size missing": 40, "size below 0": 20}
    size = next(one for one in found.columns if one.column.name == "size")
    assert size.missing == pytest.approx([40 / 3000])
    assert size.means == pytest.approx([clean["size"].mean()])
    feature = next(one for one in found.features if one.name == "size")
    edges = [-np.inf, *find_borders(feature.bins.edges)[1:], np.inf]
    by_bin = clean.groupby(pd.cut(clean["size"].astype(np.float32), edges, right=False), observed=False)
    assert feature.rows.tolist() == by_bin["seconds"].size().tolist()
    assert feature.target == pytest.approx(by_bin["seconds"].mean().to_numpy(), nan_ok=True)
    loss = np.abs(clean["seconds"] - predicted)
    assert found.overall.loss == pytest.approx(loss.mean(), rel=1e-4)
    group = next(one for one in found.groups if one.label == "small")
    assert group.rows == (clean["size"] < 50).sum()
    assert group.loss == pytest.approx(loss[clean["size"] < 50].mean(), rel=1e-4)
    expected = 1.959964 * loss[clean["size"] < 50].std(ddof=0) / np.sqrt(group.rows)
    assert group.margin == pytest.approx(expected, rel=1e-3)


def test_only_some_rows_of_a_large_month_are_predicted(tmp_path: Path) -> None:
    found = find(tmp_path, {"2024-01": make_month(3000)}, make_model(), most=1000)

    assert found.overall.rows == pytest.approx(1000, abs=5)
    assert found.total.features["size"].rows == 3000


def test_planted_shift_stands_in_the_sentence(tmp_path: Path) -> None:
    months = {f"2024-0{n}": make_month(2000, n, 15.0 if n == 3 else 0.0, f"2024-0{n}") for n in range(1, 5)}

    found = find(tmp_path, months)
    page = render_explore(found, replace(ABOUT, model=None, why="there is none."))

    size = next(one for one in found.columns if one.column.name == "size")
    assert 2 in size.find_farthest()
    base, later = size.find_farthest()
    expected = measure_stability(
        *(profile_values(months[f"2024-0{n + 1}"]["size"].to_numpy()) for n in (base, later))
    )
    assert size.stability[base, later] == pytest.approx(expected, rel=0.02)
    assert f"size moved most, from 2024-0{base + 1} to 2024-0{later + 1}: stability index" in page
    assert "Without a model there are no errors to show." in page


def test_planted_bad_slice_is_the_first_of_the_table(tmp_path: Path) -> None:
    table = make_month(3000)
    late = np.where(table["size"].to_numpy() >= 50, 8_000_000, 0).astype("m8[us]")
    table = table.set_column(3, "ended", pa.array(table["ended"].to_numpy() + late))

    found = find(tmp_path, {"2024-01": table}, make_model())
    page = render_explore(found, ABOUT)

    assert (found.groups[0].kind, found.groups[0].label) == ("half", "large")
    assert found.groups[0].error == pytest.approx(-8, abs=0.2)
    assert "half large is predicted worst: off by 8.0" in page
    assert page.index("<td>half large</td>") < page.index("<td>half small</td>")


def test_months_that_the_model_learnt_from_say_nothing_of_groups(tmp_path: Path) -> None:
    months = {"2024-01": make_month(500), "2024-02": make_month(500, 2, month="2024-02")}

    some = find(tmp_path, months, make_model(("2024-01",)))
    none = find(tmp_path, months, make_model(("2024-01", "2024-02")))

    assert some.overall.rows == 500
    assert "On the 1 month that it did not learn from" in render_explore(some, ABOUT)
    assert "2024-01 (learnt from)" in render_explore(some, ABOUT)
    assert none.overall is None
    assert "The model learnt from every month here" in render_explore(none, ABOUT)


def test_page_needs_nothing_from_elsewhere_and_obeys_no_data(tmp_path: Path) -> None:
    table = make_month(500)
    found = find(tmp_path, {"2024-01": table}, make_model())

    page = render_explore(found, replace(ABOUT, title="<script>alert(1)</script>"))

    assert "<script" not in page
    assert "src=" not in page and "url(http" not in page and "@import" not in page
    assert page.count("<svg") == len(found.columns) + len(found.features)
    assert page.startswith("<!doctype html>")


@pytest.mark.usefixtures("readings_folder")
def test_explore_without_months_says_where_to_get_them() -> None:
    with pytest.raises(MisuseError, match="^data/ holds no month; bring some with: make data"):
        main()

    assert not PAGE.exists()


@pytest.mark.usefixtures("readings_folder")
def test_explore_without_a_model_shows_the_data_and_says_why() -> None:
    for month in ("2024-01", "2024-02"):
        readings.write_month(Path("data"), month, rows=300)

    main()

    page = PAGE.read_text(encoding="utf-8")
    assert "No model looked at them: Git cannot read" in page or "out/model.onnx is missing" in page
    assert "All 600 rows keep the data contract." in page


@pytest.mark.usefixtures("readings_folder")
def test_explore_looks_with_the_model_of_the_folder_where_there_is_no_champion(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet")
    Path("out").mkdir()
    Path("out/model.onnx").write_bytes(convert_readings())

    model, why = find_model(read_params())

    assert why == "there is no champion."
    assert (model.name, model.trained_on) == ("out/model.onnx of this folder, for there is no champion.", ())
    Path("out/rows.json").write_text('{"2024-01": {"part": "train"}, "2024-02": {"part": "test"}}', encoding="utf-8")
    assert find_model(read_params())[0].trained_on == ("2024-01",)


def test_explore_looks_with_the_model_of_the_folder_where_the_champion_knows_other_features(workspace: Path) -> None:
    with (workspace / "src/parts/slices.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")

    model, why = find_model(read_params())

    assert why.startswith("src/parts changed since the champion, part-failure at ")
    assert model.name == f"out/model.onnx of this folder, for {why}"
    assert model.trained_on


def test_explore_looks_with_the_champion_at_a_whole_repository(workspace: Path) -> None:
    found, about = explore(read_params())
    page = render_explore(found, about)

    assert about.model.startswith("the champion, ")
    assert about.is_classifier
    assert [month.trained_on for month in found.months] == [True, True, False]
    assert found.overall.rows == found.months[2].survey.clean
    assert {group.kind for group in found.groups} >= {"site", "age_band"}
    assert "probability that the true class did not get" in page
    assert workspace == Path.cwd()


MEASURE = """
import resource
from lifecycle.explore import main
main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.acceptance
def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data").mkdir()
    # More batches than are ever held at the same time.
    table = pa.concat_tables([make_month(100_000)] * 12).drop_columns("kind")
    kinds = pa.nulls(len(table), pa.string())
    monkeypatch.setenv("PYTHONPATH", f"{Path(readings.__file__).parent}:{Path(__file__).parents[2] / 'src'}")
    peaks = []
    for times in (1, 3):
        whole = pa.concat_tables([table.append_column("kind", kinds)] * times)
        pq.write_table(whole, Path("data") / readings.NAME.format(month="2024-01"))
        done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))

    assert peaks[1] < 1.25 * peaks[0]
