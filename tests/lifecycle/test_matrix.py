"""Settings from the browser: planned, tried in jobs, compared in one table, and the best one proposed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_git, run_python
from test_artifact import make_facts
from test_report_page import make_unchanged

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError
from lifecycle.experiments.matrix import MOST_CHARACTERS, Matrix, plan_matrix
from lifecycle.experiments.settings import Plan
from lifecycle.experiments.tried import find_best, read_tried, write_tried
from lifecycle.github.experiment import find_plan, main, name_branch
from lifecycle.views.experiments_page import render_experiments, write_body, write_title
from rehearsal.github import Repository, serve_github
from tests.tools import require_tool

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


def rewrite(name: str, content: str) -> Any:
    """Make a change of a file."""
    return lambda folder: (folder / "good" / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
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


def test_name_that_was_not_planned_is_told() -> None:
    with pytest.raises(MisuseError, match="NAME is 'other'; expected one of: good"):
        find_plan(Matrix((PLANS["good"],), 0, ()), "other")


def test_branch_is_named_after_settings_and_commit() -> None:
    assert name_branch(PLANS["good"], COMMIT) == "experiment/good-bbbbbbb"


def test_folder_that_git_does_not_know_holds_what_jobs_hand_over() -> None:
    # Or the results would be packed as a change of the branch.
    assert run_git(ROOT, "check-ignore", "out/tried/a/report.json")


@dataclass(frozen=True)
class World:
    """What the jobs of a run find: the branch, its remote, GitHub, and what two of three experiments left."""

    folder: Path
    github: Repository

    def run(self, command: str, name: str = "", **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the command of a job in a checkout of its own."""
        work = self.folder / f"{command}-{len([*self.folder.iterdir()])}"
        run_git(self.folder, "clone", "--quiet", str(self.folder / "remote.git"), str(work))
        if (self.folder / "tried").exists():
            shutil.copytree(self.folder / "tried", work / "out/tried")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NAME", name)
            return run_python(work, "lifecycle.github.experiment", command, **options)

    def read(self, name: str) -> str:
        """Read one of the runner's files."""
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def worsen(tried: Path, name: str, other: str) -> None:
    """Make an experiment's results those of another one that is worse than the champion, within the tolerance."""
    shutil.copytree(tried / name, tried / other)
    report = json.loads((tried / other / "report.json").read_text(encoding="utf-8"))
    report["figures"] |= {"worse_by": 0.005, "low": -0.01, "high": 0.02}
    (tried / other / "report.json").write_text(json.dumps(report), encoding="utf-8")


@pytest.fixture(name="world", scope="module")
def fixture_world(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Try one of three settings; another one is made up to be worse, and the third has no result."""
    require_tool("gh")
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(trained, folder / "work", symlinks=True)
    run_git(folder, "clone", "--quiet", "--bare", "work", "remote.git")
    world = World(folder, Repository(remote=folder / "remote.git"))
    settings = "prepare.test_months=9; train.penalty=10.0,9000.0,1.0"
    with pytest.MonkeyPatch.context() as patch, serve_github(world.github, folder) as environment:
        output = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
        for name, value in {**environment, **output, "SETTINGS": settings, "OPEN": "true"}.items():
            patch.setenv(name, value)
        world.run("plan")
        world.run("try", "penalty-10.0")
        (work,) = folder.glob("try-*")
        (work / "out/tried").rename(folder / "tried")
        worsen(folder / "tried", "penalty-10.0", "penalty-9000.0")
        yield world


@pytest.mark.acceptance
def test_jobs_hand_over_names_and_results_and_the_best_becomes_one_pull_request(world: World) -> None:
    world.run("compare")
    said = world.run("propose", "penalty-10.0").stdout
    again = world.run("propose", "penalty-10.0", check=False)

    assert world.read("output").splitlines() == [
        'names=["test_months-9", "penalty-10.0", "penalty-9000.0"]',
        "best=penalty-10.0",
    ]
    summary = world.read("summary")
    assert summary.startswith("## 3 experiments, 1 failed\n")
    assert "Left out: 1 (`train.penalty=1.0`)" in summary
    pull = world.github.pulls[0]
    branch = pull["head"]["ref"]
    assert said == f"pull request {pull['number']}: {branch}\n"
    assert branch.startswith("experiment/penalty-10.0-")
    assert (pull["title"], pull["draft"], pull["labels"]) == (
        "Try train.penalty=10.0",
        False,
        [{"name": "experiment"}],
    )
    started = [(run["workflow"], run["ref"]) for run in world.github.dispatches]
    assert started == [("check.yml", branch), ("train.yml", branch)]
    changed = run_git(world.folder / "remote.git", "diff", "-U0", f"main...{branch}", "--", "params.yaml")
    assert changed.splitlines()[5:] == ["-  penalty: 5000.0", "+  penalty: 10.0"]
    assert again.stdout == f"nothing to do: pull request {pull['number']} (open) has these settings.\n"


@pytest.mark.acceptance
def test_one_that_is_no_better_becomes_a_draft(world: World) -> None:
    said = world.run("propose", "penalty-9000.0").stdout

    assert "(draft)" in said
    assert world.github.pulls[-1]["draft"]


@pytest.mark.acceptance
def test_one_that_failed_cannot_be_proposed(world: World) -> None:
    before = run_git(world.folder / "remote.git", "show-ref")

    done = world.run("propose", "test_months-9", check=False)

    assert done.returncode == 1
    assert done.stderr == ("RefusedError: test_months-9 cannot be proposed: it failed; its job says why\n")
    assert run_git(world.folder / "remote.git", "show-ref") == before
