"""Try settings from the browser: plan a matrix of jobs, run one of them, compare all, and propose the best one.

Each job works out anew what was asked for, from the same text and the same commit; what the jobs hand over are a name
and files, which are read as data.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lifecycle.comparison.snapshot import PARAMS
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.experiments.matrix import Matrix, plan_matrix
from lifecycle.experiments.settings import Plan, edit_params
from lifecycle.experiments.tried import find_best, read_tried, write_tried
from lifecycle.github.client import Client, open_client
from lifecycle.github.proposal import find_proposal, open_pull
from lifecycle.github.results import pack, start_checks, unpack
from lifecycle.github.runner import append_to
from lifecycle.params import read_params
from lifecycle.paths import OUT
from lifecycle.report import make_report
from lifecycle.repository import require_revision
from lifecycle.reproduce import reproduce, stream_dvc
from lifecycle.views.experiments_page import render_experiments, write_body, write_title
from lifecycle.views.markdown import escape_text

TRIED = OUT / "tried"
ARCHIVE = "results.tar"
COMMIT_LENGTH = 7
LONGEST_FAULT = 500


def read_matrix() -> Matrix:
    """Read what was asked for from SETTINGS, which a workflow fills with what its form says."""
    most = read_params().experiment.max_jobs
    return plan_matrix(os.environ.get("SETTINGS", ""), Path(PARAMS).read_bytes(), most)


def find_plan(matrix: Matrix, name: str) -> Plan:
    """Find the experiment of a name.

    Raises
    ------
    MisuseError
        If it is none of those that were planned.
    """
    for plan in matrix.plans:
        if plan.name == name:
            return plan
    known = ", ".join(plan.name for plan in matrix.plans)
    raise MisuseError(f"NAME is {name[:50]!r}; expected one of: {known}")


def announce() -> None:
    """Read what was asked for; say on the run's page why nothing can be tried."""
    try:
        matrix = read_matrix()
    except MisuseError as error:
        append_to("GITHUB_STEP_SUMMARY", f"Nothing was tried: {escape_text(error, LONGEST_FAULT)}\n")
        raise
    hand_over(matrix)


def hand_over(matrix: Matrix) -> None:
    """Hand the names over to the jobs, and say what each one sets."""
    append_to("GITHUB_OUTPUT", f"names={json.dumps([plan.name for plan in matrix.plans])}\n")
    for plan in matrix.plans:
        print(f"{plan.name}: {plan.said}")
    if matrix.left_out:
        print(f"left out: {matrix.left_out:,d} more; experiment.max_jobs of params.yaml allows no more.")


def attempt(plan: Plan, push: bool) -> None:
    """Run the stages that an experiment's settings change, and leave what became of it for the other jobs.

    Parameters
    ----------
    plan : Plan
    push : bool
        Whether its bytes are pushed to DVC's remote, as a pull request needs them.

    Raises
    ------
    RefusedError
        If a stage fails, or the bytes cannot be pushed.
    """
    start, path = time.monotonic(), Path(PARAMS)
    path.write_bytes(edit_params(path.read_bytes(), plan.settings))
    ran = reproduce()
    seconds = time.monotonic() - start
    folder = TRIED / plan.name
    write_tried(folder, make_report(None, "HEAD", read_params()), seconds, ran)
    pack_results(folder / ARCHIVE, push)


def pack_results(archive: Path, push: bool) -> list[str]:
    """Pack what a run changed, pushed bytes included where the remote lies in the repository; give the names.

    Raises
    ------
    RefusedError
        If the bytes cannot be pushed.
    """
    if push:
        print("".join(stream_dvc("push")), end="")
    return pack(Path(), archive)


def compare(matrix: Matrix) -> None:
    """Write the table of all for the run's page, and hand the best one's name over.

    Raises
    ------
    RefusedError
        If none came to its end; the table says so as well.
    """
    tried = read_tried(TRIED, matrix.plans, require_revision("HEAD"))
    page = render_experiments(tried, matrix, read_params().experiment.max_jobs)
    append_to("GITHUB_STEP_SUMMARY", page)
    print(page)
    if best := find_best(tried):
        append_to("GITHUB_OUTPUT", f"best={best.plan.name}\n")
    if not any(one.report for one in tried):
        raise RefusedError("no experiment came to its end; each one's job says why.")


def name_branch(plan: Plan, commit: str) -> str:
    """Name the branch of an experiment; the same settings on the same commit are proposed once."""
    return f"experiment/{plan.name}-{commit[:COMMIT_LENGTH]}"


def propose(matrix: Matrix, plan: Plan, client: Client) -> str:
    """Open a pull request with an experiment's settings and results: a draft unless it is better than the champion.

    Returns
    -------
    str
        What was done, in one line.

    Raises
    ------
    RefusedError
        If its results are not what an experiment leaves, or GitHub does not do it.
    """
    commit = require_revision("HEAD")
    tried = {one.plan.name: one for one in read_tried(TRIED, matrix.plans, commit)}
    best = tried[plan.name]
    if best.report is None:
        raise RefusedError(f"{plan.name} cannot be proposed: {best.fault}")
    branch, path = name_branch(plan, commit), Path(PARAMS)
    if former := find_proposal(client, branch):
        return f"nothing to do: pull request {former['number']} ({former['state']}) has these settings."
    names = unpack(TRIED / plan.name / ARCHIVE, Path())
    path.write_bytes(edit_params(path.read_bytes(), plan.settings))
    body = write_body(plan, best.report, sum(one.report is not None for one in tried.values()))
    pull = open_pull(client, branch, write_title(plan), body, [*names, PARAMS], draft=not best.is_better)
    start_checks(Path(), branch)
    return f"pull request {pull['number']}{'' if best.is_better else ' (draft)'}: {branch}"


def main(argv: Sequence[str] | None = None) -> None:
    """Plan, try, compare or propose experiments; SETTINGS and NAME in the environment say which."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.experiment", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, said in (
        ("plan", "check the settings, and name the experiments"),
        ("try", "run the experiment NAME; with OPEN=true also push its bytes"),
        ("compare", f"write the table of what lies in {TRIED}"),
        ("propose", "open a pull request with the experiment NAME"),
    ):
        commands.add_parser(command, help=said)
    command, name = parser.parse_args(argv).command, os.environ.get("NAME", "")
    if command == "plan":
        announce()
        return
    matrix = read_matrix()
    if command == "try":
        attempt(find_plan(matrix, name), os.environ.get("OPEN") == "true")
    elif command == "compare":
        compare(matrix)
    else:
        print(propose(matrix, find_plan(matrix, name), open_client()))


if __name__ == "__main__":
    run(main)
