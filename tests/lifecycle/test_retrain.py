"""Months that came out at the source become one pull request; everything else becomes one line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import commit_all, run_git, run_python

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.github.proposal import is_surely_better
from lifecycle.params import RetrainParams
from lifecycle.retrain import NothingToDoError, check_pace, find_horizon, list_candidates
from rehearsal.github import Repository, serve_github
from rehearsal.remote import change_params
from tests.tools import require_tool

pytestmark = pytest.mark.acceptance

NAME = "inspections_{month}.parquet"
# The newest month of tests/fork is 2025-03.
NEW = NAME.format(month="2025-04")
NOW = datetime(2025, 6, 20, 12, tzinfo=UTC)
PARAMS = RetrainParams(cooldown_days=7, max_per_month=2, merge_margin=None)
KEPT = ("data.dvc", "dvc.lock", "out/metrics.json", ".dvc/sample-store")
CHECKS = ["check.yml", "train.yml"]


@dataclass(frozen=True)
class World:
    """A repository with real months, what it trained on the new one, its remote, its source and its GitHub."""

    folder: Path
    github: Repository

    @property
    def work(self) -> Path:
        """The checkout in which training happens."""
        return self.folder / "work"

    @property
    def bare(self) -> Path:
        """The remote."""
        return self.folder / "remote.git"

    @property
    def month(self) -> Path:
        """The new month at the source."""
        return self.folder / "source" / NEW

    def retrain(self, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run the command of the first job."""
        (self.folder / "output").unlink(missing_ok=True)
        return run_python(self.work, "lifecycle.retrain", check=check)

    def read_output(self) -> str:
        """Read what the command gave to the jobs after it."""
        path = self.folder / "output"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def check_out(self, name: str = "other") -> Path:
        """Make the checkout of the second job."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        run_git(self.folder, "clone", "--quiet", str(self.bare), name)
        return self.folder / name

    def propose(self, check: bool = True, **changes: Any) -> "subprocess.CompletedProcess[str]":
        """Run the command of the second job on what was trained; the report may be changed before."""
        report = self.folder / "report.json"
        trained = json.loads((self.folder / "trained/report.json").read_text(encoding="utf-8"))
        report.write_text(json.dumps({**trained, **changes}), encoding="utf-8")
        return run_python(self.check_out(), *list_proposing(self.folder, report), check=check)

    def snapshot(self) -> dict[str, bytes]:
        """Read what a failed run must leave alone, and where the remote's branches are."""
        files = [path for name in KEPT for path in [self.work / name, *(self.work / name).rglob("*")]]
        read = {str(path): path.read_bytes() for path in files if path.is_file()}
        months = {str(path): path.read_bytes() for path in (self.work / "data").iterdir()}
        return {**read, **months, "branches": run_git(self.bare, "show-ref").encode()}


def list_proposing(folder: Path, report: Path) -> list[str]:
    """List the arguments of the second job's command."""
    return ["lifecycle.github.proposal", str(folder / "trained/results.tar"), str(report)]


def speak(patch: pytest.MonkeyPatch, folder: Path, environment: dict[str, str]) -> None:
    """Set the environment of a job."""
    for name, value in {**environment, "GITHUB_OUTPUT": str(folder / "output"), "CAUSE": "drift"}.items():
        patch.setenv(name, value)


@pytest.fixture(name="template", scope="module")
def fixture_template(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with real months, and what a run makes of a new one; copied by each test, and never written to."""
    require_tool("gh")
    folder = tmp_path_factory.mktemp("template")
    work = folder / "work"
    shutil.copytree(trained, work, symlinks=True)
    # The same rows, which nobody calls synthetic.
    for path in (work / "data").iterdir():
        table = pq.read_table(path).replace_schema_metadata(None)
        path.unlink()
        pq.write_table(table, path)
    write_new(folder / "source", work)
    change_params(work, {"ingest": {"source": f"../source/{NAME}"}, "retrain": {"cooldown_days": 0}})
    run_python(work, "dvc", "add", "--quiet", "data")
    run_python(work, "lifecycle.reproduce")
    run_python(work, "dvc", "push", "--quiet")
    commit_all(work, "Bring real months")
    run_git(folder, "clone", "--quiet", "--bare", "work", "remote.git")
    run_git(work, "remote", "add", "origin", str(folder / "remote.git"))
    shutil.copytree(work, folder / "trainee", symlinks=True)
    with pytest.MonkeyPatch.context() as patch, serve_github(Repository(), folder) as environment:
        speak(patch, folder, environment)
        run_python(folder / "trainee", "lifecycle.retrain")
        run_python(folder / "trainee", "dvc", "push", "--quiet")
        run_python(folder / "trainee", "lifecycle.github.results", "pack")
    (folder / "trained").mkdir()
    for name in ("results.tar", "report.json"):
        shutil.copy(folder / "trainee/out" / name, folder / "trained")
    return folder


def write_new(source: Path, work: Path) -> None:
    """Write the next month into the source."""
    source.mkdir()
    code = (
        "import sys, pyarrow.parquet as pq; from parts.sample import generate_month; "
        "pq.write_table(generate_month('2025-04', 3000, 7), sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(work / "src")}
    subprocess.run([sys.executable, "-c", code, str(source / NEW)], env=environment, check=True)


@pytest.fixture(name="world")
def fixture_world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world of the test's own."""
    for name in ("work", "remote.git", "trained"):
        shutil.copytree(template / name, tmp_path / name, symlinks=True)
    world = World(tmp_path, Repository(remote=tmp_path / "remote.git"))
    shutil.copytree(template / "source", tmp_path / "source")
    run_git(world.work, "remote", "set-url", "origin", str(world.bare))
    with serve_github(world.github, tmp_path) as environment:
        speak(monkeypatch, tmp_path, environment)
        yield world


def test_new_month_becomes_one_labelled_pull_request_with_its_checks(world: World) -> None:
    said = world.propose().stdout

    (pull,) = world.github.pulls
    assert said == f"pull request 1: {pull['head']['ref']}\n"
    assert pull["head"]["ref"].startswith("retrain/")
    assert (pull["title"], pull["draft"]) == ("Retrain on the months up to 2025-04", False)
    assert pull["labels"] == [{"name": "retrain"}]
    assert pull["auto_merge"] is None
    assert pull["body"].splitlines()[0].startswith("✅ pass: ")
    assert "new: 2025-04" in pull["body"]
    assert "started by: drift" in pull["body"]
    assert [(run["workflow"], run["ref"]) for run in world.github.dispatches] == [
        (name, pull["head"]["ref"]) for name in CHECKS
    ]
    changed = run_git(world.bare, "diff", "--name-only", f"main...{pull['head']['ref']}").split()
    assert {"data.dvc", "dvc.lock", "out/metrics.json"} <= {*changed}
    assert {name.partition("/")[0] for name in changed} == {"data.dvc", "dvc.lock", "out", ".dvc"}


def test_same_month_twice_makes_no_second_pull_request_even_where_the_first_was_closed(world: World) -> None:
    world.propose()
    before = world.snapshot()
    proposed_again = world.propose().stdout
    world.github.pulls[0]["state"] = "closed"

    retrained_again = world.retrain().stdout

    assert proposed_again == "nothing to do: pull request 1 (open) is about the same data.\n"
    assert retrained_again == "nothing to do: pull request 1 (closed) is about the same data.\n"
    assert world.read_output() == ""
    assert world.snapshot() == before
    assert (len(world.github.pulls), len(world.github.dispatches)) == (1, 2)


def test_two_triggers_at_once_make_one_pull_request(world: World) -> None:
    folders = [world.check_out(name) for name in ("one", "two")]
    arguments = list_proposing(world.folder, world.folder / "trained/report.json")

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda folder: run_python(folder, *arguments, check=False), folders))
    said = [done.stdout + done.stderr for done in ended]

    assert len(world.github.pulls) == 1, said
    assert sum(line.startswith("pull request 1: ") for line in said) == 1, said
    assert all(text.count("\n") == 1 for text in said), said
    assert world.github.pulls[0]["head"]["ref"] in run_git(world.bare, "branch")


def test_source_without_a_new_month_is_one_line_and_no_failure(world: World) -> None:
    world.month.unlink()
    before = world.snapshot()

    done = world.retrain()

    assert (
        done.stdout == "nothing to do: the source has no month after 2025-03; the champion has seen all there is.\n"
    )
    assert world.snapshot() == before
    assert world.read_output() == ""


def test_broken_month_is_refused_with_its_reason_and_nothing_changes(world: World) -> None:
    world.month.write_bytes(world.month.read_bytes()[:1000])
    before = world.snapshot()

    done = world.retrain(check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ContractError: {NEW} (1,000 bytes) is no complete parquet file")
    assert world.read_output().startswith(f"reason={NEW} (1,000 bytes) is no complete")
    assert world.snapshot() == before
    assert not world.github.list_writes()


def test_training_that_fails_puts_data_and_results_back(world: World) -> None:
    # Known only when the stage runs.
    change_params(world.work, {"prepare": {"test_months": 9}})
    commit_all(world.work, "Ask for the impossible")
    before = world.snapshot()

    done = world.retrain(check=False)

    assert done.returncode == 1
    assert "reason=dvc repro" in world.read_output()
    assert world.snapshot() == before
    assert run_git(world.work, "status", "--porcelain") == ""


def test_synthetic_months_are_left_alone(workspace: Path, world: World) -> None:
    done = run_python(workspace, "lifecycle.retrain")

    assert done.stdout.startswith("nothing to do: data/ holds no real months yet; ")
    assert not world.github.list_writes()


def test_uncommitted_changes_are_misuse(world: World) -> None:
    change_params(world.work, {"train": {"penalty": 1.0}})

    done = world.retrain(check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("MisuseError: there are uncommitted changes")


def test_refused_challenger_becomes_a_draft_that_says_why(world: World) -> None:
    reason = "log_loss is 0.9; the limit is <b>0.6</b> @ada."

    world.propose(outcome="refuse", reasons=[reason])

    (pull,) = world.github.pulls
    assert pull["draft"]
    assert pull["body"].splitlines()[0].startswith("❌ refuse: log")
    assert "- refused: log_loss is 0.9; the limit is &#60;b>0.6" in pull["body"]
    assert "@ada" not in pull["body"]


def test_pull_request_on_older_data_is_closed(world: World) -> None:
    run_git(world.bare, "branch", "retrain/older", "main")
    world.propose()
    older = {**world.github.pulls[0], "number": 7, "head": {**world.github.pulls[0]["head"], "ref": "retrain/older"}}
    world.github.pulls[:] = [older]

    world.propose()

    assert [(pull["number"], pull["state"]) for pull in world.github.pulls] == [(7, "closed"), (8, "open")]
    assert world.github.comments[7][0]["body"] == "Pull request #8 has these months, and newer ones."


def test_branch_leaves_again_where_github_opens_no_pull_request(world: World) -> None:
    before = run_git(world.bare, "show-ref")
    # GitHub's own answer where Actions may open none.
    world.github.refusals["POST", "/pulls"] = (403, "GitHub Actions is not permitted to create pull requests")

    done = world.propose(check=False)

    assert done.returncode == 1
    assert "is not permitted to create pull requests" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run_git(world.bare, "show-ref") == before


@pytest.mark.parametrize(
    ("changes", "said"), [({"commit": "a" * 40}, "the report is of commit a"), ({"data_hash": "b" * 32}, "of data b")]
)
def test_report_of_something_else_is_refused(world: World, changes: dict[str, str], said: str) -> None:
    done = world.propose(check=False, **changes)

    assert done.returncode == 1
    assert said in done.stderr
    assert not world.github.list_writes()


def test_surely_better_challenger_merges_by_itself_where_the_policy_says_so(world: World) -> None:
    change_params(world.work, {"retrain": {"merge_margin": 0.05}})
    commit_all(world.work, "Let it merge")
    run_git(world.work, "push", "--quiet", "origin", "HEAD:main")
    world.github.settings["repository"] = {"allow_auto_merge": True}
    head = run_git(world.work, "rev-parse", "HEAD").strip()

    said = world.propose(commit=head, figures={"high": -0.06}).stdout

    assert "merges by itself" in said
    assert world.github.pulls[0]["auto_merge"] == {"merge_method": "squash"}


@pytest.mark.parametrize(
    ("outcome", "high", "margin", "better"),
    [
        ("pass", -0.06, 0.05, True),
        ("pass", -0.04, 0.05, False),
        ("pass", 0.0, 0.0, True),
        ("pass", -0.5, None, False),
        ("refuse", -0.5, 0.05, False),
        ("unchanged", None, 0.0, False),
    ],
)
def test_margin_is_held_against_the_intervals_worse_end(
    outcome: str, high: float | None, margin: float | None, better: bool
) -> None:
    report: Any = {"outcome": outcome, "figures": {} if high is None else {"high": high}}

    assert is_surely_better(report, margin) is better


@pytest.mark.parametrize(
    ("ages", "said"),
    [
        ([6.9], "the last pull request is too young; cooldown_days ends at 2025-06-20 14:24 UTC"),
        ([8, 12], "2 pull requests were opened this month; max_per_month allows no more"),
    ],
)
def test_pace_is_kept(ages: list[float], said: str) -> None:
    with pytest.raises(NothingToDoError, match=said):
        check_pace([NOW - timedelta(days=age) for age in ages], PARAMS, NOW)


@pytest.mark.parametrize("ages", [[], [7], [8, 21, 22, 23]])
def test_pace_allows_what_is_old_enough(ages: list[float]) -> None:
    check_pace([NOW - timedelta(days=age) for age in ages], PARAMS, NOW)

    assert find_horizon(PARAMS, NOW) == datetime(2025, 6, 1, tzinfo=UTC)


def test_cooldown_is_read_from_github(world: World) -> None:
    world.propose()
    change_params(world.work, {"retrain": {"cooldown_days": 7}})
    commit_all(world.work, "Slow down")

    assert world.retrain().stdout.startswith("nothing to do: the last pull request is too young; ")


def test_months_that_are_over_are_candidates() -> None:
    assert list(list_candidates("2025-03", NOW)) == ["2025-04", "2025-05"]
    assert not list(list_candidates("2025-05", NOW))
