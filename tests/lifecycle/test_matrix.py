"""Settings from the browser: planned, tried in jobs, compared in one table, and the best one proposed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_git, run_here
from dvc.repo import Repo
from hosting import Hosted, host, pack_changes
from repositories import MODEL, REMOTE, copy_repository, git
from test_artifact import make_facts
from test_report_page import make_unchanged

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError
from lifecycle.experiments.matrix import MOST_CHARACTERS, Matrix, plan_matrix
from lifecycle.experiments.settings import Plan
from lifecycle.experiments.tried import find_best, read_tried, write_tried
from lifecycle.github.experiment import main, name_branch, pack_results
from lifecycle.repository import find_hash, read_lock
from lifecycle.views.experiments_page import render_experiments, write_body, write_title
from rehearsal.remote import change_params

COMMIT = "b" * 40
HUGE = ("train.seed", "train.depth", "sample.seed", "monitor.min_rows")
GRID = "train.rate=0.1,0.2 train.depth=4,5"


def list_said(plans: tuple[Plan, ...]) -> list[str]:
    """List what experiments set."""
    return [plan.said for plan in plans]


@pytest.mark.usefixtures("readings_folder")
def test_grid_is_cut_to_what_is_allowed_and_the_rest_is_told() -> None:
    matrix = plan_matrix(GRID, Path("params.yaml").read_bytes(), 3)

    assert list_said(matrix.plans) == [
        "train.rate=0.1 train.depth=4",
        "train.rate=0.1 train.depth=5",
        "train.rate=0.2 train.depth=4",
    ]
    assert (matrix.left_out, list_said(matrix.told)) == (1, ["train.rate=0.2 train.depth=5"])


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize("between", [";", "\n", " ;\n; "])
def test_list_is_tried_without_what_is_there_already_and_nothing_twice(between: str) -> None:
    # The rate is 0.5 in params.yaml.
    text = between.join(["train.rate=0.1,0.5", "train.rate=0.1", "train.seed=3"])

    matrix = plan_matrix(text, Path("params.yaml").read_bytes(), 3)

    assert [plan.name for plan in matrix.plans] == ["rate-0.1", "seed-3"]
    assert (matrix.left_out, matrix.told) == (0, ())


@pytest.mark.usefixtures("readings_folder")
def test_huge_grid_is_counted_and_not_walked_through() -> None:
    text = " ".join(f"{key}={','.join(map(str, range(1, 100)))}" for key in HUGE)

    matrix = plan_matrix(text, Path("params.yaml").read_bytes(), 8)

    assert len(matrix.plans) == 8
    assert matrix.left_out == 99**4 - 8


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to try: params.yaml says so already"),
        (" ; \n", "nothing to try"),
        ("train.rate=0.5", "nothing to try: params.yaml says train.rate=0.5 already"),
        ("train.rate=0.1; train.raet=0.1", "train.raet is unknown"),
        ("train.rate=fast", "train.rate is 'fast'; expected"),
        ("train.seed=1$(touch /tmp/obeyed)", "expected"),
        ("x" * (MOST_CHARACTERS + 1), "characters; expected at most"),
    ],
)
def test_text_of_which_nothing_can_be_tried_is_told(text: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        plan_matrix(text, Path("params.yaml").read_bytes(), 8)


@pytest.mark.usefixtures("readings_folder")
def test_text_that_cannot_be_tried_is_told_on_the_runs_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("SETTINGS", "train.<b>=@ada")

    with pytest.raises(MisuseError):
        main(["plan"])

    said = (tmp_path / "summary").read_text(encoding="utf-8")
    assert said.startswith("Nothing was tried: train.&#60;b>&#61;")
    assert "@ada" not in said


@pytest.mark.usefixtures("readings_folder")
def test_names_are_handed_over_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("SETTINGS", f"{GRID}\ntrain.seed=9")

    main(["plan"])

    written = (tmp_path / "output").read_text(encoding="utf-8")
    assert json.loads(written.removeprefix("names=")) == ["rate-0.1-depth-4", "rate-0.1-depth-5", "rate-0.2-depth-4"]
    assert written.count("\n") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("left out: 2 more; experiment.max_jobs")


@pytest.mark.usefixtures("readings_folder")
def test_plan_says_what_each_experiment_sets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SETTINGS", "train.rate=0.1,0.2 train.depth=4")

    main(["plan"])

    said = capsys.readouterr().out
    assert said == "rate-0.1-depth-4: train.rate=0.1 train.depth=4\nrate-0.2-depth-4: train.rate=0.2 train.depth=4\n"


def make_report(outcome: str, worse_by: float) -> dict[str, Any]:
    """Make up the report of an experiment, whose champion has 2.0."""
    report = make_facts()
    if outcome == "unchanged":
        return make_unchanged(report)
    reasons = ["mean_absolute_error day <b>Sunday</b> @ada."] if outcome == "refuse" else []
    figures = {"champion": 2.0, "challenger": 2.0 * (1 + worse_by), "worse_by": worse_by}
    bounds = {"low": worse_by - 0.01, "high": worse_by + 0.01}
    return {**report, "outcome": outcome, "reasons": reasons, "figures": figures | bounds}


PLANS = {name: Plan(name, {"train.seed": name}) for name in ("worse", "bad", "same", "refused", "good")}
REPORTS = {
    "worse": make_report("pass", 0.005),
    "same": make_report("unchanged", 0.0),
    "refused": make_report("refuse", -0.2),
    "good": make_report("pass", -0.1),
}


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """What four experiments left; the fifth failed."""
    for name, report in REPORTS.items():
        write_tried(tmp_path / name, report, 12.34, ["train"])  # type: ignore[arg-type]
    return tmp_path


def test_best_is_first_and_a_failed_one_last(folder: Path) -> None:
    tried = read_tried(folder, PLANS.values(), COMMIT)

    assert [one.plan.name for one in tried] == ["refused", "good", "same", "worse", "bad"]
    best = find_best(tried)
    assert best
    assert best.plan.name == "good"
    assert [one.plan.name for one in tried if one.is_better] == ["good"]


def test_best_of_refused_ones_is_the_first_and_of_none_is_none(folder: Path) -> None:
    tried = {one.plan.name: one for one in read_tried(folder, PLANS.values(), COMMIT)}

    assert find_best([tried["refused"], tried["bad"]]) == tried["refused"]
    assert find_best([tried["same"], tried["bad"]]) is None


def break_link(folder: Path) -> None:
    """Put a link in the place of a report."""
    (folder / "good/report.json").rename(folder / "elsewhere")
    (folder / "good/report.json").symlink_to(folder / "elsewhere")


def break_folder(folder: Path) -> None:
    """Put a link in the place of an experiment's folder."""
    (folder / "good").rename(folder / "elsewhere")
    (folder / "good").symlink_to(folder / "elsewhere")


def rewrite(name: str, content: str) -> Any:
    """Make a change of a file."""
    return lambda folder: (folder / "good" / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (break_folder, "its folder is a link"),
        (break_link, "report.json is missing, or no regular file"),
        (lambda folder: (folder / "good/run.json").unlink(), "run.json is missing"),
        (rewrite("run.json", '{"seconds": -1, "ran": []}'), "run.json is refused: seconds is -1"),
        (rewrite("run.json", '{"seconds": 1, "ran": [], "html": ""}'), "html is unknown"),
        (rewrite("report.json", "{}"), "report.json is refused: "),
        (rewrite("report.json", " " * 1_000_001), "more than 1,000,000 bytes"),
        (rewrite("report.json", json.dumps(REPORTS["good"] | {"commit": "c" * 40})), "its report is of commit cccc"),
    ],
)
def test_broken_result_is_its_own_experiments_fault_alone(folder: Path, change: Any, said: str) -> None:
    change(folder)

    tried = {one.plan.name: one for one in read_tried(folder, PLANS.values(), COMMIT)}

    assert said in tried["good"].fault
    assert sum(one.report is not None for one in tried.values()) == 3


def test_table_shows_all_beside_the_champion_and_no_text_leaves_its_place(folder: Path) -> None:
    matrix = Matrix((*PLANS.values(),), 7, (Plan("more", {"train.seed": 9}),))

    page = render_experiments(read_tried(folder, PLANS.values(), COMMIT), matrix, 5)

    assert page.startswith("## 5 experiments, 1 failed\n")
    rows = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1].strip() for row in rows] == [
        '`train.seed="refused"`',
        '`train.seed="good"`',
        "**champion**",
        '`train.seed="same"`',
        '`train.seed="worse"`',
        '`train.seed="bad"`',
    ]
    assert "| 10 % better (9 % to 11 %) | ✅ pass | 12 s: train |" in rows[1]
    assert "0.5 % worse (0.5 % better to 1.5 % worse)" in rows[4]
    assert rows[5].count("failed") == 1
    assert "it failed; its job says why" in page
    assert "Left out: 7 (`train.seed=9` and others); `experiment.max_jobs` of params.yaml allows 5." in page
    assert "<b>" not in page
    assert "@ada" not in page


def test_page_without_a_result_says_so(tmp_path: Path) -> None:
    page = render_experiments(read_tried(tmp_path, PLANS.values(), COMMIT), Matrix((), 0, ()), 5)

    assert "## 5 experiments, 5 failed\n\nNone came to its end" in page


def test_pull_request_says_what_it_sets_and_what_it_gains(folder: Path) -> None:
    (one,) = read_tried(folder, [PLANS["good"]], COMMIT)

    body = write_body(one.plan, one.report, 4) if one.report else one.fault

    assert body.splitlines()[0].endswith("against the champion: 10 % better (9 % to 11 %)")
    assert '- sets: `train.seed="good"`\n- the best of 4' in body
    assert write_title(PLANS["good"]) == 'Try train.seed="good"'
    assert len(write_title(Plan("long", {f"train.key_{n}": n for n in range(9)}))) == 72


def test_branch_is_named_after_settings_and_commit() -> None:
    assert name_branch(PLANS["good"], COMMIT) == "experiment/good-bbbbbbb"


def test_folder_that_git_does_not_know_holds_what_jobs_hand_over() -> None:
    # Or the results would be packed as a change of the branch.
    assert run_git(ROOT, "check-ignore", "out/tried/a/report.json")


@dataclass(frozen=True)
class Jobs:
    """The jobs of a run, each in a checkout of its own, and what those before left in ``tried``."""

    hosted: Hosted
    tried: Path

    def run(self, command: str, name: str = "") -> "subprocess.CompletedProcess[str]":
        """Run the command of a job."""
        folder = self.hosted.check_out()
        if self.tried.exists():
            shutil.copytree(self.tried, folder / "out/tried")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NAME", name)
            return run_here(folder, "lifecycle.github.experiment", command)

    def leave(self, name: str, report: dict[str, Any]) -> None:
        """Leave what an experiment would that made another model."""
        report |= {"commit": git("rev-parse", "HEAD", cwd=self.hosted.work)}
        write_tried(self.tried / name, report, 12.34, ["train"])  # type: ignore[arg-type]
        pack_changes(self.hosted.work, self.tried / name / "results.tar", {"out/metrics.json": f'{{"{name}": 1}}\n'})


@pytest.fixture(name="jobs")
def fixture_jobs(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Jobs]:
    """Jobs for three settings in a small repository, none of which has left anything yet."""
    work = copy_repository(tmp_path_factory, tmp_path / "work")
    with host(monkeypatch, work, SETTINGS="train.seed=2,3,4") as hosted:
        yield Jobs(hosted, tmp_path / "tried")


def test_best_of_all_is_handed_over_beside_the_table(jobs: Jobs) -> None:
    jobs.leave("seed-2", make_report("pass", 0.005))
    jobs.leave("seed-3", make_report("pass", -0.1))

    done = jobs.run("compare")

    assert (done.returncode, done.stderr) == (0, "")
    assert jobs.hosted.read("output") == "best=seed-3\n"
    assert jobs.hosted.read("summary").startswith("## 3 experiments, 1 failed\n")
    assert done.stdout == f"{jobs.hosted.read('summary')}\n"


def test_experiments_that_made_no_other_model_have_no_best_one(jobs: Jobs) -> None:
    jobs.leave("seed-2", make_report("unchanged", 0.0))

    done = jobs.run("compare")

    assert (done.returncode, jobs.hosted.read("output")) == (0, "")


def test_run_of_which_nothing_came_to_its_end_is_refused_and_its_page_says_so(jobs: Jobs) -> None:
    done = jobs.run("compare")

    assert done.returncode == 1
    assert done.stderr == "RefusedError: no experiment came to its end; each one's job says why.\n"
    assert jobs.hosted.read("summary").startswith("## 3 experiments, 3 failed\n\nNone came to its end")
    assert jobs.hosted.read("output") == ""


def test_best_one_becomes_one_pull_request_with_its_settings_results_and_checks(jobs: Jobs) -> None:
    jobs.leave("seed-2", make_report("pass", -0.1))

    done, again = jobs.run("propose", "seed-2"), jobs.run("propose", "seed-2")

    hosted = jobs.hosted
    (pull,) = hosted.github.pulls
    branch = pull["head"]["ref"]
    assert branch == name_branch(Plan("seed-2", {}), git("rev-parse", "main", cwd=hosted.remote))
    assert (done.stdout, done.stderr) == (f"pull request 1: {branch}\n", "")
    assert again.stdout == "nothing to do: pull request 1 (open) has these settings.\n"
    assert (pull["title"], pull["draft"]) == ("Try train.seed=2", False)
    assert pull["labels"] == [{"name": "experiment"}]
    assert hosted.list_started() == [("check.yml", branch), ("train.yml", branch)]
    changed = git("diff", "-U0", f"main...{branch}", "--", "params.yaml", cwd=hosted.remote)
    assert changed.splitlines()[5:] == ["-  seed: 1", "+  seed: 2"]
    assert git("show", f"{branch}:out/metrics.json", cwd=hosted.remote) == '{"seed-2": 1}'


def test_one_that_is_no_better_becomes_a_draft(jobs: Jobs) -> None:
    jobs.leave("seed-2", make_report("pass", 0.005))

    done = jobs.run("propose", "seed-2")

    (pull,) = jobs.hosted.github.pulls
    assert done.stdout == f"pull request 1 (draft): {pull['head']['ref']}\n"
    assert pull["draft"]


UNPLANNED = "MisuseError: NAME is 'seed-9'; expected one of: seed-2, seed-3, seed-4\n"


@pytest.mark.parametrize(
    ("command", "name", "code", "said"),
    [
        ("propose", "seed-4", 1, "RefusedError: seed-4 cannot be proposed: it failed; its job says why\n"),
        ("propose", "seed-9", 2, UNPLANNED),
        ("try", "seed-9", 2, UNPLANNED),
    ],
)
def test_one_that_failed_or_was_not_planned_is_refused(
    jobs: Jobs, command: str, name: str, code: int, said: str
) -> None:
    before = jobs.hosted.list_branches()

    done = jobs.run(command, name)

    assert (done.returncode, done.stderr) == (code, said)
    assert jobs.hosted.list_branches() == before
    assert not jobs.hosted.github.requests


def test_results_hold_the_models_bytes_where_these_are_pushed(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    work = jobs.hosted.work
    monkeypatch.chdir(work)
    change_params(work, {"train": {"seed": 2}})
    with Repo() as repo:
        repo.reproduce(targets=["train"])
    model = find_hash(read_lock(None), MODEL) or ""

    kept = pack_results(work.parent / "kept.tar", push=False)
    pushed = pack_results(work.parent / "pushed.tar", push=True)

    assert kept == ["dvc.lock"]
    assert {*pushed} - {*kept} == {f"{REMOTE}/files/md5/{model[:2]}/{model[2:]}"}


@pytest.mark.acceptance
def test_jobs_hand_over_names_and_results_and_the_best_becomes_a_pull_request(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For DVC and the stages that a job starts.
    variables = {"PYTHONPATH": str(workspace / "src"), "OPEN": "true"}
    name, settings = "penalty-10.0", "prepare.test_months=9; train.penalty=10.0,1.0"

    with host(monkeypatch, workspace, SETTINGS=settings, **variables) as hosted:
        jobs = Jobs(hosted, workspace.parent / "tried")
        jobs.run("plan")
        jobs.run("try", name)
        (left,) = workspace.parent.glob("job-*/out/tried")
        left.rename(jobs.tried)
        jobs.run("compare")
        said = jobs.run("propose", name).stdout

    assert hosted.read("output").splitlines() == [f'names=["test_months-9", "{name}", "penalty-1.0"]', f"best={name}"]
    assert hosted.read("summary").startswith("## 3 experiments, 2 failed\n")
    (pull,) = hosted.github.pulls
    branch = pull["head"]["ref"]
    assert said == f"pull request 1: {branch}\n"
    changed = git("diff", "--name-only", f"main...{branch}", cwd=hosted.remote).split()
    assert {"dvc.lock", "out/metrics.json", "params.yaml"} <= {*changed}
    assert any(path.startswith(f"{REMOTE}/files/") for path in changed)
