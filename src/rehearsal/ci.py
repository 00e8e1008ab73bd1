"""Run every workflow on this machine, and hold what ran, what was skipped and what was said against what should be.

``make ci``. Needs act and gh. Exit code 1 when anything came out otherwise.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.repository import read_yaml_at
from lifecycle.views.terminal import align_columns
from rehearsal import events
from rehearsal.deploying import rehearse_deploy
from rehearsal.experimenting import rehearse_experiment
from rehearsal.github import Repository, serve_github
from rehearsal.machines import rehearse_runner
from rehearsal.monitoring import rehearse_monitor
from rehearsal.outcome import read_condition
from rehearsal.remote import Remote, change_params, make_remote
from rehearsal.retraining import rehearse_retrain
from rehearsal.stage import Stage, announce, open_pull
from rehearsal.stand_ins import read_yaml

REPOSITORY, FORK = "team/model", "stranger/model"
# Settings of this machine without which jobs can install nothing.
PASSED_ON = ("PIP_", "UV_", "GO", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "TF_CLI_CONFIG_FILE")
# Where a run only has to show that it starts, make prints its commands.
DRY = {"MAKEFLAGS": "n"}
# The whole of the tests is run beside the rehearsal, not within it.
LIGHT, BETTER, WORSE = (f"max_iter: {trees}" for trees in (40, 80, 5))
# What the pull requests change: the model is the template's own.
CHANGED = ("max_iter", "learning_rate")
# No run has them false: two hold of every run that nobody cancels, and a model that stands alone is always touched.
ALWAYS = ("always()", "!cancelled()", "needs.models.outputs.models != '[]'")
# Of each kind that check.yml calls for a few: pytest takes it for a fault when there is none.
DRILL = "tests/lifecycle/test_cluster.py::test_month_that_a_worker_cannot_read_is_told_in_one_line"
FEW_TESTS = {"PYTEST_ADDOPTS": f"--cov-fail-under=0 tests/test_rooms.py tests/infra/test_terraform.py {DRILL}"}


@contextmanager
def serve_vulnerabilities() -> Iterator[str]:
    """Serve a database of vulnerabilities that knows none; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        """Answer every question with nothing."""

        def do_POST(self) -> None:  # pylint: disable=invalid-name
            """Answer."""
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
            """Keep the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def install_stand_ins(folder: Path) -> Path:
    """Write commands that stand in for those that the rehearsal cannot have or must not run; return their folder."""
    commands = {
        "npm": 'case "$*" in "install --global --ignore-scripts --before="*" @dvcorg/cml@0.20.6") exit 0;; esac\n'
        'echo "npm $*: the rehearsal knows no such installation" >&2; exit 1\n',
        "sudo": 'case "$*" in "apt-get update -qq" | "apt-get install -y -qq "*) exit 0;; esac\n'
        'echo "sudo $*: the rehearsal installs nothing on this machine" >&2; exit 1\n',
        "gh": f'exec "{sys.executable}" "{Path(__file__).with_name("gh.py")}" "{shutil.which("gh")}" "$@"\n',
        "cml": f'exec "{sys.executable}" "{Path(__file__).with_name("cml.py")}" "$@"\n',
    }
    folder.mkdir()
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def read_comment(stage: Stage, number: int) -> str:
    """Read the one comment of a pull request; empty where there is none or more than one."""
    comments = stage.github.comments.get(number, [])
    return comments[0]["body"] if len(comments) == 1 else ""


def report(
    stage: Stage,
    title: str,
    pull: dict[str, Any],
    conclusion: str,
    expected: str = "success",
    event: str = "pull_request",
) -> None:
    """Let report.yml follow the run before it."""
    run_id = stage.runs
    stage.remote.check_out("origin/main")
    stage.play(title, "report.yml", events.workflow_run(pull, "Train", conclusion, run_id, event), expected)


def rehearse_change(stage: Stage) -> None:
    """A person edits params.yaml in the browser, sees what it does, and has the pipeline run for her."""
    title = "pull request that edits params.yaml"
    pull = open_pull(stage, 1, "better", {"params.yaml": (LIGHT, BETTER)})
    stage.play(title, "check.yml", events.pull_request(pull), " ".join(["success"] * 8), FEW_TESTS)
    stage.play(title, "train.yml", events.pull_request(pull), "success failure failure success")
    report(stage, title, pull, "failure")
    comment = read_comment(stage, 1)
    stage.expect("the comment begins with the verdict", comment.startswith("## \u2705 pass"))
    stage.expect(
        "the comment says that the lock is stale", "`dvc.lock` is stale" in comment and "make pipeline &&" in comment
    )
    stage.expect("the check is red", stage.github.check_runs[-1]["conclusion"] == "failure")
    stage.play(title, "reproduce.yml", events.pull_request(pull, label="wontfix"), "skipped skipped")
    stage.remote.check_out("origin/better")
    stage.play(title, "reproduce.yml", events.pull_request(pull, label="reproduce"), "success success")
    started = [(run["workflow"], run["ref"]) for run in stage.github.dispatches]
    stage.expect(
        "the checks were started on the branch", started == [("check.yml", "better"), ("train.yml", "better")]
    )
    commit = stage.remote.find("better")
    stage.expect("the branch has a new commit", commit != pull["head"]["sha"])
    stage.remote.check_out("origin/better")
    pull = announce(stage, 1, "better", commit)
    stage.remote.check_out(commit)
    dispatched = events.workflow_dispatch(REPOSITORY, "train.yml", {}, ref="refs/heads/better")
    stage.play("reproduced branch", "train.yml", dispatched, " ".join(["success"] * 4))
    report(stage, "reproduced branch", pull, "success", event="workflow_dispatch")
    comment = read_comment(stage, 1)
    stage.expect("the same comment says now that all is well", "pass" in comment and "stale" not in comment)
    stage.expect("the check is green", stage.github.check_runs[-1]["conclusion"] == "success")


def rehearse_worsening(stage: Stage) -> None:
    """A pull request makes the model worse."""
    title = "pull request that makes the model worse"
    pull = open_pull(stage, 2, "worse", {"params.yaml": (LIGHT, WORSE)})
    stage.play(title, "train.yml", events.pull_request(pull), "success failure failure failure")
    report(stage, title, pull, "failure")
    first = read_comment(stage, 2).partition("\n")[0]
    stage.expect("the first line says why", "refuse" in first and "worse" in first)


def rehearse_fork(stage: Stage) -> None:
    """A stranger's fork changes nothing of the model, and its label starts nothing."""
    title = "pull request from a fork"
    pull = open_pull(stage, 3, "typo", {"README.md": ("Fork it", "Copy it")}, FORK)
    stage.play(title, "check.yml", events.pull_request(pull, actor="stranger"), " ".join(["success"] * 8), DRY)
    stage.play(title, "train.yml", events.pull_request(pull, actor="stranger"), " ".join(["success"] * 4))
    report(stage, title, pull, "success")
    stage.expect("the comment says unchanged", "unchanged" in read_comment(stage, 3).partition("\n")[0])
    stage.play(title, "reproduce.yml", events.pull_request(pull, label="reproduce"), "skipped skipped")


def rehearse_dependabot(stage: Stage) -> None:
    """Dependabot brings a newer action."""
    title = "pull request by Dependabot"
    pull = open_pull(stage, 4, "dependabot/actions", {".github/workflows/check.yml": ("# v7.0.1", "# v7.0.2")})
    stage.play(title, "check.yml", events.pull_request(pull, actor=events.BOT), " ".join(["success"] * 8), DRY)
    stage.play(title, "train.yml", events.pull_request(pull, actor=events.BOT), " ".join(["success"] * 4))
    report(stage, title, pull, "success")


def rehearse_merge(stage: Stage) -> None:
    """The change goes through the merge queue, and is pushed to main."""
    before = stage.remote.find("main")
    commit = stage.remote.merge("better", 1)
    queued = events.merge_group(REPOSITORY, commit, before)
    stage.play("merge queue", "check.yml", queued, " ".join(["success"] * 8), DRY)
    stage.remote.push_main(commit)
    pushed = events.push(REPOSITORY, commit, before)
    stage.play("push to main", "check.yml", pushed, " ".join(["success"] * 8), DRY)
    stage.play("push to main", "train.yml", pushed, " ".join(["success"] * 4))
    stage.expect("main's cache was saved", any((stage.folder / "store").glob("caches/*")))
    report(stage, "push to main", stage.github.pulls[0], "success", "skipped", "push")


def list_missed(stage: Stage) -> list[str]:
    """List the jobs of all workflows that were never started, and those with a condition that were never skipped."""
    missed = []
    for path in sorted(Path.cwd().glob(".github/workflows/*.yml")):
        for name, job in read_yaml(path)["jobs"].items():
            played = {one.result for _, workflow, one, *_ in stage.played if (workflow, one.id) == (path.name, name)}
            if not played & {"success", "failure"}:
                missed.append(f"{path.name}, {name} was never started")
            if "if" in job and read_condition(job) not in ALWAYS and "skipped" not in played:
                missed.append(f"{path.name}, {name} was never skipped")
    return missed


def write_table(stage: Stage) -> str:
    """Write what was played as a table, and of a job that was skipped why."""
    head = ("event", "workflow", "job", "result", "run", "skipped unless")
    rows = [
        (title, name, job.name, told, run_time, job.condition) for title, name, job, told, run_time in stage.played
    ]
    return "\n".join(align_columns([head, *rows]))


def make_light(remote: Remote) -> None:
    """Commit a model with few trees as the champion, so that the rehearsal spends its time on the workflows."""
    change_params(remote.clone, {"train": {"max_iter": 40, "folds": 2}, "evaluate": {"resamples": 50}})
    environment = {**os.environ, "PYTHONPATH": str(remote.clone / "src")}
    for command in ("lifecycle.reproduce", "dvc push --quiet"):
        arguments = [sys.executable, "-m", *command.split()]
        subprocess.run(arguments, cwd=remote.clone, env=environment, check=True, stdout=subprocess.DEVNULL)
    remote.commit("Train a light model")


def rehearse(folder: Path, scenarios: list[Callable[[Stage], None]]) -> Stage:
    """Play scenarios one after the other against one remote and one GitHub."""
    github = Repository(full_name=REPOSITORY)
    kept = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
    path = f"{install_stand_ins(folder / 'bin')}{os.pathsep}{os.environ['PATH']}"
    with serve_github(github, folder) as spoken, serve_vulnerabilities() as database:
        env = {
            **kept,
            **spoken,
            "PATH": path,
            "CI": "true",
            "AUDIT": f"--vulnerability-service osv --osv-url {database}",
        }
        stage = Stage(make_remote(Path.cwd(), folder), github, folder, env)
        make_light(stage.remote)
        for scenario in scenarios:
            scenario(stage)
    return stage


def main(argv: list[str] | None = None) -> None:
    """Run the scenarios named, or all."""
    named = sys.argv[1:] if argv is None else argv
    everything = (
        rehearse_change,
        rehearse_worsening,
        rehearse_fork,
        rehearse_dependabot,
        rehearse_merge,
        rehearse_experiment,
        rehearse_retrain,
        rehearse_runner,
        rehearse_deploy,
        rehearse_monitor,
    )
    known = {scenario.__name__.removeprefix("rehearse_"): scenario for scenario in everything}
    if unknown := [name for name in named if name not in known]:
        raise MisuseError(f"there is no scenario {unknown[0]!r}; expected some of {', '.join(known)}.")
    if "merge" in named and "change" not in named:
        raise MisuseError("merge goes on with what change has made; name both: make ci ONLY='change merge'")
    if absent := [key for key in CHANGED if key not in read_yaml_at(None, "params.yaml")["train"]]:
        raise MisuseError(
            f"params.yaml has no train.{absent[0]}, which these pull requests change; name yours in src/rehearsal."
        )
    chosen = [scenario for name, scenario in known.items() if not named or name in named]
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        stage = rehearse(Path(folder), chosen)
    print()
    print(write_table(stage))
    missed = [] if named else list_missed(stage)
    stage.faults.extend(missed)
    if stage.faults:
        raise RefusedError("\n".join([f"{len(stage.faults)} came out otherwise", *stage.faults]))


if __name__ == "__main__":
    run(main)
