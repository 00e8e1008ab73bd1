"""Propose a retrained model: commit its results to a branch of its own, open one pull request, start its checks.

What was trained comes from another job, as an archive and a report that are read as data. The branch is named after
the data, so the same data are proposed once, whatever became of the pull request.
"""

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lifecycle.comparison.verdict import PASS, REFUSE
from lifecycle.errors import RefusedError, run
from lifecycle.github.artifact import REPORT, read_facts
from lifecycle.github.client import Client, call_github, open_client
from lifecycle.github.results import AUTHOR, CREDENTIALS, start_checks, unpack
from lifecycle.params import read_params
from lifecycle.paths import find_model, find_top
from lifecycle.repository import read_yaml_at
from lifecycle.tools import run_tool
from lifecycle.views.markdown import escape_text, quote_code
from lifecycle.views.report_facts import Report
from lifecycle.views.report_page import write_verdict

PREFIX = "retrain"
FOLDER_HASH = re.compile(r"[0-9a-f]{32}\.dir")
MOST_PULLS = 100
AUTO_MERGE = (
    "mutation($pull: ID!) { enablePullRequestAutoMerge(input: {pullRequestId: $pull, mergeMethod: SQUASH}) "
    "{ clientMutationId } }"
)


def name_prefix() -> str:
    """Name the folder of the branches on which the working folder's model is proposed."""
    model = find_model()
    return f"{PREFIX}/{model}" if model else PREFIX


def name_branch(data_hash: str) -> str:
    """Name the branch of the model that was trained on these data."""
    return f"{name_prefix()}/{data_hash[:12]}"


def find_proposal(client: Client, branch: str) -> dict[str, Any] | None:
    """Find the pull request of a branch, open or not, in GitHub's own shape; None where there is none."""
    head = f"{client.repository.partition('/')[0]}:{branch}"
    found = [pull for pull in client.read("pulls", state="all", head=head) if pull["head"]["ref"] == branch]
    return found[0] if found else None


def list_proposals(client: Client, **query: object) -> Iterator[dict[str, Any]]:
    """List the pull requests that this module opened for the working folder's model, newest first."""
    page = 1
    while pulls := client.read("pulls", sort="created", direction="desc", per_page=MOST_PULLS, page=page, **query):
        for pull in pulls:
            own = (pull["head"]["repo"] or {}).get("full_name") == client.repository
            if own and pull["head"]["ref"].rpartition("/")[0] == name_prefix():
                yield pull
        if len(pulls) < MOST_PULLS:
            return
        page += 1


def list_dates(client: Client, since: datetime) -> list[datetime]:
    """List when proposals were opened, newest first, back to a time."""
    dates = []
    for pull in list_proposals(client, state="all"):
        date = datetime.fromisoformat(pull["created_at"])
        if date < since:
            break
        dates.append(date)
    return dates


def write_body(report: Report, cause: str) -> str:
    """Write the pull request's text, which a merge makes the commit's message; the report follows as a comment."""
    months = [row["month"] for row in report["months"]]
    new = [row["month"] for row in report["months"] if row["base_rows"] is None]
    reasons = [f"- refused: {escape_text(reason, 500)}" for reason in report["reasons"]]
    return "\n".join(
        [
            write_verdict(report).lstrip("# "),
            "",
            f"- months: {min(months)} to {max(months)}; new: {', '.join(new) or 'none'}",
            f"- data: {quote_code(report['data_hash'])}",
            f"- started by: {escape_text(cause)}",
            *reasons,
        ]
    )


def is_surely_better(report: Report, margin: float | None) -> bool:
    """Tell whether the challenger is better than the champion by a margin, even at its interval's worse end."""
    # ``high`` is how much worse it may be, as a share of the champion's figure.
    return margin is not None and report["outcome"] == PASS and report["figures"].get("high", 0.0) <= -margin


def read_data_hash(report: Report) -> str:
    """Read which data the working folder names, and hold the report against it.

    Raises
    ------
    RefusedError
        If data.dvc names no folder, or the report is of other data or of another commit.
    """
    named = str((read_yaml_at(None, "data.dvc").get("outs") or [{}])[0].get("md5"))
    if not FOLDER_HASH.fullmatch(named):
        raise RefusedError("data.dvc names no folder's hash; expected what dvc add writes.")
    head = run_tool(Path(), "git", "rev-parse", "HEAD").strip()
    for what, said, found in (("data", report["data_hash"], named), ("commit", report["commit"], head)):
        if said != found:
            raise RefusedError(f"the report is of {what} {said}, and this is {found}; nothing is proposed.")
    return named


def open_pull(client: Client, branch: str, title: str, body: str, names: list[str], draft: bool) -> dict[str, Any]:
    """Open a pull request with files on a branch of their own; where GitHub opens none, the branch leaves again."""
    _push_branch(branch, title, names)
    try:
        content = {"title": title, "body": body, "head": branch, "draft": draft}
        base = client.read()["default_branch"]
        pull: dict[str, Any] = client.create("pulls", content={**content, "base": base})
    except RefusedError:
        # Unless another run was faster.
        if not find_proposal(client, branch):
            run_tool(Path(), "git", *CREDENTIALS, "push", "--quiet", "--delete", "origin", branch)
        raise
    # Branches of a kind begin with its label.
    client.create("issues", pull["number"], "labels", content={"labels": [branch.partition("/")[0]]})
    return pull


def _push_branch(branch: str, title: str, names: list[str]) -> None:
    """Commit files to a new branch; one that a killed run left behind is replaced, any other change of it refused."""
    there = run_tool(Path(), "git", *CREDENTIALS, "ls-remote", "origin", f"refs/heads/{branch}").partition("\t")[0]
    run_tool(find_top(), "git", "add", "--", *names)
    run_tool(Path(), "git", *AUTHOR, "commit", "--quiet", "--message", title)
    lease, target = f"--force-with-lease={branch}:{there}", f"HEAD:refs/heads/{branch}"
    run_tool(Path(), "git", *CREDENTIALS, "push", "--quiet", lease, "origin", target)


def close_former(client: Client, pull: dict[str, Any]) -> None:
    """Close the proposals on older data that are still open, so that one is left."""
    for former in list_proposals(client, state="open"):
        if former["number"] != pull["number"]:
            said = f"Pull request #{pull['number']} has these months, and newer ones."
            client.create("issues", former["number"], "comments", content={"body": said})
            client.update("pulls", former["number"], content={"state": "closed"})


def propose(archive: Path, report: Report, cause: str, margin: float | None, client: Client) -> str:
    """Propose what was trained: a draft where the gate refuses it.

    Parameters
    ----------
    archive : Path
        As `lifecycle.github.results.pack` writes it.
    report : Report
    cause : str
        What started the training.
    margin : float or None
        As ``merge_margin`` of params.yaml.
    client : Client

    Returns
    -------
    str
        What was done, in one line.

    Raises
    ------
    RefusedError
        If archive, report and working folder do not belong together, or GitHub does not do it.
    """
    names = unpack(archive, find_top())
    branch = name_branch(read_data_hash(report))
    if former := find_proposal(client, branch):
        return f"nothing to do: pull request {former['number']} ({former['state']}) is about the same data."
    model = f" {find_model()}" if find_model() else ""
    title = f"Retrain{model} on the months up to {max(row['month'] for row in report['months'])}"
    pull = open_pull(client, branch, title, write_body(report, cause), names, report["outcome"] == REFUSE)
    close_former(client, pull)
    start_checks(Path(), branch)
    if is_surely_better(report, margin):
        call_github("POST", "graphql", {"query": AUTO_MERGE, "variables": {"pull": pull["node_id"]}})
        return f"pull request {pull['number']} merges by itself when its checks have passed: {branch}"
    return f"pull request {pull['number']}{' (draft)' if report['outcome'] == REFUSE else ''}: {branch}"


def main(argv: Sequence[str] | None = None) -> None:
    """Propose a retrained model in a pull request."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.proposal", description=main.__doc__)
    parser.add_argument("archive", type=Path, help="what lifecycle.github.results packed")
    parser.add_argument("report", type=Path, help="the report.json of the same run")
    arguments = parser.parse_args(argv)
    client, margin = open_client(), read_params().retrain.merge_margin
    report: Report = read_facts(arguments.report, REPORT)
    print(propose(arguments.archive, report, os.environ.get("CAUSE", ""), margin, client))


if __name__ == "__main__":
    run(main)
