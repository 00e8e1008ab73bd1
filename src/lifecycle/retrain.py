"""Bring in the months that came out at the source, train on them, and judge the challenger against the champion.

Why it runs makes no difference: the calendar, an alarm, drift, degradation or a person. There is something to learn
only where the source has months after the newest one in data/; late ones are found the next time. Everything else is
"nothing to do": one line, and exit code 0. Drift alone gives no new months, so it starts nothing by itself.

Leaves in the working folder what a pull request needs; `lifecycle.github.proposal` opens it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from lifecycle import pull, report
from lifecycle.data.months import file_name, is_sample, list_months
from lifecycle.errors import AbsentError, MisuseError, RefusedError, run
from lifecycle.github.client import Client, open_client
from lifecycle.github.proposal import find_proposal, list_dates, name_branch
from lifecycle.github.runner import append_to
from lifecycle.ingest import add_months, fetch_months, open_incoming
from lifecycle.params import Params, RetrainParams, read_params
from lifecycle.paths import DATA, OUT
from lifecycle.repository import LOCK, MADE_OF, read_git, read_yaml_at
from lifecycle.reproduce import reproduce
from lifecycle.tools import run_tool

DATA_FILE = f"{DATA}.dvc"
TRACKED = (DATA_FILE, LOCK, OUT.as_posix())


class NothingToDoError(Exception):
    """There is no reason to train; the message says why."""


def check_pace(dates: Sequence[datetime], params: RetrainParams, now: datetime) -> None:
    """Stop where the last proposal is too young, or this month has had its share of them.

    Parameters
    ----------
    dates : sequence of datetime
        When the proposals were opened.
    params : RetrainParams
    now : datetime

    Raises
    ------
    NothingToDoError
        Saying until when.
    """
    ends = max(dates, default=datetime.min.replace(tzinfo=UTC)) + timedelta(days=params.cooldown_days)
    if dates and now < ends:
        raise NothingToDoError(
            f"the last pull request is too young; cooldown_days ends at {ends:%Y-%m-%d %H:%M} UTC."
        )
    opened = sum((date.year, date.month) == (now.year, now.month) for date in dates)
    if opened >= params.max_per_month:
        raise NothingToDoError(f"{opened} pull requests were opened this month; max_per_month allows no more.")


def find_horizon(params: RetrainParams, now: datetime) -> datetime:
    """Find from when on proposals count for the pace."""
    return min(now.replace(day=1, hour=0, minute=0, second=0), now - timedelta(days=params.cooldown_days))


def list_candidates(newest: str, now: datetime) -> Iterator[str]:
    """List the months after the newest one that are over, oldest first."""
    month = np.datetime64(newest, "M") + 1
    while month < np.datetime64(f"{now:%Y-%m}", "M"):
        yield str(month)
        month += 1


def find_newest(params: Params) -> str:
    """Find the newest month in data/.

    Raises
    ------
    NothingToDoError
        If there is none, or the months are synthetic: then nobody has said yet which real ones to begin with.
    """
    months = list_months(DATA, file_name(params.ingest.source))
    if not months or any(is_sample(path) for path in months.values()):
        raise NothingToDoError("data/ holds no real months yet; bring the first ones in with: make data MONTHS=...")
    return max(months)


def fetch_new(params: Params, now: datetime, folder: Path) -> dict[str, Path]:
    """Fetch the months after the newest one in data/, up to the first one that is not out.

    Raises
    ------
    NothingToDoError
        If there is none.
    SourceError, ContractError
        If one cannot be had, or is not what the contract says.
    """
    newest, fetched = find_newest(params), {}
    for month in list_candidates(newest, now):
        try:
            fetched |= fetch_months([month], params.ingest.source, params, folder)
        except AbsentError:
            break
    if not fetched:
        raise NothingToDoError(f"the source has no month after {newest}; the champion has seen all there is.")
    return fetched


def check_new(client: Client) -> None:
    """Stop where the data of the working folder have been proposed already, whatever became of it.

    Raises
    ------
    NothingToDoError
        Naming the pull request.
    """
    if former := find_proposal(client, name_branch(read_yaml_at(None, DATA_FILE)["outs"][0]["md5"])):
        raise NothingToDoError(f"pull request {former['number']} ({former['state']}) is about the same data.")


def retrain(params: Params, client: Client, now: datetime) -> None:
    """Bring new months in, reproduce, and write the report with the gate's verdict.

    Raises
    ------
    NothingToDoError
        If there is nothing to train on, too early, or proposed already.
    RefusedError
        If a month is broken or cannot be had, or the pipeline fails. Whatever is raised, data and results are then
        as they were.
    """
    if read_git("status", "--porcelain", "--untracked-files=no", "--", *MADE_OF):
        raise MisuseError(
            "there are uncommitted changes, which a failed run could not put back; commit them, or git restore them."
        )
    check_pace(list_dates(client, find_horizon(params.retrain, now)), params.retrain, now)
    pull.main()
    with open_incoming() as folder:
        fetched = fetch_new(params, now, folder)
        try:
            add_months(fetched, params)
            check_new(client)
            reproduce()
            report.main([])
        except BaseException:
            put_back()
            raise


def put_back() -> None:
    """Put data and results back as HEAD has them."""
    read_git("checkout", "HEAD", "--", *TRACKED)
    run_tool(Path(), sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", DATA_FILE)


def main(argv: Sequence[str] | None = None) -> None:
    """Train on the months that came out at the source, if there are any."""
    argparse.ArgumentParser(prog="python -m lifecycle.retrain", description=main.__doc__).parse_args(argv)
    try:
        retrain(read_params(), open_client(), datetime.now(UTC))
    except NothingToDoError as reason:
        append_to("GITHUB_STEP_SUMMARY", f"Nothing to do: {reason}\n")
        print(f"nothing to do: {reason}")
    except RefusedError as error:
        # The job that tells people may read no log.
        append_to("GITHUB_OUTPUT", f"reason={' '.join(str(error).split())}\n")
        raise


if __name__ == "__main__":
    run(main)
