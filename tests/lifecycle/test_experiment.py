"""Experiment: settings are tried in copies, nothing of the user's changes, and one becomes a branch."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import commit_all, replace_text, run_git, run_python

from lifecycle.comparison.lock import list_outputs, list_unlike
from lifecycle.comparison.snapshot import Snapshot
from lifecycle.errors import MisuseError
from lifecycle.experiment import main
from lifecycle.experiments import table
from lifecycle.experiments.settings import LONGEST_NAME, choose_name, edit_params, parse_settings
from lifecycle.experiments.table import Experiment, format_experiments
from lifecycle.repository import read_at, read_lock
from lifecycle.store import list_absent
from rehearsal.remote import introduce_author

PARAMS = b"""\
train: # why
  rate: 0.5 # a share
  names: [a, b]
  # Of a tree.
  depth:
    - 1
    - 2
note: 'x'
"""
CODE = "src/lifecycle/train.py"


def test_each_combination_of_values_is_an_experiment() -> None:
    assert parse_settings("train.rate=0.1,0.2 train.names=[a,b]") == [
        {"train.rate": 0.1, "train.names": ["a", "b"]},
        {"train.rate": 0.2, "train.names": ["a", "b"]},
    ]
    assert parse_settings("") == [{}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate", "'rate' is no setting; expected key=value"),
        ("=1", "'=1' is no setting"),
        ("a=1 a=2", "a is set twice"),
        ("a=", "has no value"),
        ("a=[1", "has no value"),
        ("a={b: 1}", "'{b:' is no|has no value|'1}' is no"),
        ("a='1", "cannot be read"),
    ],
)
def test_text_that_is_no_setting_is_told(text: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        parse_settings(text)


def test_setting_a_value_leaves_form_and_comments() -> None:
    edited = edit_params(PARAMS, {"train.depth": [3], "train.rate": 0.25, "note": "y: #"})

    assert yaml.safe_load(edited) == {"train": {"rate": 0.25, "names": ["a", "b"], "depth": [3]}, "note": "y: #"}
    assert edited.startswith(b"train: # why\n  rate: 0.25 # a share\n  names: [a, b]\n  # Of a tree.\n  depth:\n")


def test_key_of_another_section_and_a_section_on_one_line_stay_whole() -> None:
    edited = edit_params(b"train: {rate: 1, depth: 7}\ngate:\n  rate: 3\n", {"train.rate": 2.5})

    assert edited == b"train: {rate: 2.5, depth: 7}\ngate:\n  rate: 3\n"


@pytest.mark.parametrize(("said", "number"), [("1e-6", 1e-6), ("2.5E3", 2500), ("1e+20", 1e20), ("-3", -3)])
def test_number_with_an_exponent_is_one_wherever_it_is_read(said: str, number: float) -> None:
    ((setting,),) = (one.values() for one in parse_settings(f"train.rate={said}"))

    assert setting == number
    assert yaml.safe_load(edit_params(PARAMS, {"train.rate": setting}))["train"]["rate"] == number
    assert yaml.safe_load(edit_params(PARAMS, {"train.rate": [setting]}))["train"]["rate"] == [number]


@pytest.mark.parametrize(
    ("key", "said"),
    [("train.rat", "has no 'rat' there; it has rate, names"), ("train", "is a section"), ("note.x", "has no 'x'")],
)
def test_unknown_key_is_told_with_its_neighbours(key: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        edit_params(PARAMS, {key: 1})


def test_names_are_readable_unique_and_short() -> None:
    settings = {"train.rate": 0.1, "evaluate.source": "s3://a/../b"}
    long = {f"train.parameter_{number}": number for number in range(9)}

    name = choose_name(settings, ())

    assert name == "rate-0.1-source-s3-a-b"
    assert choose_name(settings, (name, f"{name}-2")) == f"{name}-3"
    assert choose_name(settings, ("mine",), "mine") == "mine-2"
    assert len(choose_name(long, (choose_name(long, ()),))) <= LONGEST_NAME
    assert choose_name(long, ()) != choose_name({**long, "train.parameter_8": 0}, ())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "train.penalti=1.0"), "train.penalti is unknown"),
        (("--set", "train.penalty=soft"), "train.penalty is 'soft'; expected"),
        (("--set", "train.penalty=5000.0"), "nothing to try"),
        (("--set", "train.penalty=1.0", "--name", "a/b"), "'a/b' is no name"),
    ],
)
def test_setting_that_makes_no_sense_is_told_before_anything_runs(
    workspace: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(MisuseError, match=said):
        main(["run", *arguments])

    assert run_git(workspace, "for-each-ref", "refs/exps") == run_git(workspace, "status", "--porcelain") == ""


@pytest.mark.parametrize(("metric", "order"), [("a_error", "low * high"), ("a_score", "high * low")])
def test_table_shows_the_best_first_within_80_columns(
    metric: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot(value: float, **params: object) -> Snapshot:
        figures = {metric: {"value": value, "low": value - 0.1, "high": value + 0.1}}
        return Snapshot(params=params, metrics=figures, data_hash="d" * 32)

    base = snapshot(2.0, seed=0)
    found = {"low": snapshot(1.0, seed=1, **{f"key_{n}": n for n in range(9)}), "high": snapshot(3.0, seed=2)}
    found["other"] = Snapshot()
    monkeypatch.setattr(table, "read_snapshot", found.__getitem__)
    experiments = [Experiment(name, name, 12.34, ("train",)) for name in found]

    lines = format_experiments(experiments, ("model@v1.0.0", base), metric, 0.95).splitlines()

    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines[3:] if not line.startswith(" ")]
    assert " ".join(names) == f"{order} other"
    assert {"low", "1.000", "0.9000", "to", "1.100", "50", "%"} < set(" ".join(lines).split())
    assert any("seed 0 → 2" in line and "ran train in 12.3 s" in line for line in lines)


@dataclass(frozen=True)
class Tried:
    """A shallow clone in which two settings were tried at once, beside uncommitted changes; one of them fails."""

    folder: Path
    done: "subprocess.CompletedProcess[str]"
    before: dict[str, bytes]


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all that Git knows of."""
    names = run_git(folder, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(name="tried", scope="module")
def fixture_tried(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Try two settings."""
    top = tmp_path_factory.mktemp("tried")
    shutil.copytree(trained, top / "origin", symlinks=True)
    (top / "origin/notes.txt").write_text("a second commit, so that a clone can be shallow\n", encoding="utf-8")
    commit_all(top / "origin", "Take notes")
    run_git(top, "clone", "--quiet", "--depth", "1", (top / "origin").as_uri(), "clone")
    folder = top / "clone"
    introduce_author(folder)
    replace_text(folder / CODE, "import json\n", "import json  # mine\n")
    (folder / "stray.txt").write_text("mine\n", encoding="utf-8")
    before = read_files(folder)
    arguments = ("run", "--set", "train.penalty=10.0,-1.0", "--jobs", "2")
    return Tried(folder, run_python(folder, "lifecycle.experiment", *arguments, check=False), before)


@pytest.mark.drill
def test_two_at_once_run_in_copies_and_one_that_fails_keeps_no_other_back(tried: Tried) -> None:
    assert tried.done.returncode == 1
    assert "failed: penalty--1.0; why stands above" in tried.done.stderr
    assert "penalty-10.0: " in tried.done.stdout
    assert "This clone is shallow" in tried.done.stdout
    listed = run_git(tried.folder, "for-each-ref", "--format=%(refname)", "refs/exps")
    assert [ref.rpartition("/")[2] for ref in listed.splitlines()] == ["penalty-10.0"]


@pytest.mark.drill
def test_uncommitted_changes_are_told_taken_along_and_stay(tried: Tried) -> None:
    assert read_files(tried.folder) == tried.before
    assert f"Taken along, though not committed: {CODE}\n" in tried.done.stdout
    assert "Left behind, since not in Git: stray.txt;" in tried.done.stdout
    kept = tried.done.stdout.partition("git stash apply ")[2].split()[0]
    assert "# mine" in run_git(tried.folder, "show", f"{kept}:{CODE}")
    assert run_git(tried.folder, "stash", "list") == ""


@pytest.mark.drill
def test_table_says_what_differs_from_the_champion_and_which_stages_ran(tried: Tried) -> None:
    listed = run_python(tried.folder, "lifecycle.experiment", "list").stdout

    assert "log_loss: lower is better; best first. Champion: part-failure at" in listed
    assert listed.index("penalty-10.0") < listed.index("* champion")
    said = " ".join(listed.split())
    assert "% better" in said
    assert f"train.penalty 5000.0 → 10.0, code ({CODE}); ran train, evaluate in " in said


@pytest.mark.drill
def test_branch_holds_lock_results_and_bytes_in_one_commit(
    tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run_python(tried.folder, "lifecycle.experiment", "branch", "penalty-10.0").stdout

    assert said.splitlines()[-1] == "Next: git push -u origin experiment/penalty-10.0"
    run_git(tried.folder, *said.splitlines()[-1].split()[2:])
    origin = run_git(tried.folder, "remote", "get-url", "origin").strip()
    run_git(tmp_path, "clone", "--quiet", "--branch", "experiment/penalty-10.0", origin, "fresh")
    monkeypatch.chdir(tmp_path / "fresh")
    lock = read_lock("HEAD")
    assert not list_unlike(lock, {path: read_at("HEAD", path) for path in list_outputs(lock)})
    assert list_absent(lock) == []
    assert run_git(Path(), "log", "--format=%s", "origin/main..HEAD") == "Try train.penalty=10.0\n"
    changed = run_git(Path(), "diff", "-U0", "origin/main", "--", "params.yaml").splitlines()[5:]
    assert changed == ["-  penalty: 5000.0", "+  penalty: 10.0"]
    # Nothing of it is left in the folder in which it was made.
    assert read_files(tried.folder) == tried.before
    assert len(run_git(tried.folder, "worktree", "list").splitlines()) == 1


@pytest.mark.drill
def test_branch_that_cannot_be_made_leaves_nothing(tried: Tried) -> None:
    def attempt(*arguments: str) -> tuple[int, str]:
        done = run_python(tried.folder, "lifecycle.experiment", "branch", *arguments, check=False)
        assert done.stderr.count("\n") == 1
        return done.returncode, done.stderr

    branches = run_git(tried.folder, "branch", "--list")
    config = tried.folder / ".dvc/config.local"
    # A folder that nobody can make.
    config.write_text("['remote \"sample\"']\n    url = /proc/nowhere\n", encoding="utf-8")
    code, said = attempt("penalty-10.0", "--to", "mine")
    config.unlink()
    assert (code, "dvc push --quiet failed" in said) == (1, True)
    code, said = attempt("no-such")
    assert (code, "this clone has: penalty-10.0" in said) == (2, True)
    code, said = attempt("penalty-10.0", "--to", "main")
    assert (code, "there is a branch 'main' already" in said) == (2, True)
    assert run_git(tried.folder, "branch", "--list") == branches


@pytest.mark.drill
def test_clone_that_cannot_be_deepened_is_refused_with_the_command(tried: Tried, tmp_path: Path) -> None:
    origin = run_git(tried.folder, "remote", "get-url", "origin").strip()
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", origin, "cut")
    run_git(tmp_path / "cut", "remote", "set-url", "origin", str(tmp_path / "gone"))

    done = run_python(tmp_path / "cut", "lifecycle.experiment", "run", "--set", "train.penalty=1.0", check=False)

    assert done.returncode == 1
    assert "Run: git fetch --unshallow" in done.stderr.splitlines()[-1]
