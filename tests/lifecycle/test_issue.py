"""One issue about the model in production: updated, not multiplied."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosting import use_github

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.issue import main
from rehearsal.github import Repository


@pytest.fixture(name="github")
def fixture_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A GitHub, and the environment of a job."""
    run = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "9"}
    with use_github(monkeypatch, tmp_path, **run) as repository:
        yield repository


def show(folder: Path, verdict: str, *reasons: str, **more: Any) -> None:
    """Show a monitor's report."""
    path = folder / "monitor.json"
    path.write_text(json.dumps({"verdict": verdict, "reasons": reasons, **more}), encoding="utf-8")
    main(["show", str(path)])


def test_report_updates_the_one_issue(github: Repository, tmp_path: Path) -> None:
    # For GitHub a pull request is an issue as well.
    github.pulls.append({"number": 4, "state": "open", "labels": [{"name": "monitor"}]})

    show(tmp_path, "stale", "no label since Monday")
    show(tmp_path, "ok", rows=7)

    (issue,) = github.issues
    assert (issue["number"], issue["title"], issue["labels"]) == (5, "Model monitor", [{"name": "monitor"}])
    assert issue["body"].startswith("## ok\n")
    assert "https://github.com/team/model/actions/runs/9" in issue["body"]
    assert not github.dispatches


@pytest.mark.parametrize("verdict", ["drift", "degraded"])
def test_drift_and_degradation_start_retraining(
    github: Repository, tmp_path: Path, verdict: str, capsys: Any
) -> None:
    show(tmp_path, verdict, "size moved by <script> @ada")

    assert github.dispatches == [{"workflow": "retrain.yml", "ref": "main", "inputs": {"cause": verdict}}]
    assert "- size moved by &#60;script>" in github.issues[0]["body"]
    assert "@ada" not in github.issues[0]["body"]
    assert capsys.readouterr().out == f"issue 1: {verdict}; started retrain.yml\n"


@pytest.mark.parametrize(("verdict", "state"), [("ok", "closed"), ("stale", "open")])
def test_closed_issue_opens_again_on_trouble_alone(
    github: Repository, tmp_path: Path, verdict: str, state: str
) -> None:
    show(tmp_path, "ok")
    github.issues[0]["state"] = "closed"

    show(tmp_path, verdict)

    assert [issue["state"] for issue in github.issues] == [state]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "monitor.json is refused: it is no JSON: "),
        ('{"verdict": "fine", "reasons": []}', "monitor.json is refused: verdict is fine; expected: "),
        ('{"verdict": "ok", "reasons": [1]}', "monitor.json is refused: reasons.0 is 1; expected: "),
        ('{"verdict": "ok"}', "monitor.json is refused: reasons is missing"),
        (" " * 1_000_001, "it has more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_report_is_refused_and_nothing_is_written(
    github: Repository, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "monitor.json").write_text(content, encoding="utf-8")

    with pytest.raises(RefusedError, match=said):
        main(["show", str(tmp_path / "monitor.json")])
    assert not github.requests


def test_missing_report_is_misuse(github: Repository, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"monitor\.json is missing"):
        main(["show", str(tmp_path / "monitor.json")])
    assert not github.requests


def test_trouble_is_told_once(github: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in ("month *A* is broken", "month *A* is broken", "month B is broken"):
        monkeypatch.setenv("REASON", reason)
        main(["tell"])

    (issue,) = github.issues
    said = [comment["body"].partition("\n")[0] for comment in github.comments[issue["number"]]]
    assert said == [
        "Retraining failed: month &#42;A&#42; is broken",
        "Retraining failed: month B is broken",
    ]


def test_trouble_opens_a_closed_issue(github: Repository, tmp_path: Path) -> None:
    show(tmp_path, "ok")
    github.issues[0]["state"] = "closed"

    main(["tell"])

    assert github.issues[0]["state"] == "open"
    assert github.comments[1][0]["body"].startswith("Retraining failed: see its log")
