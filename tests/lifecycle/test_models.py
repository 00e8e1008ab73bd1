"""Another model is a folder beside the first one: made, found, touched by some changes, and worked on."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from conftest import FORK, ROOT, commit_all, run_git

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.experiments.table import list_experiments
from lifecycle.folders import find_folder, has_shared_pipeline, list_models, name_among_others, share_pipeline
from lifecycle.github import results
from lifecycle.github.proposal import name_branch
from lifecycle.models import add_model, choose_touched, judge_reports, list_touched, main
from lifecycle.repository import read_yaml_at
from rehearsal.remote import introduce_author

MODELS = ("first", "second", "third")
PIPELINE = """stages:
  train:
    cmd: python -m lifecycle.train --seed {seed}
    deps:
      - requirements.lock
      - src/domain
      - src/lifecycle/train.py
"""


@pytest.fixture(name="top")
def fixture_top(tmp_path, monkeypatch):
    """A repository with one model, on its main branch; the working folder."""
    run_git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    introduce_author(tmp_path)
    shutil.copy(FORK / "params.yaml", tmp_path)
    shutil.copytree(FORK / "src/domain", tmp_path / "src/domain")
    (tmp_path / "dvc.yaml").write_text(PIPELINE.format(seed=1), encoding="utf-8")
    (tmp_path / "src/lifecycle").mkdir()
    (tmp_path / "src/lifecycle/train.py").write_text("", encoding="utf-8")
    commit_all(tmp_path, "Begin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_names(folder):
    """Read what a model is called, in its tags and in the cloud."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    return params["registry"]["name"], params["infra"]["name"]


def test_new_model_has_the_first_ones_form_and_stages_of_the_same_machinery(top):
    folder = add_model(top, "second")

    package = Path("src") / yaml.safe_load((top / "params.yaml").read_text(encoding="utf-8"))["domain"]
    assert folder == top / "models/second"
    assert read_names(folder) == ("second", "second")
    assert {path.name for path in (folder / package).iterdir()} >= {"__init__.py"}
    assert [(folder / name).readlink() for name in ("infra", "requirements.lock")] == [
        Path("../../infra"),
        Path("../../requirements.lock"),
    ]
    stage = read_yaml_at(None, "models/second/dvc.yaml")["stages"]["train"]
    assert stage["deps"] == ["requirements.lock", "src/domain", "../../src/lifecycle/train.py"]
    assert stage["cmd"] == "python -m lifecycle.train --seed 1"
    copied = {path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
    assert copied == {folder / "params.yaml", folder / "dvc.yaml", *(folder / package).rglob("*.py")}
    assert list_models(top) == {read_names(top)[0]: top, "second": folder}


@pytest.mark.parametrize("name", ["", "a", "Second", "two words", "../out", "-x", "x" * 21])
def test_name_that_no_tag_could_have_makes_no_model(top, name):
    with pytest.raises(MisuseError, match=r"is no name of a model; expected 3 to 20 lower-case letters"):
        add_model(top, name)

    assert not (top / "models").exists()


def test_name_of_another_model_makes_none(top):
    add_model(top, "second")
    (top / "models/half").mkdir()
    for name in ("second", "half", *read_names(top)):
        with pytest.raises(MisuseError, match=f"the name '{name}' is taken"):
            add_model(top, name)

    assert sorted(path.name for path in (top / "models").iterdir()) == ["half", "second"]


def test_model_without_a_task_to_begin_with_is_not_made(top):
    shutil.rmtree(top / "src/domain")

    with pytest.raises(MisuseError, match="params.yaml names the domain 'domain'; expected a package src/domain"):
        add_model(top, "second")

    assert not (top / "models").exists()


@pytest.mark.parametrize("name", ["other", "part-failure"])
def test_folder_whose_model_has_another_name_is_refused(top, name):
    folder = add_model(top, "second")
    path = folder / "params.yaml"
    path.write_text(re.sub('name: "second"', f"name: {name}", path.read_text(encoding="utf-8")), encoding="utf-8")

    with pytest.raises(
        RefusedError, match=rf"models/second/params.yaml has registry.name '{name}'; expected 'second'"
    ):
        list_models(top)


def test_folder_without_a_name_is_refused(top):
    (top / "models/second").mkdir(parents=True)
    (top / "models/second/params.yaml").write_text("registry: second\n", encoding="utf-8")

    with pytest.raises(RefusedError, match="names no model; expected registry.name"):
        list_models(top)


def test_unknown_model_is_answered_with_those_that_there_are(top):
    add_model(top, "second")

    with pytest.raises(MisuseError, match=f"there is no model 'third', only {read_names(top)[0]}, second; make it"):
        find_folder(top, "third")


def test_model_is_found_by_its_name_and_the_first_one_without(top):
    folder = add_model(top, "second")

    assert find_folder(top, "second") == folder
    assert find_folder(top, "") == top


def test_only_a_model_among_others_is_named(top, monkeypatch):
    assert name_among_others() is None
    folder = add_model(top, "second")
    assert name_among_others() == read_names(top)[0]
    monkeypatch.chdir(folder)
    assert name_among_others() == "second"


def test_other_models_keep_the_first_ones_stages(top, monkeypatch, capsys):
    folder = add_model(top, "second")
    (top / "dvc.yaml").write_text(PIPELINE.format(seed=2), encoding="utf-8")
    assert has_shared_pipeline()
    monkeypatch.chdir(folder)
    assert not has_shared_pipeline()

    share_pipeline()

    assert has_shared_pipeline()
    assert read_yaml_at(None, "dvc.yaml")["stages"]["train"]["cmd"].endswith("--seed 2")
    assert "dvc.yaml has the first model's stages again" in capsys.readouterr().out
    share_pipeline()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changed", "touched"),
    [
        ("models/second/params.yaml", "second"),
        ("models/second/src/domain/model.py", "second"),
        ("models/gone/params.yaml", ""),
        ("params.yaml", "first"),
        ("data.dvc", "first"),
        ("out/metrics.json", "first"),
        ("src/domain/model.py", "first"),
        ("src/domain2/model.py", "first second third"),
        ("src/lifecycle/train.py", "first second third"),
        ("requirements.lock", "first second third"),
        ("dvc.yaml", "first second third"),
        (".github/workflows/train.yml", "first second third"),
        ("README.md", ""),
        (".github/CONTRIBUTING.md", ""),
        (".dvc/sample-store/files/md5/00/11", ""),
        ("tests/lifecycle/test_models.py", ""),
        ("infra/alarms.tf", ""),
        ("models/second/params.yaml params.yaml", "first second"),
    ],
)
def test_change_touches_its_own_model_and_the_machinery_all(changed, touched):
    assert choose_touched(MODELS, changed.split(), "src/domain") == touched.split()


def test_every_change_touches_an_only_model():
    assert choose_touched(["first"], ["README.md"], "src/domain") == ["first"]


def test_touched_are_the_models_of_the_commits_since_a_base(top):
    first = read_names(top)[0]
    add_model(top, "second")
    commit_all(top, "Add a model")
    assert list_touched(top, None) == [first, "second"], "the main branch itself"
    run_git(top, "checkout", "--quiet", "-b", "work")
    (top / "models/second/notes.txt").write_text("x\n", encoding="utf-8")
    commit_all(top, "Change a model")

    assert list_touched(top, None) == ["second"]
    assert list_touched(top, "HEAD~1") == ["second"]
    with pytest.raises(MisuseError, match="'nowhere' is no revision"):
        list_touched(top, "nowhere")


def test_workflow_learns_the_touched_models(top, monkeypatch, tmp_path_factory, capsys):
    output = tmp_path_factory.mktemp("runner") / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    add_model(top, "second")
    commit_all(top, "Add a model")

    assert main(["touched"]) == 0

    names = [read_names(top)[0], "second"]
    assert output.read_text(encoding="utf-8") == f"models={json.dumps(names)}\n"
    assert capsys.readouterr().out.split() == names


def test_reports_are_judged_together():
    passed, same, refused = ({"outcome": outcome} for outcome in ("pass", "unchanged", "refuse"))

    assert judge_reports([passed], ["first"]) == (["first: pass"], True)
    assert judge_reports([], []) == (["no model is touched"], True)
    both = [{**same, "model": "first"}, {**refused, "model": "second"}]
    assert judge_reports(both, ["first", "second"]) == (["first: unchanged", "second: refuse"], False)
    missing = ["first: pass", "second: no verdict, since the run ended before one"]
    assert judge_reports([{**passed, "model": "first"}], ["first", "second"]) == (missing, False)


def test_gate_is_red_unless_each_touched_model_may_be_merged(tmp_path, capsys):
    for name, outcome in (("first", "pass"), ("second", "refuse")):
        (tmp_path / f"report-{name}").mkdir()
        report = json.dumps({"model": name, "outcome": outcome})
        (tmp_path / f"report-{name}" / "report.json").write_text(report, encoding="utf-8")

    assert main(["judge", str(tmp_path), '["first"]']) == 0
    assert main(["judge", str(tmp_path), '["first", "second"]']) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "second: refuse"


def test_retrained_models_are_proposed_on_branches_of_their_own(top, monkeypatch):
    folder = add_model(top, "second")
    assert name_branch("0123456789abcdef.dir") == "retrain/0123456789ab"

    monkeypatch.chdir(folder)

    assert name_branch("0123456789abcdef.dir") == "retrain/second/0123456789ab"


def test_results_of_a_model_are_packed_with_their_names_from_the_top(top, monkeypatch, capsys):
    folder = add_model(top, "second")
    commit_all(top, "Add a model")
    (folder / "out").mkdir()
    for name in ("models/second/dvc.lock", "models/second/out/metrics.json", "models/second/notes.txt", "dvc.lock"):
        (top / name).write_text("{}\n", encoding="utf-8")
    monkeypatch.chdir(folder)

    results.main(["pack"])

    with tarfile.open(folder / "out/results.tar") as archive:
        packed = archive.getnames()
    assert packed == ["dvc.lock", "models/second/dvc.lock", "models/second/out/metrics.json"]
    assert capsys.readouterr().out.split() == packed


def test_experiments_of_other_models_are_not_listed(top, monkeypatch):
    folder = add_model(top, "second")
    commit_all(top, "Add a model")
    head = run_git(top, "rev-parse", "HEAD").strip()
    for name, path in (("of-first", top), ("of-second", folder)):
        with (path / "params.yaml").open("a", encoding="utf-8") as file:
            file.write("# tried\n")
        commit_all(top, name)
        run_git(top, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
        run_git(top, "reset", "--quiet", "--hard", head)

    assert [experiment.name for experiment in list_experiments()] == ["of-first"]
    assert {experiment.name for experiment in list_experiments(everything=True)} == {"of-first", "of-second"}
    monkeypatch.chdir(folder)
    assert [experiment.name for experiment in list_experiments()] == ["of-second"]


def call(folder, *arguments):
    """Call the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "lifecycle.models", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_module_runs_in_the_folder_of_its_model_and_gives_its_exit_code(top):
    assert main(["add", "second"]) == 0

    done = call(top, "run", "second", "lifecycle.models", "run", "second", "lifecycle.serving.nothing")
    listed = call(top / "models/second", "list")
    each = call(top, "each", "lifecycle.params")

    assert done.returncode == 1 and "lifecycle.serving.nothing" in done.stderr
    assert listed.stdout.splitlines() == [f"{read_names(top)[0]}  .", "second  models/second"]
    assert each.returncode == 0, each.stderr


def test_error_in_a_models_folder_says_which_one_make_must_be_told(top):
    folder = add_model(top, "second")
    (folder / "params.yaml").write_text("registry: {name: second}\n", encoding="utf-8")

    done = call(top, "run", "second", "lifecycle.reproduce")

    assert done.returncode == 2
    assert done.stderr.startswith("MisuseError: params.yaml: ")
    done = call(folder, "run", "third", "lifecycle.reproduce")
    assert done.stderr.endswith("make it with: make model NAME=third (make with MODEL=second)\n")
