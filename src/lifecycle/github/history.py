"""What GitHub remembers of the model's life: proposals to retrain, and the reports that the monitor left.

Anybody may leave an artifact of any name through a pull request, so reports are taken from the monitor's own runs on
the default branch alone.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.artifact import MOST_BYTES, read_json
from lifecycle.github.client import Client, open_client
from lifecycle.params import describe_error, read_params
from lifecycle.paths import OUT
from lifecycle.views.status_facts import Retraining

LABEL = "retrain"
WORKFLOW = "monitor.yml"
ARTIFACT, FILE = "monitor", "monitor.json"
# A fork's pull request could make the workflow listen to other events.
EVENTS = ("schedule", "workflow_dispatch")
PER_PAGE, MOST_PAGES = 100, 5


def list_retrainings(client: Client) -> list[Retraining]:
    """List the pull requests that bear the label ``retrain``, the newest first.

    Only those among the last five hundred pull requests are found.

    Raises
    ------
    MisuseError, RefusedError
        As `lifecycle.github.client.call_github`, or if GitHub's answer is none that is known.
    """
    found = []
    for page in range(1, MOST_PAGES + 1):
        listed = client.read("pulls", state="all", sort="created", direction="desc", per_page=PER_PAGE, page=page)
        found += [pull for pull in listed if LABEL in [label["name"] for label in pull.get("labels", [])]]
        if len(listed) < PER_PAGE:
            break
    try:
        return [Retraining.model_validate(pull) for pull in found]
    except ValidationError as error:
        raise RefusedError(f"GitHub described a pull request in an unknown way: {describe_error(error)}") from error


def list_runs(client: Client, most: int) -> list[int]:
    """List the monitor's finished runs on the default branch, the newest first."""
    branch = client.read()["default_branch"]
    query = {"branch": branch, "status": "completed", "per_page": most}
    # GitHub ignores a filter that it cannot read, so what it lists is held against it once more.
    return [
        listed["id"]
        for listed in client.read("actions", "workflows", WORKFLOW, "runs", **query)["workflow_runs"]
        if listed["event"] in EVENTS
        and listed["head_branch"] == branch
        and (listed["head_repository"] or {}).get("full_name") == client.repository
    ]


def read_reports(client: Client, most: int) -> Iterator[tuple[int, Any]]:
    """Read the monitor's reports that GitHub still keeps: the run's number, and the report or why it is none."""
    for number in list_runs(client, most):
        listed = client.read("actions", "runs", number, "artifacts", name=ARTIFACT, per_page=PER_PAGE)["artifacts"]
        # A run that was started again may have several.
        artifact = max((row for row in listed if row["name"] == ARTIFACT), key=lambda row: row["id"], default=None)
        if artifact is None or artifact["expired"]:
            continue
        try:
            archive = client.download("actions", "artifacts", artifact["id"], "zip", most_bytes=MOST_BYTES)
            yield number, read_json(archive, FILE)
        except RefusedError as error:
            yield number, error


def write_reports(client: Client, folder: Path, most: int) -> list[str]:
    """Write the monitor's reports into a folder, a file each; nothing is written before all have arrived.

    Returns
    -------
    list of str
        What was left out, and why.

    Raises
    ------
    MisuseError, RefusedError
        As `lifecycle.github.client.call_github`, or if the folder cannot be written to.
    """
    reports = list(read_reports(client, most))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, report in reports:
            if not isinstance(report, RefusedError):
                (folder / f"{number}.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
    except OSError as error:
        raise MisuseError(f"cannot write to {folder}: {error.strerror}; name another folder.") from error
    return [f"run {number}: {report}" for number, report in reports if isinstance(report, RefusedError)]


def main(argv: Sequence[str] | None = None) -> None:
    """Download the monitor's last reports from GitHub."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.history", description=main.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=OUT / "monitored", help="where the reports go")
    folder = parser.parse_args(argv).folder
    left_out = write_reports(open_client(), folder, read_params().status.reports)
    for reason in left_out:
        print(f"left out: {reason}")
    print(f"{len(list(folder.glob('*.json')))} reports in {folder}")


if __name__ == "__main__":
    run(main)
