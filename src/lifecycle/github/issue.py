"""Keep one issue about the model in production: its text is the monitor's last report, its comments are troubles."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lifecycle.errors import MisuseError, run
from lifecycle.github.artifact import read_facts
from lifecycle.github.client import Client, open_client
from lifecycle.views.markdown import escape_text
from lifecycle.views.report_facts import Items, Text

LABEL, TITLE = "monitor", "Model monitor"
WORKFLOW = "retrain.yml"
MOST_LINES, LONGEST_LINE = 20, 1_000
# What newer months may mend.
MENDED = ("drift", "degraded")


class Finding(BaseModel):
    """What of out/monitor.json is told here; the figures beside it are in the run's summary."""

    model_config = ConfigDict(strict=True, frozen=True)

    verdict: Literal["ok", "drift", "degraded", "stale", "too_little_data"]
    reasons: Items[Text] = Field()


def read_finding(path: Path) -> Finding:
    """Read a monitor's report, which comes from another job, as data.

    Raises
    ------
    RefusedError
        If it is too large, or no such report.
    """
    return cast(Finding, read_facts(path, TypeAdapter(Finding)))


def link_run() -> str:
    """Link the workflow run that speaks; nothing outside of one."""
    where = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return f"[The run]({where[0]}/{where[1]}/actions/runs/{where[2]}) has the details." if all(where) else ""


def find_issue(client: Client) -> dict[str, Any] | None:
    """Find the newest issue with the label, open or not; None where there is none."""
    listed = client.read("issues", labels=LABEL, state="all", sort="created", direction="desc", per_page=100)
    return next((issue for issue in listed if "pull_request" not in issue), None)


def write_issue(client: Client, body: str, is_trouble: bool) -> int:
    """Write the issue's text, anew where there is none yet; trouble opens a closed one. Return its number."""
    issue = find_issue(client)
    if issue is None:
        issue = client.create("issues", content={"title": TITLE, "body": body, "labels": [LABEL]})
    else:
        reopened = {"state": "open"} if is_trouble else {}
        client.update("issues", issue["number"], content={"body": body, **reopened})
    return int(issue["number"])


def show(finding: Finding, client: Client) -> str:
    """Show a monitor's report in the issue, and start retraining where that may help; say so in one line."""
    reasons = [f"- {escape_text(reason, LONGEST_LINE)}" for reason in finding.reasons[:MOST_LINES]]
    body = "\n".join([f"## {escape_text(finding.verdict)}", "", *reasons, "", link_run()])
    number = write_issue(client, body, finding.verdict != "ok")
    if finding.verdict not in MENDED:
        return f"issue {number}: {finding.verdict}"
    content = {"ref": client.read()["default_branch"], "inputs": {"cause": finding.verdict}}
    client.create("actions", "workflows", WORKFLOW, "dispatches", content=content)
    return f"issue {number}: {finding.verdict}; started {WORKFLOW}"


def tell(reason: str, client: Client) -> str:
    """Tell the issue of a trouble in a comment, unless that is what its last one says; say so in one line."""
    said = f"Retraining failed: {escape_text(reason or 'see its log', LONGEST_LINE)}"
    issue = find_issue(client)
    number = issue["number"] if issue else write_issue(client, "The monitor has not run yet.", True)
    comments = client.read("issues", number, "comments", per_page=100)
    if comments and comments[-1]["body"].startswith(said):
        return f"issue {number} says so already"
    client.create("issues", number, "comments", content={"body": f"{said}\n\n{link_run()}"})
    if issue and issue["state"] == "closed":
        client.update("issues", number, content={"state": "open"})
    return f"issue {number}: commented"


def main(argv: Sequence[str] | None = None) -> None:
    """Keep the issue about the model in production."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.issue", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    showing = commands.add_parser(
        "show", help="show a monitor's report, and start retraining on drift or degradation"
    )
    showing.add_argument("report", type=Path, help="the monitor.json of a run")
    commands.add_parser("tell", help="tell of the trouble that REASON in the environment names")
    arguments = parser.parse_args(argv)
    client = open_client()
    if arguments.command == "tell":
        print(tell(os.environ.get("REASON", ""), client))
        return
    if not arguments.report.is_file():
        raise MisuseError(f"{arguments.report} is missing; expected what lifecycle.monitor wrote.")
    print(show(read_finding(arguments.report), client))


if __name__ == "__main__":
    run(main)
