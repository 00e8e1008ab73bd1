"""Experiment: settings are tried in copies, nothing of the user's changes, and one becomes a branch."""

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import commit_all, replace_text, run_git, run_here, run_python
from repositories import copy_repository, reproduce_and_commit

from lifecycle.comparison.lock import list_outputs, list_unlike
from lifecycle.comparison.snapshot import Snapshot
from lifecycle.errors import RefusedError
from lifecycle.experiment import bring_inputs, deepen, keep_changes, list_uncommitted, plan_experiments, run_plans
from lifecycle.experiments import table
from lifecycle.experiments.settings import Plan
from lifecycle.experiments.table import Experiment, format_experiments, list_experiments
from lifecycle.metric_names import is_lower_better
from lifecycle.metrics import load_metrics
from lifecycle.params import read_params
from lifecycle.paths import PARAMS
from lifecycle.repository import read_at, read_lock
from lifecycle.store import list_absent
from rehearsal.remote import introduce_author

CODE = "src/lifecycle/train.py"
# In place of DVC, where it is called as a module: one experiment fails, and of one DVC keeps no result.
DVC_RUNS = """
import subprocess, sys
name = sys.argv[sys.argv.index("--name") + 1]
print(f"Reproducing experiment '{name}'")
if name == "bad":
    sys.exit("the stage failed")
print("Running stage 'train':")
if name != "lost":
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    subprocess.run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", head], check=True)
"""
# In its place where rows are to be prepared: it writes another lock, and fails where it is told to.
DVC_PREPARES = """
import sys
from pathlib import Path
with open("calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "repro":
    Path("dvc.lock").write_text("new")
    sys.exit(Path("fails").exists())
"""


@pytest.mark.parametrize(("metric", "order"), [("a_error", "low * high"), ("a_score", "high * low")])
def test_table_shows_the_best_first_within_80_columns(
    metric: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot(value: float, **params: object) -> Snapshot:
        figures = {metric: {"value": value, "low": value - 0.1, "high": value + 0.1}}
        return Snapshot(params=params, metrics=figures, data_hash="d" * 32)

    base = snapshot(2.0, seed=0)
    found = {"low": snapshot(1.0, seed=1, **{f"key_{n}": n for n in range(9)}), "high": snapshot(3.0, seed=2)}
    found["moved"] = replace(snapshot(9.0 if metric == "a_error" else -9.0), data_hash="e" * 32)
    found["other"] = Snapshot()
    monkeypatch.setattr(table, "read_snapshot", found.__getitem__)
    experiments = [Experiment(name, name, 12.34, ("train",)) for name in found]
    experiments[2] = replace(experiments[2], seconds=None, ran=())

    lines = format_experiments(experiments, ("model@v1.0.0", base), metric, 0.95).splitlines()

    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines[3:] if not line.startswith(" ")]
    assert " ".join(names) == f"{order} moved other"
    assert {"low", "1.000", "0.9000", "to", "1.100", "50", "%"} < set(" ".join(lines).split())
    assert any("seed 0 → 2" in line and "ran train in 12.3 s" in line for line in lines)
    moved = next(place for place, line in enumerate(lines) if line.startswith("moved"))
    assert lines[moved].endswith("other rows") and "run by another command" in lines[moved + 1]


@dataclass(frozen=True)
class Tried:
    """A shallow clone in which settings were tried beside uncommitted changes."""

    folder: Path
    done: "subprocess.CompletedProcess[str]"
    before: dict[str, bytes]


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all that Git knows of."""
    names = run_git(folder, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return {name: (folder / name).read_bytes() for name in names}


def clone_shallow(origin: Path, folder: Path) -> Path:
    """Clone the newest commit alone."""
    run_git(origin, "clone", "--quiet", "--depth", "1", origin.as_uri(), str(folder))
    introduce_author(folder)
    return folder


@pytest.fixture(name="kept", scope="module")
def fixture_kept(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Try a setting in a small repository, whose stage writes the metric that decides, and better in the clone."""
    top = tmp_path_factory.mktemp("kept")
    origin = copy_repository(tmp_path_factory, top / "origin")
    params = read_params(origin / PARAMS)
    metric = load_metrics(params.evaluate.metrics[:1], params.load_domain())[0].name
    replace_text(origin / "dvc.yaml", "some_error", metric)
    reproduce_and_commit(origin, "Measure what decides")
    folder = clone_shallow(origin, top / "clone")
    replace_text(folder / "dvc.yaml", "1.5", "1.2" if is_lower_better(metric) else "1.8")
    (folder / "stray.txt").write_text("mine\n", encoding="utf-8")
    # As if rows were prepared, which the small repository has none of.
    (folder / "out/test").mkdir(parents=True)
    before = read_files(folder)
    return Tried(folder, run_here(folder, "lifecycle.experiment", "run", "--set", "train.seed=7"), before)


def test_setting_is_tried_in_a_copy_with_uncommitted_changes_which_stay(kept: Tried) -> None:
    said = kept.done.stdout

    assert kept.done.returncode == 0, said + kept.done.stderr
    assert read_files(kept.folder) == kept.before
    assert "This clone is shallow" in said
    assert "seed-7: ran train in " in said and said.endswith("\nNext: make experiments\n")
    assert "Taken along, though not committed: dvc.yaml\n" in said
    assert "Left behind, since not in Git: stray.txt;" in said
    stash = said.partition("git stash apply ")[2].split()[0]
    assert run_git(kept.folder, "show", f"{stash}:dvc.yaml").encode() == kept.before["dvc.yaml"]
    assert run_git(kept.folder, "stash", "list") == ""


def test_table_says_what_differs_from_the_champion_and_which_stages_ran(kept: Tried) -> None:
    listed = run_here(kept.folder, "lifecycle.experiment", "list").stdout

    assert "is better; best first. Champion: model at" in " ".join(listed.split())
    assert listed.index("seed-7") < listed.index("* champion")
    said = " ".join(listed.split())
    assert "20 % better" in said
    assert "train.seed 1 → 7" in said and "; ran train in " in said


def test_branch_holds_lock_results_and_bytes_in_one_commit(
    kept: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run_here(kept.folder, "lifecycle.experiment", "branch", "seed-7").stdout

    assert said.splitlines()[-1] == "Next: git push -u origin experiment/seed-7"
    run_git(kept.folder, *said.splitlines()[-1].split()[2:])
    origin = run_git(kept.folder, "remote", "get-url", "origin").strip()
    run_git(tmp_path, "clone", "--quiet", "--branch", "experiment/seed-7", origin, "fresh")
    monkeypatch.chdir(tmp_path / "fresh")
    lock = read_lock("HEAD")
    assert not list_unlike(lock, {path: read_at("HEAD", path) for path in list_outputs(lock)})
    assert list_absent(lock) == []
    assert run_git(Path(), "log", "--format=%s", "origin/main..HEAD") == "Try train.seed=7\n"
    changed = run_git(Path(), "diff", "-U0", "origin/main", "--", "params.yaml").splitlines()[5:]
    assert changed == ["-  seed: 1", "+  seed: 7"]
    # Nothing of it is left in the folder in which it was made.
    assert read_files(kept.folder) == kept.before
    assert len(run_git(kept.folder, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "config", "code", "said"),
    [
        # A folder that nobody can make.
        (["seed-7", "--to", "mine"], "['remote \"store\"']\n    url = /proc/nowhere\n", 1, "dvc push --quiet failed"),
        (["seed-7", "--to", "mine"], "[no such\n", 1, "DVC cannot work here: "),
        (["no-such"], None, 2, "there is no experiment 'no-such'; this clone has: seed-7. The table: make"),
        (["seed-7", "--to", "main"], None, 2, "there is a branch 'main' already"),
    ],
    ids=["remote out of reach", "broken settings of DVC", "no such experiment", "name taken"],
)
def test_branch_that_cannot_be_made_leaves_nothing(
    kept: Tried, arguments: list[str], config: str | None, code: int, said: str
) -> None:
    branches, settings = run_git(kept.folder, "branch", "--list"), kept.folder / ".dvc/config.local"
    if config:
        settings.write_text(config, encoding="utf-8")

    done = run_here(kept.folder, "lifecycle.experiment", "branch", *arguments)
    settings.unlink(missing_ok=True)

    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (code, True, 1), done.stderr
    assert run_git(kept.folder, "branch", "--list") == branches
    assert len(run_git(kept.folder, "worktree", "list").splitlines()) == 1
    assert read_files(kept.folder) == kept.before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "train.sed=1"), "train.sed is unknown"),
        (("--set", "train.seed=soft"), "train.seed is 'soft'; expected"),
        (("--set", "train.seed=1"), "nothing to try: params.yaml says train.seed=1 already"),
        (("--set", "train.seed=3", "--name", "a/b"), "'a/b' is no name"),
        (("--set", "train.seed=3", "--name", "seed-7"), "there is an experiment 'seed-7' already; name another one"),
        (("--set", "train.seed=3", "--jobs", "0"), "--jobs is 0; expected 1 or more"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_runs(
    kept: Tried, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    # A clean clone, with the experiment's name.
    run_git(tmp_path, "clone", "--quiet", str(kept.folder), "clean")
    folder = tmp_path / "clean"
    run_git(folder, "fetch", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    refs = run_git(folder, "for-each-ref")

    done = run_here(folder, "lifecycle.experiment", "run", *arguments)

    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stderr
    assert run_git(folder, "for-each-ref") == refs
    assert run_git(folder, "status", "--porcelain") == ""


def test_each_plan_has_a_name_of_its_own(kept: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kept.folder)

    plans = plan_experiments("train.seed=7,8,9", None, changed=False)
    named = plan_experiments("train.seed=1,2", "mine", changed=True)

    assert [plan.name for plan in plans] == ["seed-7-2", "seed-8", "seed-9"]
    assert [(plan.name, plan.settings) for plan in named] == [
        ("mine", {"train.seed": 1}),
        ("mine-2", {"train.seed": 2}),
    ]


def test_clone_without_experiments_says_how_to_make_one(kept: Tried) -> None:
    listed = run_here(kept.folder.with_name("origin"), "lifecycle.experiment", "list").stdout

    assert listed == 'There is no experiment in this clone yet. Next: make experiment SET="train.seed=1"\n'


def test_clone_that_cannot_be_deepened_is_refused_with_the_command(kept: Tried, tmp_path: Path) -> None:
    folder = clone_shallow(kept.folder.with_name("origin"), tmp_path / "cut")
    run_git(folder, "remote", "set-url", "origin", str(tmp_path / "gone"))

    done = run_here(folder, "lifecycle.experiment", "run", "--set", "train.seed=3")

    assert done.returncode == 1
    assert done.stderr.endswith("Run: git fetch --unshallow\n")
    assert run_git(folder, "for-each-ref", "refs/exps") == ""


@pytest.fixture(name="repository")
def fixture_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a repository of one commit, without a model."""
    run_git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    introduce_author(tmp_path)
    run_git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_clone_that_is_whole_and_clean_needs_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    deepen()
    keep_changes(*list_uncommitted())

    assert capsys.readouterr().out == ""


def test_experiments_that_fail_or_are_lost_keep_no_other_back(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "dvc.py").write_text(DVC_RUNS, encoding="utf-8")
    plans = [Plan(name, {"train.seed": seed}) for seed, name in enumerate(("bad", "lost", "good"))]

    with pytest.raises(
        RefusedError, match="^failed: bad, lost; why stands above. The results of the others are kept"
    ):
        run_plans(plans, jobs=2)

    said, told = capsys.readouterr()
    assert "good | Running stage 'train':\n" in said and "good: ran train in " in said
    assert "bad: dvc exp run --temp" in told and "-S params.yaml:train.seed=0 failed" in told
    assert "lost: DVC kept no result of lost" in told
    assert [(one.name, one.ran) for one in list_experiments(everything=True)] == [("good", ("train",))]


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize("fails", [False, True])
def test_rows_are_prepared_and_the_lock_stays_as_it_was(repository: Path, fails: bool) -> None:
    (repository / "dvc.py").write_text(DVC_PREPARES, encoding="utf-8")
    (repository / "dvc.lock").write_text("old", encoding="utf-8")
    if fails:
        (repository / "fails").touch()

    try:
        bring_inputs()
    except RefusedError as error:
        assert fails and "dvc repro prepare failed" in str(error)
    else:
        assert not fails

    assert (repository / "calls").read_text(encoding="utf-8") == "pull data.dvc\nrepro prepare\n"
    assert (repository / "dvc.lock").read_text(encoding="utf-8") == "old"


@pytest.mark.drill
def test_two_at_once_run_in_copies_and_one_that_fails_keeps_no_other_back(trained: Path, tmp_path: Path) -> None:
    origin = Path(shutil.copytree(trained, tmp_path / "origin", symlinks=True))
    (origin / "notes.txt").write_text("a second commit, so that a clone can be shallow\n", encoding="utf-8")
    commit_all(origin, "Take notes")
    folder = clone_shallow(origin, tmp_path / "clone")
    replace_text(folder / CODE, "import json\n", "import json  # mine\n")
    before = read_files(folder)

    arguments = ("run", "--set", "train.penalty=10.0,-1.0", "--jobs", "2")
    done = run_python(folder, "lifecycle.experiment", *arguments, check=False)

    assert done.returncode == 1
    assert "failed: penalty--1.0; why stands above" in done.stderr
    assert "penalty-10.0: ran train, evaluate in " in done.stdout
    assert read_files(folder) == before
    listed = run_git(folder, "for-each-ref", "--format=%(refname)", "refs/exps")
    assert [ref.rpartition("/")[2] for ref in listed.splitlines()] == ["penalty-10.0"]
    table_said = " ".join(run_python(folder, "lifecycle.experiment", "list").stdout.split())
    assert f"train.penalty 5000.0 → 10.0, code ({CODE}); ran " in table_said
