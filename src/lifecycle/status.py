"""The status page: champion and its history, live error, drift, retraining, releases; writes out/status.html.

What cannot be read is said on the page in one line, and never keeps the rest from being shown.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.artifact import read_facts
from lifecycle.github.client import TOKENS, open_client
from lifecycle.github.history import list_retrainings as list_from_github
from lifecycle.params import read_params
from lifecycle.paths import METRICS, STATUS
from lifecycle.registry import PRODUCTION, Event, Version, find_champion, list_versions, read_events
from lifecycle.repository import read_yaml_at
from lifecycle.views.markdown import clean_text
from lifecycle.views.status_facts import MonitorReport, Promotion, Retraining, Status, Tested, convert_to_utc
from lifecycle.views.status_page import render_status

FIGURES = TypeAdapter(dict[str, Tested])
MONITOR = TypeAdapter(MonitorReport)
Part = TypeVar("Part")


def list_promotions(events: Iterable[Event], versions: Sequence[Version]) -> list[Promotion]:
    """List who became champion, in the order of the tags' numbers.

    Parameters
    ----------
    events : iterable of Event
        As `lifecycle.registry.read_events` gives them.
    versions : sequence of Version
        The newest first.

    Returns
    -------
    list of Promotion
        One to an older version than the champion before is a rollback.

    Raises
    ------
    RefusedError
        If a tag has no date.
    """
    by_commit = {version.commit: version.name for version in versions}
    ages = {version.name: age for age, version in enumerate(versions)}
    promotions: list[Promotion] = []
    for event in events:
        if event.stage != PRODUCTION or event.cancelled or event.commit not in by_commit:
            continue
        name = by_commit[event.commit]
        is_rollback = bool(promotions) and ages[name] > ages[promotions[-1].version]
        date = read_date(event)
        promotions.append(Promotion(name, event.commit, event.author, date, is_rollback))
    return promotions


def read_date(event: Event) -> datetime:
    """Read when a tag was written; one that was not written by Git may not say it."""
    try:
        return convert_to_utc(datetime.fromisoformat(event.date))
    except ValueError as error:
        number = f"{event.stage}#{event.number}"
        raise RefusedError(f"the tag #{number} has no date that can be read; write it anew with Git.") from error


def read_figures(commit: str) -> dict[str, Tested]:
    """Read the metrics that were committed with a model; none where they are no figures."""
    try:
        return FIGURES.validate_python(read_yaml_at(commit, str(METRICS)))
    except (RefusedError, ValidationError):
        return {}


def read_reports(folder: Path, most: int) -> tuple[list[MonitorReport], list[str]]:
    """Read the monitor's reports in a folder and those below it.

    Parameters
    ----------
    folder : Path
        With files whose names end with .json.
    most : int
        The newest ones are kept.

    Returns
    -------
    tuple of list of MonitorReport and list of str
        The oldest first; and which files are none, and why.

    Raises
    ------
    MisuseError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise MisuseError(f"{folder} is no folder; name one that holds the monitor's reports.")
    reports, left_out = [], []
    for path in sorted(folder.rglob("*.json")):
        try:
            reports.append(read_facts(path, MONITOR))
        except RefusedError as error:
            left_out.append(str(error))
    return sorted(reports, key=lambda report: report.until)[-most:], left_out


def list_retrainings() -> list[Retraining]:
    """List the proposals to retrain, the newest first.

    Raises
    ------
    MisuseError, RefusedError
        If GitHub cannot be asked, saying how to.
    """
    if not (os.environ.get("GITHUB_REPOSITORY") and any(map(os.environ.get, TOKENS))):
        raise MisuseError(
            f"Proposals to retrain are read from GitHub: set {TOKENS[0]}, and GITHUB_REPOSITORY=owner/name."
        )
    return list_from_github(open_client())


def attempt(read: Callable[[], Part], otherwise: Part, gaps: list[str]) -> Part:
    """Read a part; where that is refused, say why in the gaps and go on without it."""
    try:
        return read()
    except (MisuseError, RefusedError) as error:
        gaps.append(str(error))
        return otherwise


def read_status(name: str, folder: Path | None, most: int) -> Status:
    """Read all that the page tells.

    Parameters
    ----------
    name : str
        The model's name in the registry.
    folder : Path or None
        Holds the monitor's reports.
    most : int
        How many of them are looked at.

    Returns
    -------
    Status

    Raises
    ------
    MisuseError
        If the folder that was named is none.
    """
    registry: list[str] = []
    retraining: list[str] = []
    reports, monitor = read_reports(folder, most) if folder else ([], [])
    versions = attempt(lambda: list_versions(name), [], registry)
    events = attempt(lambda: read_events(name), [], registry)
    champion = attempt(lambda: find_champion(name), None, registry)
    commits = {version.commit for version in versions} | ({champion.revision} if champion else set())
    return Status(
        name=name,
        written=datetime.now(UTC),
        champion=champion,
        promotions=tuple(attempt(lambda: list_promotions(events, versions), [], registry)),
        versions=tuple(versions),
        retrainings=tuple(attempt(list_retrainings, [], retraining)),
        reports=tuple(reports),
        figures={commit: read_figures(commit) for commit in commits},
        gaps={"registry": list(dict.fromkeys(registry)), "monitor": monitor, "retraining": retraining},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the status page."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.status", description=main.__doc__)
    parser.add_argument("--monitor", type=Path, help="folder with reports of the monitor, one a day")
    given = parser.parse_args(argv)
    params = read_params()
    status = read_status(params.registry.name, given.monitor, params.status.reports)
    page = render_status(status)
    STATUS.parent.mkdir(exist_ok=True)
    STATUS.write_text(page, encoding="utf-8")
    print(
        f"{STATUS}: {len(status.versions)} versions, {len(status.promotions)} promotions, "
        f"{len(status.reports)} reports of the monitor, {len(status.retrainings)} retrainings"
    )
    for gap in (gap for gaps in status.gaps.values() for gap in gaps):
        print(f"not shown: {clean_text(gap, 300)}")


if __name__ == "__main__":
    run(main)
