"""Post the reports of a finished training run on its pull request: for each model a comment and a check.

The run may have executed a stranger's code, so its artifacts are data: they are checked, the pages are written here,
and which pull request they belong to is GitHub's word alone.
"""

import argparse
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.comparison.lock import FRESH
from lifecycle.comparison.verdict import PASS, REFUSE, UNCHANGED
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.folders import read_name
from lifecycle.github.artifact import MOST_BYTES, read_report
from lifecycle.github.client import Client, find_token, open_client, show_fault, show_text
from lifecycle.paths import OUT, find_top
from lifecycle.views.report_facts import Report
from lifecycle.views.report_page import render_report

# The name of a model's artifact.
ARTIFACT = re.compile(r"report-([a-z][a-z0-9-]{0,98}[a-z0-9])")
MOST_MODELS = 20
# Of the check, and of the mark by which CML finds its comment again; but for the first model with its name.
TITLE = "Model report"
PAGE = OUT / "comment.md"
FORK = "_The figures were measured by the pull request's own code, which comes from a fork._"
SAID = {
    PASS: "the challenger may replace the champion",
    REFUSE: "the challenger may not replace the champion",
    UNCHANGED: "the model is the champion, byte for byte",
}


@dataclass(frozen=True)
class TrainingRun:
    """A finished workflow run; ``owner`` is that of the head's repository, None where it was deleted."""

    number: int
    head: str
    branch: str
    owner: str | None
    conclusion: str
    address: str


def read_event(path: Path) -> TrainingRun:
    """Read which run has finished from the event of a ``workflow_run`` workflow.

    Raises
    ------
    MisuseError
        If the file holds no such event.
    """
    try:
        event = json.loads(path.read_text(encoding="utf-8"))["workflow_run"]
        return TrainingRun(
            number=int(event["id"]),
            head=event["head_sha"],
            branch=event["head_branch"] or "",
            owner=(event["head_repository"] or {"owner": {"login": None}})["owner"]["login"],
            conclusion=event["conclusion"] or "no conclusion",
            address=event["html_url"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__} {show_text(error)}"
        raise MisuseError(
            f"GITHUB_EVENT_PATH holds no event of a finished workflow run ({fault}). Start this by on: workflow_run."
        ) from error


def download_reports(training: TrainingRun, client: Client) -> dict[str, Report]:
    """Download the run's newest report on each model and check it; those that GitHub keeps no longer are left out.

    Raises
    ------
    RefusedError
        If an artifact is too large, no report, or of another commit, or there are too many.
    """
    listed = client.read("actions", "runs", training.number, "artifacts", per_page=100)["artifacts"]
    # A run that was started again may have several of a name; the newest one comes last.
    named = {row["name"]: row for row in sorted(listed, key=lambda row: int(row["id"]))}
    found = {
        match[1]: row
        for name, row in sorted(named.items())
        if (match := ARTIFACT.fullmatch(name)) and not row["expired"]
    }
    if len(found) > MOST_MODELS:
        raise RefusedError(f"the run left reports of {len(found)} models, expected at most {MOST_MODELS}.")
    return {model: _download(row, model, training, client) for model, row in found.items()}


def _download(artifact: Mapping[str, Any], model: str, training: TrainingRun, client: Client) -> Report:
    """Download a report on a model and check it."""
    if artifact["size_in_bytes"] > MOST_BYTES:
        raise RefusedError(
            f"the artifact has {artifact['size_in_bytes']:,d} bytes, expected at most {MOST_BYTES:,d}."
        )
    report = read_report(client.download("actions", "artifacts", artifact["id"], "zip", most_bytes=MOST_BYTES))
    said = report["model"]
    if said not in (None, model):
        raise RefusedError(f"the report is of the model {said}, and its artifact of {model}; nothing is posted.")
    if report["commit"] != training.head:
        raise RefusedError(
            f"the report is of commit {report['commit']}, the run of {training.head}; nothing is posted."
        )
    return report


def find_pull(training: TrainingRun, client: Client) -> dict[str, Any] | None:
    """Find the open pull request whose head is the run's commit, in GitHub's own shape; None where there is none.

    Raises
    ------
    RefusedError
        If there are several.
    """
    if not (training.owner and training.branch):
        return None
    head = f"{training.owner}:{training.branch}"
    # GitHub ignores a filter that it cannot read, so what it lists is held against the run once more.
    found = [
        pull
        for pull in client.read("pulls", state="open", head=head, per_page=100)
        if pull["head"]["sha"] == training.head
        and pull["head"]["ref"] == training.branch
        and pull["base"]["repo"]["full_name"] == client.repository
    ]
    if len(found) > 1:
        numbers = ", ".join(str(pull["number"]) for pull in found)
        raise RefusedError(
            f"commit {training.head} is the head of {len(found)} open pull requests ({numbers}), expected one. "
            "Close the others, and run the training again."
        )
    return found[0] if found else None


def write_page(report: Report, is_fork: bool) -> str:
    """Write the comment; that of a fork ends with who measured.

    Raises
    ------
    RefusedError
        If the report's facts contradict each other, so that no page can be made of them.
    """
    try:
        page = render_report(report)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RefusedError(
            f"the report's facts contradict each other ({type(error).__name__}); nothing is posted."
        ) from error
    return f"{page.rstrip()}\n\n{FORK}\n" if is_fork else page


def post_comment(page: str, number: int, head: str, title: str) -> None:
    """Post the page on a pull request with CML, or update the comment that is there already.

    Raises
    ------
    MisuseError
        If CML is missing.
    RefusedError
        If CML fails, with what it says.
    """
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    # By default CML uploads every file that the page links to, and tells its makers of its use.
    command = ["cml", "comment", "update", f"--target=pr/{number}", "--publish=false", f"--watermark-title={title}"]
    environment = {**os.environ, "GITHUB_SHA": head, "REPO_TOKEN": find_token(), "ITERATIVE_DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run([*command, str(PAGE)], env=environment, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise MisuseError("cml is not installed; install it with: npm install --global @dvcorg/cml") from error
    if done.returncode:
        fault = show_fault(done.stderr.strip() or done.stdout.strip())
        raise RefusedError(f"cml could not comment on pull request {number}: {fault}.")


def describe_check(report: Report, page: str, training: TrainingRun, title: str) -> dict[str, Any]:
    """Describe the check: red for a refused model, and for a dvc.lock that does not say what its commit makes."""
    state = report["lock"]["state"] if report["lock"] else FRESH
    is_red = report["outcome"] == REFUSE or state != FRESH
    said = f"{report['outcome']}: {SAID[report['outcome']]}"
    summary = [page.splitlines()[0], *([FORK] if FORK in page.splitlines() else [])]
    return {
        "name": title,
        "head_sha": training.head,
        "status": "completed",
        "conclusion": "failure" if is_red else "success",
        "details_url": training.address,
        "output": {
            "title": said if state == FRESH else f"{said}; dvc.lock is {state}",
            "summary": "\n\n".join(summary),
        },
    }


def is_from_fork(pull: Mapping[str, Any], repository: str) -> bool:
    """Tell whether a pull request's head is in another repository, or in none any more."""
    return (pull["head"]["repo"] or {}).get("full_name") != repository


def post_reports(training: TrainingRun, client: Client, first: str) -> str:
    """Post a run's reports, and return in one line what was done.

    Parameters
    ----------
    training : TrainingRun
    client : Client
    first : str
        Name of the first model, whose comment is the same whether there are others or not.

    Raises
    ------
    MisuseError, RefusedError
        As the steps do; nothing is posted then.
    """
    reports = download_reports(training, client)
    if not reports:
        return f"run {training.number} ({show_text(training.conclusion)}) left no report; nothing is posted."
    pull = find_pull(training, client)
    if pull is None:
        where = show_text(f"{training.owner or 'a deleted repository'}/{training.branch}")
        return f"no open pull request has the head {training.head} of {where}; nothing is posted."
    is_fork = is_from_fork(pull, client.repository)
    # All pages are written before the first one is posted, so that a report that is none leaves nothing half done.
    pages = {model: write_page(report, is_fork) for model, report in reports.items()}
    done = []
    for model, page in pages.items():
        title = TITLE if model == first else f"{TITLE}: {model}"
        post_comment(page, pull["number"], training.head, title)
        check = describe_check(reports[model], page, training, title)
        client.create("check-runs", content=check)
        done.append(f"{title} {check['conclusion']} ({check['output']['title']})")
    return f"pull request {pull['number']}: commented; {'; '.join(done)}"


def main(argv: Sequence[str] | None = None) -> None:
    """Post the reports of a finished training run on its pull request."""
    argparse.ArgumentParser(prog="python -m lifecycle.github.comment", description=main.__doc__).parse_args(argv)
    client = open_client()
    print(post_reports(read_event(Path(os.environ.get("GITHUB_EVENT_PATH", ""))), client, read_name(find_top())))


if __name__ == "__main__":
    run(main)
