"""The report of a finished run is posted on its own pull request and nowhere else, and a bad one not at all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_artifact import HEAD, REFUSED, change, make_facts, pack
from tools import require_tool

import rehearsal.cml
from lifecycle.errors import RefusedError, run
from lifecycle.github.client import Client
from lifecycle.github.comment import FORK, main
from rehearsal.github import Repository, serve_github

RUN, OTHER = 7, "c" * 40
SOURCE = Path(__file__).parents[2] / "src"
# Each refused at another step; the rest differ inside the archive alone.
CASES = (
    "a link, a large file, a large archive, a large file that tells less, a file more, another name, NaN, "
    "an unknown key, a missing key, a wrong type, a key twice, deep nesting, a hostile key"
).split(", ")
BRANCHES = [
    "$(touch x)",
    "`touch x`;'touch x'",
    'a "b" & c|d',
    "x&head=team:main&state=all",
    "{branch}",
    "#1?%2e%2e/..",
]


class Stage:
    """A GitHub, a training run that has finished there, and the command that posts its report."""

    def __init__(self, repository, folder, capfd):
        self.repository, self.folder, self.capfd = repository, folder, capfd
        self.event = {
            "id": RUN,
            "event": "pull_request",
            "head_sha": HEAD,
            "head_branch": "faster",
            "head_repository": {"owner": {"login": "team"}},
            "conclusion": "success",
            "html_url": "https://localhost/team/model/actions/runs/7",
        }

    def leave(self, archive, **others):
        """Let the run leave an artifact of the first model, and of others by name."""
        reports = {"first": archive, **others}
        self.repository.artifacts[RUN] = {"log": b"", **{f"report-{name}": what for name, what in reports.items()}}

    def open_pull(self, number, branch="faster", head=HEAD, owner="team", base="team/model"):
        """Open a pull request."""
        source = {"full_name": f"{owner}/model", "owner": {"login": owner}}
        self.repository.pulls.append(
            {
                "number": number,
                "state": "open",
                "head": {"sha": head, "ref": branch, "repo": source},
                "base": {"repo": {"full_name": base}},
            }
        )

    def post(self):
        """Run the command; return its exit code and all that it printed."""
        (self.folder / "event.json").write_text(json.dumps({"workflow_run": self.event}), encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            run(lambda _: main([]))
        printed = "".join(self.capfd.readouterr())
        assert os.environ["GH_ENTERPRISE_TOKEN"] not in printed
        assert printed.count("\n") == 1
        return ended.value.code, printed

    def list_comments(self):
        """List all comments as pull request and text."""
        return [(number, row["body"]) for number, rows in self.repository.comments.items() for row in rows]

    def read_calls(self):
        """Read how CML was called."""
        return [json.loads(line) for line in (self.folder / "cml.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(name="github", scope="module")
def fixture_github(tmp_path_factory):
    """A GitHub for all tests, and the environment in which it is found."""
    repository = Repository()
    with serve_github(repository, tmp_path_factory.mktemp("github")) as environment:
        yield repository, environment


@pytest.fixture(name="stage")
def fixture_stage(github, tmp_path, monkeypatch, capfd):
    """A run that left an honest report, and its open pull request beside another one."""
    require_tool("gh")
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GH_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "cml").write_text(
        f'#!/bin/sh\nexec {sys.executable} {rehearsal.cml.__file__} "$@"\n', encoding="utf-8"
    )
    (programs / "cml").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("CML_RECORD", str(tmp_path / "cml.jsonl"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("registry: {name: first}\n", encoding="utf-8")
    repository, environment = github
    vars(repository).update(vars(Repository()))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stage = Stage(repository, tmp_path, capfd)
    stage.leave(pack(make_facts()))
    stage.open_pull(41, branch="main", head=OTHER)
    stage.open_pull(42)
    return stage


def assert_refused(stage, said):
    """Hold that the command refuses in one line, and that GitHub saw nothing that would change it."""
    code, printed = stage.post()
    assert (code, stage.repository.list_writes()) == (1, [])
    assert printed.startswith("RefusedError: ")
    assert re.search(said, printed)
    assert not (stage.folder / "cml.jsonl").exists()


@pytest.mark.acceptance
def test_each_model_has_its_own_comment_and_check(stage):
    second = {**make_facts(), "model": "second", "outcome": "refuse"}
    stage.leave(pack(make_facts()), second=pack(second))

    assert stage.post()[0] == stage.post()[0] == 0

    (_, first), (_, other) = stage.list_comments()
    assert first.startswith("## ✅ first: pass")
    assert other.startswith("## ❌ second: refuse")
    assert [row["name"] for row in stage.repository.check_runs[:2]] == ["Model report", "Model report: second"]
    assert [row["conclusion"] for row in stage.repository.check_runs[:2]] == ["success", "failure"]


def test_nothing_is_posted_unless_every_report_is_one_and_of_its_own_model(stage):
    stage.leave(pack(make_facts()), second=pack("{}"))
    assert_refused(stage, "is missing")

    stage.leave(pack(make_facts()), second=pack({**make_facts(), "model": "third"}))
    assert_refused(stage, "is of the model third, and its artifact of second")

    stage.leave(pack(make_facts()), **{f"model-{number}": pack(make_facts()) for number in range(20)})
    assert_refused(stage, "reports of 21 models, expected at most 20")


def assert_nothing_posted(stage, said):
    """Hold that the command finds nothing to do, and does nothing."""
    code, printed = stage.post()
    assert (code, stage.repository.list_writes()) == (0, [])
    assert said in printed


def test_honest_report_is_posted_once_and_then_updated(stage):
    stage.repository.comments[42] = [{"id": 42000, "body": "Looks good!"}]

    assert stage.post() == (
        0,
        "pull request 42: commented; Model report success (pass: the challenger may replace the champion)\n",
    )
    stage.leave(pack({**make_facts(), "outcome": "refuse"}))
    assert stage.post()[0] == 0

    (_, other), (number, body) = stage.list_comments()
    assert (number, other) == (42, "Looks good!")
    assert body.startswith("## ❌ first: refuse: ")
    assert FORK not in body
    assert [request.method for request in stage.repository.list_writes()] == ["POST", "POST", "PATCH", "POST"]


def test_cml_is_called_so_that_it_uploads_nothing_and_tells_nobody(stage):
    stage.post()

    (call,) = stage.read_calls()
    assert call["arguments"] == [
        *("comment", "update", "--target=pr/42", "--publish=false", "--watermark-title=Model report"),
        "out/comment.md",
    ]
    assert {"ITERATIVE_DO_NOT_TRACK", "REPO_TOKEN", "GITHUB_SHA"} <= set(call["environment"])
    assert f"watermark.png#{HEAD} " in stage.list_comments()[0][1]
    assert os.environ["GH_ENTERPRISE_TOKEN"] not in (stage.folder / "out/comment.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("outcome", "lock", "conclusion", "title"),
    [
        ("pass", "fresh", "success", "pass: the challenger may replace the champion"),
        ("unchanged", None, "success", "unchanged: the model is the champion, byte for byte"),
        ("refuse", "fresh", "failure", "refuse: the challenger may not replace the champion"),
        ("pass", "stale", "failure", "pass: the challenger may replace the champion; dvc.lock is stale"),
        ("pass", "different", "failure", "pass: the challenger may replace the champion; dvc.lock is different"),
        (
            "refuse",
            "unavailable",
            "failure",
            "refuse: the challenger may not replace the champion; dvc.lock is unavailable",
        ),
    ],
)
def test_check_is_red_for_a_refused_model_and_for_a_lock_that_is_not_true(stage, outcome, lock, conclusion, title):
    facts = {**make_facts(), "outcome": outcome}
    stage.leave(pack(change(facts, ("lock", "state"), lock) if lock else {**facts, "lock": None}))

    assert stage.post()[0] == 0

    (check,) = stage.repository.check_runs
    output = check.pop("output")
    assert check == {
        "name": "Model report",
        "head_sha": HEAD,
        "status": "completed",
        "conclusion": conclusion,
        "details_url": stage.event["html_url"],
    }
    assert output["title"] == title
    assert output["summary"] == (stage.folder / "out/comment.md").read_text(encoding="utf-8").splitlines()[0]


def test_page_and_check_of_a_fork_say_who_measured(stage):
    stage.repository.pulls.clear()
    stage.open_pull(43, owner="stranger")
    stage.event["head_repository"]["owner"]["login"] = "stranger"

    assert stage.post()[0] == 0

    ((number, body),) = stage.list_comments()
    assert number == 43
    assert f"\n\n{FORK}\n" in body
    assert stage.repository.check_runs[0]["output"]["summary"].endswith(f"\n\n{FORK}")


@pytest.mark.parametrize("case", CASES)
def test_bad_artifact_is_refused_and_nothing_is_posted(stage, case):
    stage.leave(REFUSED[case][0])

    assert_refused(stage, REFUSED[case][1])


def test_large_artifact_is_not_downloaded(stage):
    stage.leave(REFUSED["a large archive"][0])

    assert_refused(stage, "the artifact has 1,000,001 bytes, expected at most 1,000,000.")
    assert not [request for request in stage.repository.requests if request.path.endswith("/zip")]


def test_download_ends_at_its_limit(stage):
    (stage.folder / "bin/gh").write_text("#!/bin/sh\nexec yes\n", encoding="utf-8")
    (stage.folder / "bin/gh").chmod(0o755)

    with pytest.raises(RefusedError, match="artifacts/700/zip has more than 1,000 bytes"):
        Client("team/model").download("actions", "artifacts", 700, "zip", most_bytes=1_000)


@pytest.mark.parametrize("commit", [OTHER, None])
def test_report_of_another_commit_is_refused(stage, commit):
    stage.leave(pack({**make_facts(), "commit": commit}))

    assert_refused(stage, f"the report is of commit {commit}, the run of {HEAD}")


def test_report_that_contradicts_itself_is_refused(stage):
    facts = change(make_facts(), ("metrics", 0, "base"), None)
    stage.leave(pack(change(facts, ("months", 1, "clean"), None)))

    assert_refused(stage, "the report's facts contradict each other")


def test_two_pull_requests_with_the_same_head_are_refused(stage):
    stage.open_pull(43)

    assert_refused(stage, r"is the head of 2 open pull requests \(42, 43\), expected one")


@pytest.mark.parametrize(
    "changes",
    [{"sha": OTHER}, {"ref": "slower"}, {"repo": {"full_name": "x/model", "owner": {"login": "x"}}}],
    ids=["head moved on", "another branch", "another repository"],
)
def test_pull_request_of_another_head_gets_nothing(stage, changes):
    stage.repository.pulls[1]["head"].update(changes)

    assert_nothing_posted(stage, f"no open pull request has the head {HEAD} of team/faster; nothing is posted.")


def test_pull_request_of_another_repository_or_closed_gets_nothing(stage):
    stage.repository.pulls[1]["state"] = "closed"
    stage.open_pull(43, base="upstream/model")

    assert_nothing_posted(stage, "no open pull request has the head")


@pytest.mark.parametrize("gone", ["artifact", "expired", "repository", "branch"])
def test_run_of_which_nothing_is_left_is_no_fault(stage, gone):
    if gone == "artifact":
        stage.repository.artifacts.clear()
    elif gone == "expired":
        stage.repository.expired.add(RUN)
    else:
        stage.event[f"head_{gone}"] = None

    assert_nothing_posted(stage, "nothing is posted.")


@pytest.mark.parametrize("branch", BRANCHES)
def test_branch_of_any_name_finds_its_own_pull_request(stage, branch):
    stage.open_pull(43, branch=branch)
    stage.event["head_branch"] = branch

    assert stage.post()[0] == 0

    assert [number for number, _ in stage.list_comments()] == [43]
    (asked,) = [request.query for request in stage.repository.requests if request.path.endswith("/pulls")]
    assert asked == {"state": "open", "head": f"team:{branch}", "per_page": "100"}
    assert not list(stage.folder.rglob("x"))


@pytest.mark.parametrize("branch", BRANCHES)
def test_branch_of_any_name_without_a_pull_request_finds_none(stage, branch):
    stage.event["head_branch"] = branch

    assert_nothing_posted(stage, "no open pull request has the head")
    assert not list(stage.folder.rglob("x"))


def test_fault_of_github_or_cml_is_told_in_one_line(stage, monkeypatch):
    stage.repository.comments[42] = [{"id": 1, "body": "x"}] * 2
    stage.leave(pack({**make_facts(), "notes": ["<" * 200] * 6}))
    monkeypatch.setenv("GITHUB_API_URL", f"{os.environ['GITHUB_API_URL']}/nowhere")
    code, printed = stage.post()
    assert code == 1
    assert "cml could not comment on pull request 42: cml? 501" in printed

    monkeypatch.setenv("GITHUB_REPOSITORY", "team/other")
    code, printed = stage.post()
    assert code == 1
    assert "GitHub did not do GET repos/team/other/actions/runs/7/artifacts: gh? Not Found (HTTP 404)" in printed
    assert not stage.repository.check_runs


def test_missing_cml_is_told_before_any_check_is_set(stage, monkeypatch):
    (stage.folder / "bin/cml").unlink()
    (stage.folder / "bin/gh").symlink_to(require_tool("gh"))
    monkeypatch.setenv("PATH", str(stage.folder / "bin"))

    code, printed = stage.post()

    assert (code, stage.repository.list_writes()) == (2, [])
    assert "cml is not installed; install it with: npm install --global @dvcorg/cml" in printed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"GITHUB_REPOSITORY": "model"}, "GITHUB_REPOSITORY is model, expected owner/name"),
        ({"GITHUB_EVENT_PATH": "nowhere"}, "holds no event of a finished workflow run (FileNotFoundError"),
        ({"GH_ENTERPRISE_TOKEN": ""}, "there is no token for GitHub; set GH_TOKEN"),
        ({"PATH": "/nowhere"}, "gh, GitHub's command line, is not installed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_misuse_is_told_in_one_line(stage, changes, said):
    (stage.folder / "event.json").write_text(json.dumps({"workflow_run": stage.event}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **changes}

    command = [sys.executable, "-m", "lifecycle.github.comment"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
