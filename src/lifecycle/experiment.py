"""Try settings: run the stages that they change in a copy, keep all under one name, and compare with the champion.

DVC keeps an experiment: its parameters, code, metrics and dvc.lock in Git, under refs/exps; its bytes in the cache.
"""

import argparse
import fcntl
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from lifecycle import pull
from lifecycle.comparison.snapshot import PARAMS, Snapshot, read_snapshot
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.experiments.branch import make_branch
from lifecycle.experiments.settings import Plan, check_name, choose_name, edit_params, parse_settings, write_value
from lifecycle.experiments.table import Experiment, format_experiments, keep_run, list_experiments
from lifecycle.metrics import load_metrics
from lifecycle.params import Params, parse_params, read_params
from lifecycle.paths import ROWS, TEST, find_top
from lifecycle.registry import find_champion
from lifecycle.repository import LOCK, read_git, require_revision, resolve_revision, run_git
from lifecycle.reproduce import find_stage, prepare_rows, stream_dvc

# What DVC prints once it has made the copy and let go of what the next one needs.
STARTED = "Reproducing experiment"
TURN = Path(".dvc/tmp/experiment.lock")


def plan_experiments(text: str, name: str | None, changed: bool) -> list[Plan]:
    """Read and check settings, before anything runs.

    Parameters
    ----------
    text : str
        As `parse_settings` takes them.
    name : str, optional
        By default one is made of the settings.
    changed : bool
        Whether there are uncommitted changes, which can be tried as well.

    Returns
    -------
    list of Plan

    Raises
    ------
    MisuseError
        If a setting is unknown or of a wrong type, the name is taken, or nothing would be tried.
    """
    taken = {experiment.name for experiment in list_experiments(everything=True)}
    if name and check_name(name) in taken:
        raise MisuseError(f"there is an experiment {name!r} already; name another one, or: dvc exp remove {name}")
    content = Path(PARAMS).read_bytes()
    plans: list[Plan] = []
    for settings in parse_settings(text):
        edited = parse_params(edit_params(content, settings), PARAMS)
        if edited == parse_params(content, PARAMS) and not changed:
            raise MisuseError(f"nothing to try: params.yaml says {text or 'so'} already, and no file is changed.")
        plans.append(Plan(choose_name(settings, taken, name), settings))
        taken.add(plans[-1].name)
    return plans


def deepen() -> None:
    """Make a shallow clone whole: in one, DVC loses an experiment's result without a word.

    Raises
    ------
    RefusedError
        If the rest cannot be fetched.
    """
    if read_git("rev-parse", "--is-shallow-repository").strip() != "true":
        return
    print("This clone is shallow, and would lose the results: git fetch --unshallow", flush=True)
    done = run_git("fetch", "--quiet", "--unshallow")
    if done.returncode:
        fault = " ".join(done.stderr.decode(errors="replace").split())
        raise RefusedError(f"this clone is shallow and cannot be deepened ({fault}). Run: git fetch --unshallow")


def list_uncommitted() -> tuple[list[str], list[str]]:
    """List the changed files, which a copy takes along, and the untracked ones, which it does not."""
    changed = read_git("diff", "--name-only", "--relative", "HEAD").splitlines()
    return changed, read_git("ls-files", "--others", "--exclude-standard").splitlines()


def keep_changes(changed: Sequence[str], untracked: Sequence[str]) -> None:
    """Say what the copies take along, and keep it, since DVC puts it aside while it makes a copy."""
    if changed:
        kept = read_git("stash", "create", "Before an experiment").strip()
        print(f"Taken along, though not committed: {', '.join(changed)}")
        print(f"They stay as they are; if this is interrupted and they are gone: git stash apply {kept[:10]}")
    if untracked:
        print(f"Left behind, since not in Git: {', '.join(untracked)}; for others run git add first.")


def bring_inputs() -> None:
    """Bring data and prepared rows, which no remote holds, into the cache; dvc.lock stays as it is."""
    if TEST.exists():
        pull.main()
        return
    kept = {path: path.read_bytes() for path in (Path(LOCK), ROWS) if path.exists()}
    try:
        prepare_rows()
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


@contextmanager
def take_turn() -> Iterator[None]:
    """Keep other experiments of this clone from a step that only one of them may take at a time."""
    turn = find_top() / TURN
    turn.parent.mkdir(parents=True, exist_ok=True)
    with turn.open("w", encoding="utf-8") as file:
        # Let go of when the file is closed, and by a process that is killed.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_plan(plan: Plan, prefix: bool = False) -> None:
    """Run one experiment in a copy, and keep how long it took.

    Raises
    ------
    RefusedError
        If a stage fails, or DVC kept no result.
    """
    head = require_revision("HEAD")
    settings = [
        part for key, value in plan.settings.items() for part in ("-S", f"{PARAMS}:{key}={write_value(value)}")
    ]
    command = ("exp", "run", "--temp", "--pull", "--allow-missing", "--name", plan.name, "--message", plan.message)
    ran = []
    with ExitStack() as turn:
        turn.enter_context(take_turn())
        start = time.monotonic()
        # The copy's own code runs, and not that of the folder which is installed.
        path = os.pathsep.join(filter(None, (os.path.relpath(find_top() / "src"), os.environ.get("PYTHONPATH"))))
        for line in stream_dvc(*command, *settings, PYTHONPATH=path, PYTHONUNBUFFERED="1"):
            print(f"{plan.name} | {line}" if prefix else line, end="", flush=True)
            if line.startswith(STARTED):
                turn.close()
            if stage := find_stage(line):
                ran.append(stage)
    seconds = time.monotonic() - start
    commit = resolve_revision(f"refs/exps/{head[:2]}/{head[2:]}/{plan.name}")
    if commit is None:
        raise RefusedError(f"DVC kept no result of {plan.name}; what it said stands above.")
    with take_turn():
        keep_run(commit, seconds, ran)
    print(f"{plan.name}: ran {', '.join(ran) or 'nothing'} in {seconds:.1f} s", flush=True)


def run_plans(plans: Sequence[Plan], jobs: int) -> None:
    """Run experiments, so many at a time, each to its end whatever comes of the others.

    Raises
    ------
    RefusedError
        Naming those that failed.
    """

    def attempt(plan: Plan) -> str | None:
        try:
            run_plan(plan, prefix=len(plans) > 1)
        except RefusedError as error:
            print(f"{plan.name}: {error}", file=sys.stderr)
            return plan.name
        return None

    with ThreadPoolExecutor(jobs) as pool:
        failed = [name for name in pool.map(attempt, plans) if name]
    if failed:
        raise RefusedError(f"failed: {', '.join(failed)}; why stands above. The results of the others are kept.")


def show(params: Params) -> str:
    """Lay the experiments out beside the champion."""
    experiments = list_experiments()
    if not experiments:
        return 'There is no experiment in this clone yet. Next: make experiment SET="train.seed=1"'
    champion = find_champion(params.registry.name)
    base = read_snapshot(champion.revision) if champion else Snapshot()
    metric = load_metrics(params.evaluate.metrics[:1], params.load_domain())[0].name
    title = champion.name if champion else "none"
    return format_experiments(experiments, (title, base), metric, params.evaluate.confidence)


def find_experiment(name: str) -> Experiment:
    """Find the newest experiment of a name.

    Raises
    ------
    MisuseError
        If there is none, with those that are known.
    """
    experiments = list_experiments()
    for experiment in experiments:
        if experiment.name == name:
            return experiment
    known = ", ".join(experiment.name for experiment in experiments) or "none"
    raise MisuseError(f"there is no experiment {name!r}; this clone has: {known}. The table: make experiments")


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lifecycle.experiment", description="Try settings of params.yaml."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    trying = commands.add_parser("run", help="run the stages that settings change, in a copy")
    trying.add_argument("--set", default="", help="as 'section.key=1,2 section.other=3'; commas try each")
    trying.add_argument("--name", help="by default made of the settings")
    trying.add_argument("--jobs", type=int, default=1, help="how many run at the same time")
    commands.add_parser("list", help="show all beside the champion, best first")
    branching = commands.add_parser("branch", help="make one a branch, ready for a pull request")
    branching.add_argument("name", help="the experiment's")
    branching.add_argument("--to", help="the branch's name; by default experiment/NAME")
    return parser.parse_args(argv)


def _try(given: argparse.Namespace) -> None:
    """Plan and run."""
    if given.jobs < 1:
        raise MisuseError(f"--jobs is {given.jobs}; expected 1 or more.")
    changed, untracked = list_uncommitted()
    plans = plan_experiments(given.set, given.name, bool(changed))
    deepen()
    bring_inputs()
    keep_changes(changed, untracked)
    run_plans(plans, given.jobs)
    print("\nNext: make experiments")


def _branch(given: argparse.Namespace) -> None:
    """Make a branch, and say what to do with it."""
    branch = given.to or f"experiment/{given.name}"
    make_branch(find_experiment(given.name), branch)
    print(f"Branch {branch} holds the experiment in one commit, and dvc push has brought its bytes to the remote.")
    print(f"Next: git push -u origin {shlex.quote(branch)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run experiments, list them, or make one a branch."""
    given = _parse_arguments(argv)
    params = read_params()
    commands = {"run": partial(_try, given), "list": lambda: print(show(params)), "branch": partial(_branch, given)}
    commands[given.command]()


if __name__ == "__main__":
    run(main)
