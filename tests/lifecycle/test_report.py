"""The report collects what is different from a base: in a real repository, whose pipeline's files are made up."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from lifecycle.comparison.changes import (
    collect_facts,
    compare_slices,
    compare_stages,
    flatten,
    has_same_test_rows,
    list_changes,
)
from lifecycle.comparison.snapshot import Snapshot, read_snapshot
from lifecycle.comparison.verdict import REFUSE, Verdict
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import read_params
from lifecycle.report import main
from lifecycle.repository import hash_file
from lifecycle.views.report_facts import Report
from lifecycle.views.report_page import render_report

PARAMS = Path(__file__).parents[2] / "params.yaml"

DATA_BEFORE, DATA_AFTER = f"{'1' * 32}.dir", f"{'2' * 32}.dir"


def git(*arguments):
    """Run Git in the working folder."""
    subprocess.run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments], check=True)


def write_json(path, value):
    """Write a file that a stage would."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value), encoding="utf-8")


def count_rows(part, rows, **left_out):
    """Make up a month's counts."""
    clean = rows - sum(left_out.values())
    return {"part": part, "synthetic": True, "rows": rows, "clean": clean, "left_out": left_out}


def write_state(error, folds, months, data, numpy, tolerance, code):
    """Write what a run of the pipeline leaves in the working folder; the model stays the same."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["gate"]["tolerance"] = tolerance
    params["registry"]["name"] = "model"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    figures = {"value": error, "low": error - 0.1, "high": error + 0.1, "baseline": 9.0}
    write_json("out/metrics.json", {"mean_absolute_error": figures, "r2_score": {**figures, "value": 0.5}})
    groups = [("a", error), ("b", 3.0), ("c", float("nan"))]
    rows = [{"slice": "kind", "group": name, "rows": 50, "error": value, "judged": True} for name, value in groups]
    write_json("out/plots/slices.json", rows)
    write_json("out/plots/importance.json", [{"feature": "size", "importance": error, "spread": 0.1}])
    fold = {"train_rows": 80, "test_rows": 40, "mean_absolute_error": error}
    write_json("out/cross_validation.json", [{"fold": number, **fold} for number in folds])
    write_json("out/rows.json", months)
    write_json("out/environment.json", {"python": "3.11", "numpy": numpy})
    Path("out/model.onnx").write_bytes(b"a model")
    Path("out/model_card.md").write_text("# A card\n\n![predicted](plots/predicted.png)\n", encoding="utf-8")
    model = {"path": "out/model.onnx", "md5": hash_file(Path("out/model.onnx")), "size": 7}
    deps = [{"path": "data", "md5": data}, {"path": "src/lifecycle/train.py", "md5": code}]
    stages = {"train": {"cmd": "python -m lifecycle.train", "deps": deps, "outs": [model]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")


@pytest.fixture(name="repository")
def make_repository(tmp_path, monkeypatch):
    """Commit one state as main, and leave another one, of the same model, in the working folder."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    Path(".gitignore").write_text("/out/model.onnx\n/out/model_card.md\n/out/report.*\n", encoding="utf-8")
    months = {"2024-01": count_rows("train", 90, missing=4), "2024-02": count_rows("test", 50, missing=1)}
    write_state(2.0, [1], months, DATA_BEFORE, "2.4.1", 0.01, "c1")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Train")
    later = {"2024-02": count_rows("train", 50, missing=1), "2024-03": count_rows("test", 60, missing=2, broken=3)}
    write_state(2.5, [1, 2], later, DATA_AFTER, "2.4.2", 0.02, "c2")
    return tmp_path


def make_report(*arguments):
    """Run the command, and read what it wrote."""
    main(list(arguments))
    return json.loads(Path("out/report.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("repository")
def test_command_writes_facts_and_page_and_prints_the_verdict(capsys):
    report = make_report()
    page = Path("out/report.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"out/report.md\n{page.splitlines()[0]}\n"
    assert page.startswith("## ⚪ unchanged: ")
    assert page == render_report(report)


@pytest.mark.usefixtures("repository")
def test_report_has_the_shape_that_is_documented():
    TypeAdapter(Report).validate_python(make_report())


@pytest.mark.usefixtures("repository")
def test_verdict_commits_and_hashes_are_of_both_sides():
    report = make_report("--base", "main")
    commit = subprocess.run(["git", "rev-parse", "main"], capture_output=True, text=True, check=True).stdout.strip()
    assert (report["outcome"], report["champion"], report["reasons"]) == ("unchanged", "model at main", [])
    assert (report["base_commit"], report["commit"], report["uncommitted"]) == (commit, commit, True)
    assert (report["base_data_hash"], report["data_hash"]) == (DATA_BEFORE, DATA_AFTER)
    assert report["lock_hash"] == hash_file(Path("dvc.lock")) != report["base_lock_hash"]
    assert report["model_hash"] == report["base_model_hash"] == hash_file(Path("out/model.onnx"))
    assert (report["base_model_bytes"], report["model_bytes"]) == (7, 7)


@pytest.mark.usefixtures("repository")
def test_committed_work_is_not_uncommitted():
    git("commit", "--quiet", "--all", "--message", "Train anew")
    Path("out/untracked.txt").write_text("no matter", encoding="utf-8")
    report = make_report("--base", "HEAD~1")
    assert not report["uncommitted"]
    assert report["base_commit"] != report["commit"]


@pytest.mark.usefixtures("repository")
def test_facts_name_what_changed():
    report = make_report()
    assert report["parameters"] == [{"name": "gate.tolerance", "base": "0.01", "value": "0.02"}]
    assert report["libraries"] == [{"name": "numpy", "base": "2.4.1", "value": "2.4.2"}]
    assert report["stages"] == [
        {"stage": "train", "cause": "data", "what": ["data"]},
        {"stage": "train", "cause": "code", "what": ["src/lifecycle/train.py"]},
    ]
    months = [(row["month"], row["part"], row["base_rows"], row["rows"], row["clean"]) for row in report["months"]]
    assert months == [
        ("2024-01", "train", 90, None, None),
        ("2024-02", "train", 50, 50, 49),
        ("2024-03", "test", None, 60, 55),
    ]
    assert report["left_out"] == [
        {"reason": "missing", "rows": 3, "base_rows": 5},
        {"reason": "broken", "rows": 3, "base_rows": 0},
    ]
    folds = [(row["fold"], row["base"], row["value"]) for row in report["cross_validation"]]
    assert folds == [(1, 2.0, 2.5), (2, None, 2.5)]
    assert report["importance"] == [{"feature": "size", "value": 2.5, "spread": 0.1, "base": 2.0}]


@pytest.mark.usefixtures("repository")
def test_figures_of_other_rows_stand_beside_each_other_without_a_difference():
    report = make_report()
    assert report["same_test_rows"] is False
    assert (report["metrics"][0]["base"], report["metrics"][0]["difference"]) == (2.0, None)
    assert {row["worse_by"] for row in report["slices"]} == {None}


@pytest.mark.usefixtures("repository")
def test_figures_of_the_same_rows_are_compared():
    months = {"2024-01": count_rows("train", 90, missing=4), "2024-02": count_rows("test", 50, missing=1)}
    write_state(2.5, [1], months, DATA_BEFORE, "2.4.1", 0.01, "c1")
    report = make_report()
    assert report["same_test_rows"] is True
    first, second = report["metrics"]
    assert (first["name"], first["lower_is_better"], first["difference"]) == ("mean_absolute_error", True, 0.5)
    assert (second["name"], second["lower_is_better"], second["difference"]) == ("r2_score", False, 0.0)
    slices = [(row["group"], row["value"], row["worse_by"]) for row in report["slices"]]
    # The largest worsening first; no number is not a figure.
    assert slices == [("a", 2.5, 0.25), ("b", 3.0, 0.0), ("c", None, None)]


@pytest.mark.usefixtures("repository")
def test_base_without_a_pipeline_makes_everything_new():
    git("rm", "-r", "--quiet", "--cached", "out", "dvc.lock", "params.yaml")
    git("commit", "--quiet", "--message", "Nothing yet")
    git("branch", "empty")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Train")
    # A champion of its own, so that the verdict needs no prediction.
    for tag in ("model@v1.0.0", "model#production#1"):
        git("tag", "--annotate", "--message", tag, tag)
    report = make_report("--base", "empty")
    assert (report["outcome"], report["champion"]) == ("unchanged", "model@v1.0.0")
    assert report["same_test_rows"] is None
    assert [row["base"] for row in report["metrics"]] == [None, None]
    assert [report[key] for key in ("parameters", "libraries", "stages", "base_lock_hash")] == [[], [], [], None]
    assert "The base has no metrics" in Path("out/report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("repository")
def test_data_hash_of_a_lock_without_data_is_that_of_the_tracked_folder():
    Path("dvc.lock").unlink()
    Path("data.dvc").write_text("outs:\n- md5: d9.dir\n  path: data\n", encoding="utf-8")
    assert read_snapshot(None).data_hash == "d9.dir"


@pytest.mark.usefixtures("repository")
def test_unknown_base_is_misuse():
    with pytest.raises(MisuseError, match="'nowhere' is no revision in this clone"):
        main(["--base", "nowhere"])


@pytest.mark.usefixtures("repository")
def test_missing_metrics_are_refused():
    Path("out/metrics.json").unlink()
    with pytest.raises(RefusedError, match=r"out/metrics.json is missing; .* make pipeline"):
        main([])


@pytest.mark.usefixtures("repository")
def test_file_that_is_no_json_is_named():
    Path("out/rows.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    with pytest.raises(RefusedError, match=r"out/rows.json at the working folder is no JSON"):
        main([])


@pytest.mark.usefixtures("repository")
def test_figures_that_are_no_numbers_are_left_out():
    verdict = Verdict(
        REFUSE, "model at main", ("overall is no number",), (), {"champion": 2.0, "worse_by": float("nan")}
    )
    facts = collect_facts(verdict, Snapshot(), read_snapshot(None), read_params())
    assert facts["figures"] == {"champion": 2.0}
    assert json.dumps(facts, allow_nan=False)


def make_lock(deps=(), params=None, outs=(), cmd="run"):
    """Make up a lock of one stage."""
    entries = {
        kind: [{"path": path, "md5": md5} for path, md5 in pairs] for kind, pairs in (("deps", deps), ("outs", outs))
    }
    return {"stages": {"fit": {"cmd": cmd, **entries, "params": {"params.yaml": params or {}}}}}


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({}, []),
        ({"deps": [("data", "1")]}, [("data", ["data"])]),
        ({"deps": [("out/environment.json", "1")]}, [("libraries", ["out/environment.json"])]),
        ({"deps": [("requirements.lock", "1")]}, [("libraries", ["requirements.lock"])]),
        ({"deps": [("out/train", "1")]}, [("earlier stage", ["out/train"])]),
        ({"deps": [("src/a.py", "1"), ("src/b.py", "1")]}, [("code", ["src/a.py", "src/b.py"])]),
        ({"params": {"fit": {"seed": 1}}, "outs": [("out/model", "1")]}, [("params", ["fit.seed"])]),
        ({"cmd": "run --fast"}, [("command", ["run --fast"])]),
        ({"outs": [("out/model", "1")]}, [("other results of the same inputs", ["out/model"])]),
    ],
)
def test_stage_says_why_it_ran(change, causes):
    found = compare_stages(make_lock(), make_lock(**change))
    assert [(row["cause"], row["what"]) for row in found] == causes


def test_stage_that_came_or_went():
    before, after = {"stages": {"old": {}, "kept": {}}}, {"stages": {"new": {}, "kept": {}}}
    assert [(row["stage"], row["cause"]) for row in compare_stages(before, after)] == [
        ("new", "new stage"),
        ("old", "removed stage"),
    ]


def test_parameters_are_compared_key_by_key():
    before = flatten({"a": {"b": 1, "c": [1, 2]}, "d": None, "e": {}})
    assert before == {"a.b": "1", "a.c": "[1, 2]", "d": "null", "e": "{}"}
    assert [tuple(row.values()) for row in list_changes(before, flatten({"a": {"b": 2, "c": [1, 2]}, "f": "x"}))] == [
        ("a.b", "1", "2"),
        ("f", None, "x"),
        ("d", "null", None),
        ("e", "{}", None),
    ]


def test_slices_worsen_in_the_metrics_direction_and_few_rows_come_last():
    def measure(**errors):
        row = {"slice": "kind", "rows": 9}
        return [{**row, "group": key, "error": value, "judged": key != "few"} for key, value in errors.items()]

    base, here = measure(few=0.9, worse=0.8, better=0.5), measure(few=0.1, better=0.6, worse=0.4, new=0.7)
    found = [(row["group"], row["worse_by"]) for row in compare_slices("r2_score", base, here, True)]
    assert found == [("worse", 0.5), ("better", -0.2), ("new", None), ("few", 0.888889)]


def test_other_features_of_the_same_rows_are_the_same_rows():
    def make_snapshot(prepared, data, **counts):
        lock = {"stages": {"prepare": {"outs": [{"path": "out/test", "md5": prepared}]}}}
        return Snapshot(lock=lock, data_hash=data, metrics={"x": {}}, rows={"2024-01": count_rows("test", **counts)})

    base = make_snapshot("t1", "d1", rows=50)
    assert has_same_test_rows(base, make_snapshot("t1", "d2", rows=50))
    assert has_same_test_rows(base, make_snapshot("t2", "d1", rows=50))
    assert has_same_test_rows(base, make_snapshot("t2", "d1", rows=50, missing=1)) is False
    assert has_same_test_rows(base, make_snapshot("t2", "d2", rows=50)) is False
    assert has_same_test_rows(Snapshot(), base) is None


@pytest.mark.usefixtures("repository")
def test_later_jobs_learn_the_outcome_and_the_run_page_the_report(monkeypatch, tmp_path):
    for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (tmp_path / variable).write_text("before\n", encoding="utf-8")
        monkeypatch.setenv(variable, str(tmp_path / variable))

    make_report()

    page = Path("out/report.md").read_text(encoding="utf-8")
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == "before\noutcome=unchanged\nfolder=out\n"
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == f"before\n{page}"
    assert "<title>" in Path("out/report.html").read_text(encoding="utf-8")
