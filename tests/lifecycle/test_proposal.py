"""A retrained model becomes one labelled pull request for its data; anything else leaves the remote as it was."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run_here, run_python
from hosting import Hosted, host, pack_changes
from repositories import copy_repository, git
from test_artifact import make_facts
from test_report_page import make_month

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import RefusedError
from lifecycle.github.client import Client
from lifecycle.github.proposal import is_surely_better, list_dates, name_branch, open_pull
from rehearsal.events import open_pull_request
from rehearsal.remote import change_params

DATA_HASH = f"{'d' * 32}.dir"
BRANCH = "retrain/dddddddddddd"
COMMAND = "lifecycle.github.proposal"
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Trained:
    """What a job trained, beside the repository that it is proposed to."""

    hosted: Hosted
    archive: Path

    def write_report(self, **changes: Any) -> Path:
        """Write the report of what was trained, with some of its fields changed."""
        months = [make_month("2024-02", 100, 100), make_month("2024-03", 100, None)]
        made = {"commit": git("rev-parse", "HEAD", cwd=self.hosted.work), "data_hash": DATA_HASH, "months": months}
        path = self.archive.with_name("report.json")
        report = {**make_facts(), "model": None, "reasons": [], **made, **changes}
        path.write_text(json.dumps(report), encoding="utf-8")
        return path

    def propose(self, **changes: Any) -> Done:
        """Run the command of the job that may push, in a checkout of its own."""
        report = self.write_report(**changes)
        return run_here(self.hosted.check_out(), COMMAND, str(self.archive), str(report))


def pack_training(work: Path, archive: Path, data_hash: str = DATA_HASH) -> Path:
    """Pack what a training on other data changes."""
    former = yaml.safe_load((work / "data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    named = {name: (work / name).read_text(encoding="utf-8") for name in ("data.dvc", "dvc.lock")}
    changes = {name: text.replace(former, data_hash) for name, text in named.items()}
    return pack_changes(work, archive, {**changes, "out/metrics.json": '{"some_error": {"value": 0.5}}\n'})


@pytest.fixture(name="hosted")
def fixture_hosted(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hosted]:
    """A small repository with its remote and its GitHub."""
    with host(monkeypatch, copy_repository(tmp_path_factory, tmp_path / "work"), CAUSE="drift") as hosted:
        yield hosted


@pytest.fixture(name="trained_there")
def fixture_trained_there(hosted: Hosted, tmp_path: Path) -> Trained:
    """A model that was trained on new data."""
    return Trained(hosted, pack_training(hosted.work, tmp_path / "results.tar"))


def open_former(hosted: Hosted, branch: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    """Let there be a pull request already."""
    pull = open_pull_request(hosted.github.full_name, branch, "a" * 40, number=number, **changes)
    hosted.github.pulls.append(pull)
    return pull


def test_new_data_become_one_labelled_pull_request_with_its_checks(trained_there: Trained) -> None:
    hosted = trained_there.hosted

    done = trained_there.propose()

    assert (done.returncode, done.stdout, done.stderr) == (0, f"pull request 1: {BRANCH}\n", "")
    (pull,) = hosted.github.pulls
    assert (pull["head"]["ref"], pull["base"]["ref"], pull["draft"]) == (BRANCH, "main", False)
    assert pull["title"] == "Retrain on the months up to 2024-03"
    assert (pull["labels"], pull["auto_merge"]) == ([{"name": "retrain"}], None)
    assert pull["body"].splitlines()[0].startswith("✅ pass: ")
    assert "- months: 2024-02 to 2024-03; new: 2024-03\n" in pull["body"]
    assert pull["body"].endswith("- started by: drift")
    assert hosted.list_started() == [("check.yml", BRANCH), ("train.yml", BRANCH)]
    changed = git("diff", "--name-only", f"main...{BRANCH}", cwd=hosted.remote).split()
    assert changed == ["data.dvc", "dvc.lock", "out/metrics.json"]
    said = git("show", "--no-patch", "--format=%an: %s", BRANCH, cwd=hosted.remote)
    assert said == "github-actions[bot]: Retrain on the months up to 2024-03"


@pytest.mark.parametrize("state", ["open", "closed"])
def test_same_data_are_proposed_once_whatever_became_of_it(state: str, trained_there: Trained) -> None:
    hosted = trained_there.hosted
    open_former(hosted, BRANCH, state=state)
    before = hosted.list_branches()

    done = trained_there.propose()

    assert done.stdout == f"nothing to do: pull request 1 ({state}) is about the same data.\n"
    assert hosted.list_branches() == before
    assert not hosted.github.list_writes()


def test_refused_challenger_becomes_a_draft_that_says_why(trained_there: Trained) -> None:
    reason = "log_loss is 0.9; the limit is <b>0.6</b> @ada."

    done = trained_there.propose(outcome="refuse", reasons=[reason])

    assert done.stdout == f"pull request 1 (draft): {BRANCH}\n"
    (pull,) = trained_there.hosted.github.pulls
    assert pull["draft"]
    assert pull["body"].splitlines()[0].startswith("❌ refuse: log")
    assert "- refused: log_loss is 0.9; the limit is &#60;b>0.6" in pull["body"]
    assert "@ada" not in pull["body"]


def test_proposals_on_older_data_are_closed_however_many_pull_requests_came_since(trained_there: Trained) -> None:
    hosted = trained_there.hosted
    former = open_former(hosted, "retrain/older")
    other = open_former(hosted, "retrain/older", 2, fork="stranger/model")
    for number in range(3, 103):
        open_former(hosted, f"change-{number}", number)

    trained_there.propose()

    assert hosted.github.pulls[-1]["number"] == 103
    assert [pull for pull in hosted.github.pulls if pull["state"] == "closed"] == [former]
    assert hosted.github.comments == {
        1: [{"id": 1000, "body": "Pull request #103 has these months, and newer ones."}]
    }
    assert other["state"] == "open"


def test_dates_are_listed_back_to_a_time(hosted: Hosted) -> None:
    # As many as GitHub gives at once, so that whether there are more is asked for.
    for number, month in enumerate(["2024-01", "2024-02", "2024-03"], 98):
        open_former(hosted, f"retrain/{number}", number, created_at=f"{month}-05T10:00:00Z", state="closed")
    for number in range(1, 98):
        open_former(hosted, f"change-{number}", number)
    client = Client(hosted.github.full_name)
    march, february, january = (datetime(2024, month, 5, 10, tzinfo=UTC) for month in (3, 2, 1))

    assert list_dates(client, datetime(2024, 2, 1, tzinfo=UTC)) == [march, february]
    assert list_dates(client, datetime(2023, 1, 1, tzinfo=UTC)) == [march, february, january]
    assert [request.query["page"] for request in hosted.github.requests] == ["1", "1", "2"]


def test_branch_leaves_again_where_github_opens_no_pull_request(trained_there: Trained) -> None:
    hosted = trained_there.hosted
    before = hosted.list_branches()
    # GitHub's own answer where Actions may open none.
    hosted.github.refusals["POST", "/pulls"] = (403, "GitHub Actions is not permitted to create pull requests")

    done = trained_there.propose()

    assert done.returncode == 1
    assert "is not permitted to create pull requests" in done.stderr
    assert done.stderr.count("\n") == 1
    assert hosted.list_branches() == before
    assert hosted.list_started() == []


def test_run_that_comes_second_leaves_the_pull_request_of_the_first(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(hosted.github.full_name)
    first, second = hosted.check_out(), hosted.check_out()
    for folder in (first, second):
        (folder / "dvc.lock").write_text(folder.name, encoding="utf-8")
    monkeypatch.chdir(first)
    open_pull(client, BRANCH, "first", "", ["dvc.lock"], draft=False)
    monkeypatch.chdir(second)

    # It has found that there was none yet.
    with pytest.raises(RefusedError, match="Validation Failed"):
        open_pull(client, BRANCH, "second", "", ["dvc.lock"], draft=False)

    assert [pull["title"] for pull in hosted.github.pulls] == ["first"]
    assert any(line.endswith(f"refs/heads/{BRANCH}") for line in hosted.list_branches())


@pytest.mark.acceptance
def test_two_triggers_at_once_make_one_pull_request(trained_there: Trained) -> None:
    hosted = trained_there.hosted
    arguments = [COMMAND, str(trained_there.archive), str(trained_there.write_report())]
    folders = [hosted.check_out() for _ in range(2)]

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda folder: run_python(folder, *arguments, check=False), folders))
    said = [done.stdout + done.stderr for done in ended]

    assert len(hosted.github.pulls) == 1, said
    assert sum(line.startswith("pull request 1: ") for line in said) == 1, said
    assert all(text.count("\n") == 1 for text in said), said
    assert any(line.endswith(f"refs/heads/{BRANCH}") for line in hosted.list_branches())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"commit": "a" * 40}, "the report is of commit a"),
        ({"data_hash": "b" * 32}, f"the report is of data {'b' * 32}, and this is {DATA_HASH}; nothing is proposed."),
        ({"html": "<b>"}, "html is unknown"),
    ],
)
def test_report_of_something_else_is_refused(trained_there: Trained, changes: dict[str, str], said: str) -> None:
    before = trained_there.hosted.list_branches()

    done = trained_there.propose(**changes)

    assert done.returncode == 1
    assert said in done.stderr
    assert trained_there.hosted.list_branches() == before
    assert not trained_there.hosted.github.requests


def test_data_without_a_folders_hash_are_refused(hosted: Hosted, tmp_path: Path) -> None:
    before = hosted.list_branches()
    trained = Trained(hosted, pack_training(hosted.work, tmp_path / "results.tar", "../elsewhere"))

    done = trained.propose()

    assert done.returncode == 1
    assert done.stderr == "RefusedError: data.dvc names no folder's hash; expected what dvc add writes.\n"
    assert hosted.list_branches() == before
    assert not hosted.github.requests


def test_surely_better_challenger_merges_by_itself_where_the_policy_says_so(trained_there: Trained) -> None:
    hosted = trained_there.hosted
    change_params(hosted.work, {"retrain": {"merge_margin": 0.05}})
    hosted.push("Let it merge")
    hosted.github.settings["repository"] = {"allow_auto_merge": True}

    done = trained_there.propose(figures={"high": -0.06})

    assert done.stdout == f"pull request 1 merges by itself when its checks have passed: {BRANCH}\n"
    assert hosted.github.pulls[0]["auto_merge"] == {"merge_method": "squash"}


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


def test_branch_is_named_after_the_data() -> None:
    assert name_branch(DATA_HASH) == BRANCH
