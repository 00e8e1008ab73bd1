"""Months that came out at the source are trained on; everything else becomes one line, and changes nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import commit_all, run_here, run_python
from hosting import Hosted, host
from readings import NAME as READINGS
from readings import generate_month, write_month, write_params
from repositories import copy_repository, git

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.data.months import SAMPLE_MARK
from lifecycle.errors import ContractError
from lifecycle.github.client import Client
from lifecycle.github.proposal import name_branch
from lifecycle.params import RetrainParams, read_params
from lifecycle.repository import read_yaml_at
from lifecycle.retrain import (
    NothingToDoError,
    check_new,
    check_pace,
    fetch_new,
    find_horizon,
    find_newest,
    list_candidates,
)
from rehearsal.events import open_pull_request
from rehearsal.remote import change_params
from tests.tools import require_tool

NAME = "inspections_{month}.parquet"
# The newest month of tests/fork is 2025-03.
NEW = NAME.format(month="2025-04")
NOW = datetime(2025, 6, 20, 12, tzinfo=UTC)
PARAMS = RetrainParams(cooldown_days=7, max_per_month=2, merge_margin=None)
KEPT = ("data.dvc", "dvc.lock", "out/metrics.json", ".dvc/sample-store")


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


def test_months_that_are_over_are_candidates() -> None:
    assert list(list_candidates("2025-03", NOW)) == ["2025-04", "2025-05"]
    assert not list(list_candidates("2025-05", NOW))


@pytest.fixture(name="source")
def fixture_source(readings_folder: None, tmp_path: Path) -> Path:  # pylint: disable=unused-argument
    """A source without a month, for a working folder that holds two real ones until 2025-03."""
    write_params(tmp_path, {"ingest": {"source": f"{tmp_path}/source/{READINGS}"}})
    for month in ("2025-02", "2025-03"):
        write_month(tmp_path / "data", month)
    (tmp_path / "source").mkdir()
    (tmp_path / "incoming").mkdir()
    return tmp_path / "source"


def test_months_arrive_up_to_the_first_one_that_is_not_out(source: Path) -> None:
    for month in ("2025-03", "2025-04", "2025-06"):
        write_month(source, month)
    incoming = source.parent / "incoming"

    fetched = fetch_new(read_params(), datetime(2025, 8, 1, tzinfo=UTC), incoming)

    assert fetched == {"2025-04": incoming / READINGS.format(month="2025-04")}
    assert fetched["2025-04"].read_bytes() == (source / READINGS.format(month="2025-04")).read_bytes()


@pytest.mark.parametrize("now", [datetime(2025, 4, 30, tzinfo=UTC), NOW])
def test_source_without_a_new_month_gives_nothing_to_do(source: Path, now: datetime) -> None:
    with pytest.raises(NothingToDoError, match="^the source has no month after 2025-03; the champion has seen all "):
        fetch_new(read_params(), now, source.parent / "incoming")


def test_broken_month_is_refused_though_others_arrived(source: Path) -> None:
    write_month(source, "2025-04")
    path = write_month(source, "2025-05")
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(ContractError, match=r"2025-05.parquet \(100 bytes\) is no complete parquet file"):
        fetch_new(read_params(), NOW, source.parent / "incoming")

    assert len([*Path("data").iterdir()]) == 2


@pytest.mark.usefixtures("source")
def test_synthetic_months_are_left_alone() -> None:
    params = read_params()
    table = generate_month("2025-01", 40, 1).replace_schema_metadata({SAMPLE_MARK: b"yes"})
    pq.write_table(table, Path("data") / READINGS.format(month="2025-01"))

    with pytest.raises(
        NothingToDoError, match="^data/ holds no real months yet; bring the first ones in with: make "
    ):
        find_newest(params)
    shutil.rmtree("data")
    with pytest.raises(NothingToDoError, match="no real months yet"):
        find_newest(params)


@pytest.fixture(name="hosted")
def fixture_hosted(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hosted]:
    """A small repository, in whose clone a job works."""
    with host(monkeypatch, copy_repository(tmp_path_factory, tmp_path / "work")) as hosted:
        monkeypatch.chdir(hosted.work)
        yield hosted


def open_former(hosted: Hosted, **changes: str) -> None:
    """Let there be a pull request about the data of the working folder."""
    branch = name_branch(read_yaml_at(None, "data.dvc")["outs"][0]["md5"])
    hosted.github.pulls.append(open_pull_request(hosted.github.full_name, branch, "a" * 40, **changes))


def test_data_that_were_proposed_give_nothing_to_do_whatever_became_of_it(hosted: Hosted) -> None:
    client = Client(hosted.github.full_name)
    check_new(client)
    open_former(hosted, state="closed")

    with pytest.raises(NothingToDoError, match=r"^pull request 1 \(closed\) is about the same data\.$"):
        check_new(client)


def test_pull_request_that_is_too_young_is_one_line_and_no_failure(hosted: Hosted) -> None:
    opened = datetime.now(UTC).replace(microsecond=0)
    open_former(hosted, created_at=opened.isoformat())

    done = run_here(hosted.work, "lifecycle.retrain")

    ends = opened + timedelta(days=read_params().retrain.cooldown_days)
    said = f"the last pull request is too young; cooldown_days ends at {ends:%Y-%m-%d %H:%M} UTC."
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nothing to do: {said}\n", "")
    assert (hosted.read("summary"), hosted.read("output")) == (f"Nothing to do: {said}\n", "")
    assert git("status", "--porcelain") == ""


def test_reason_of_a_failure_reaches_the_job_that_tells_people(hosted: Hosted) -> None:
    hosted.github.refusals["GET", "/pulls"] = (403, "Resource not\naccessible")

    done = run_here(hosted.work, "lifecycle.retrain")

    assert done.returncode == 1
    assert hosted.read("output").startswith("reason=GitHub did not do GET repos/team/model/pulls: ")
    assert hosted.read("output").count("\n") == 1
    assert done.stderr == f"RefusedError: {hosted.read('output').removeprefix('reason=')}"


def test_uncommitted_changes_are_misuse_and_stay(hosted: Hosted) -> None:
    change_params(hosted.work, {"train": {"seed": 9}})

    done = run_here(hosted.work, "lifecycle.retrain")

    assert done.returncode == 2
    assert done.stderr.startswith("MisuseError: there are uncommitted changes, which a failed run could not put back")
    assert read_params().train.seed == 9
    assert not hosted.github.requests


@dataclass(frozen=True)
class World:
    """A hosted repository with real months, its source, and what was trained on the month that came out there."""

    folder: Path
    hosted: Hosted

    @property
    def month(self) -> Path:
        """The new month at the source."""
        return self.folder / "source" / NEW

    def retrain(self, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run the command of the first job."""
        return run_python(self.hosted.work, "lifecycle.retrain", check=check)

    def propose(self) -> "subprocess.CompletedProcess[str]":
        """Run the command of the second job on what was trained."""
        files = [str(self.folder / "trained" / name) for name in ("results.tar", "report.json")]
        return run_here(self.hosted.check_out(), "lifecycle.github.proposal", *files)

    def snapshot(self) -> dict[str, object]:
        """Read what a failed run must leave alone, and where the remote's branches are."""
        work = self.hosted.work
        paths = [path for name in KEPT for path in [work / name, *(work / name).rglob("*")]]
        read = {str(path): path.read_bytes() for path in [*paths, *(work / "data").iterdir()] if path.is_file()}
        return {**read, "branches": self.hosted.list_branches(), "changed": git("status", "--porcelain", cwd=work)}


@pytest.fixture(name="template", scope="module")
def fixture_template(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with real months, and what a run makes of a new one; copied by each test, and never written to."""
    require_tool("gh")
    folder = tmp_path_factory.mktemp("template")
    work, trainee = folder / "work", folder / "training/work"
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
    shutil.copytree(work, trainee, symlinks=True)
    shutil.copytree(folder / "source", trainee.parent / "source")
    with pytest.MonkeyPatch.context() as patch, host(patch, trainee):
        run_python(trainee, "lifecycle.retrain")
        run_python(trainee, "dvc", "push", "--quiet")
        run_python(trainee, "lifecycle.github.results", "pack")
    (folder / "trained").mkdir()
    for name in ("results.tar", "report.json"):
        shutil.copy(trainee / "out" / name, folder / "trained")
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
    for name in ("work", "source", "trained"):
        shutil.copytree(template / name, tmp_path / name, symlinks=True)
    with host(monkeypatch, tmp_path / "work", CAUSE="drift") as hosted:
        yield World(tmp_path, hosted)


@pytest.mark.acceptance
def test_new_month_becomes_one_pull_request_and_is_not_trained_on_again(world: World) -> None:
    said = world.propose().stdout
    (pull,) = world.hosted.github.pulls
    branch, before = pull["head"]["ref"], world.snapshot()
    pull["state"] = "closed"

    again = world.retrain().stdout

    assert said == f"pull request 1: {branch}\n"
    assert pull["title"] == "Retrain on the months up to 2025-04"
    assert pull["body"].splitlines()[0].startswith("✅ pass: ")
    assert "new: 2025-04" in pull["body"]
    changed = git("diff", "--name-only", f"main...{branch}", cwd=world.hosted.remote).split()
    assert {"data.dvc", "dvc.lock", "out/metrics.json"} <= {*changed}
    assert {name.partition("/")[0] for name in changed} == {"data.dvc", "dvc.lock", "out", ".dvc"}
    assert again == "nothing to do: pull request 1 (closed) is about the same data.\n"
    assert world.hosted.read("output") == ""
    assert world.snapshot() == before


@pytest.mark.acceptance
def test_broken_month_is_refused_with_its_reason_and_nothing_changes(world: World) -> None:
    world.month.write_bytes(world.month.read_bytes()[:1000])
    before = world.snapshot()

    done = world.retrain(check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ContractError: {NEW} (1,000 bytes) is no complete parquet file")
    assert world.hosted.read("output").startswith(f"reason={NEW} (1,000 bytes) is no complete")
    assert world.snapshot() == before
    assert not world.hosted.github.list_writes()


@pytest.mark.acceptance
def test_training_that_fails_puts_data_and_results_back(world: World) -> None:
    # Known only when the stage runs.
    change_params(world.hosted.work, {"prepare": {"test_months": 9}})
    world.hosted.push("Ask for the impossible")
    before = world.snapshot()

    done = world.retrain(check=False)

    assert done.returncode == 1
    assert world.hosted.read("output").startswith("reason=dvc repro")
    assert world.snapshot() == before
