"""What the workflows make of months that come out at the source: broken, good, known already, and refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.data.months import file_name, list_months
from lifecycle.seam import load_domain
from rehearsal import events
from rehearsal.remote import call_git, change_params
from rehearsal.stage import Stage

NOTHING, PROPOSED = "success skipped skipped", "success success skipped"


def run_there(folder: Path, *commands: str) -> None:
    """Run Python modules in a folder, with its own code."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    for command in commands:
        arguments = [sys.executable, "-m", *command.split()]
        subprocess.run(arguments, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def change_main(stage: Stage, changes: dict[str, dict[str, Any]], *commands: str) -> None:
    """Change keys of params.yaml on main, and commit them with what commands then make."""
    stage.remote.check_out("origin/main")
    change_params(stage.remote.clone, changes)
    run_there(stage.remote.clone, *commands)
    stage.remote.commit(f"Change {', '.join(changes)}")


class Source:
    """A folder of months; the repository holds those before them, as if they were real."""

    def __init__(self, stage: Stage) -> None:
        params = yaml.safe_load((stage.remote.clone / "params.yaml").read_text(encoding="utf-8"))
        self.name, self.sample = file_name(params["ingest"]["source"]), params["sample"]
        self.domain = load_domain(params["domain"])
        self.folder = stage.folder / "source"
        self.folder.mkdir()
        months = list_months(stage.remote.clone / "data", self.name)
        for path in months.values():
            # Without their mark the same rows count as real ones.
            table = pq.read_table(path).replace_schema_metadata(None)
            path.unlink()
            pq.write_table(table, path)
        self.newest = max(months)
        ingest = {"source": f"{self.folder}/{self.name}"}
        changes = {"ingest": ingest, "retrain": {"cooldown_days": 0, "max_per_month": 9}}
        change_main(stage, changes, "dvc add --quiet data", "lifecycle.reproduce", "dvc push --quiet")

    def release(self) -> Path:
        """Let the next month come out."""
        year, month = map(int, self.newest.split("-"))
        self.newest = f"{year + month // 12}-{month % 12 + 1:02d}"
        path = self.folder / self.name.format(month=self.newest)
        table = self.domain.generate_month(self.newest, self.sample["rows_per_month"], self.sample["seed"])
        pq.write_table(table.replace_schema_metadata(None), path)
        return path


def list_branches(stage: Stage) -> str:
    """List the remote's branches and their commits."""
    return call_git(stage.remote.bare, "show-ref", "--heads")


def list_open(stage: Stage) -> list[dict[str, Any]]:
    """List the open pull requests of retraining."""
    own = [pull for pull in stage.github.pulls if pull["head"]["ref"].startswith("retrain/")]
    return [pull for pull in own if pull["state"] == "open"]


def rehearse_retrain(stage: Stage) -> None:
    """Months come out: a broken one, the same one mended and twice, and one whose model the gate refuses."""
    stage.github.remote = stage.remote.bare
    stage.remote.check_out("origin/main")
    schedule = events.schedule(stage.github.full_name, "41 4 * * *")
    stage.play("no prediction log", "monitor.yml", schedule, "success skipped skipped skipped")
    branch = events.workflow_dispatch(
        stage.github.full_name, "retrain.yml", {"cause": "drift"}, ref="refs/heads/other"
    )
    stage.play("retraining of a branch", "retrain.yml", branch, "skipped skipped skipped")
    source = Source(stage)
    path = source.release()
    rehearse_broken(stage, path)
    first = rehearse_good(stage, source.newest)
    rehearse_refused(stage, source, first)


def rehearse_broken(stage: Stage, path: Path) -> None:
    """A month is cut off: a comment says so, and nothing else happens; then it is whole again."""
    repository, whole = stage.github.full_name, path.read_bytes()
    path.write_bytes(whole[:1000])
    branches, pulls = list_branches(stage), len(stage.github.pulls)
    stage.remote.check_out("origin/main")
    event = events.schedule(repository, "23 5 4 * *")
    found = stage.play("broken month", "retrain.yml", event, "failure skipped success")
    (issue,) = stage.github.issues
    comments = [comment["body"] for comment in stage.github.comments[issue["number"]]]
    stage.expect("one comment names the reason", len(comments) == 1 and "is no complete parquet file" in comments[0])
    stage.expect("the log names the reason", "ContractError: " in found.find_job("retrain").log)
    stage.expect("main, its data and the store are as they were", list_branches(stage) == branches)
    stage.expect("no pull request was opened", len(stage.github.pulls) == pulls)
    path.write_bytes(whole)


def rehearse_good(stage: Stage, month: str) -> dict[str, Any]:
    """Two triggers at once, of which GitHub lets the second one wait, make one pull request with checks that pass."""
    repository, started = stage.github.full_name, len(stage.github.dispatches)
    main = stage.remote.find("main")
    alarm = events.repository_dispatch(repository, "retrain", {"alarm": "live-error"})
    button = events.workflow_dispatch(repository, "retrain.yml", {"cause": "drift"})
    stage.play("new month, by alarm", "retrain.yml", alarm, PROPOSED)
    stage.play("the same month, by monitor", "retrain.yml", button, NOTHING)
    (pull,) = list_open(stage)
    branch = pull["head"]["ref"]
    stage.expect("its title names the month", month in pull["title"])
    stage.expect("its text names the cause", "repository_dispatch" in pull["body"])
    stage.expect("it has its label, and is no draft", pull["labels"] == [{"name": "retrain"}] and not pull["draft"])
    checks = [(run["workflow"], run["ref"]) for run in stage.github.dispatches[started:]]
    stage.expect("its checks were started", checks == [("check.yml", branch), ("train.yml", branch)])
    stage.expect("main is as it was", stage.remote.find("main") == main)
    rehearse_checks(stage, pull)
    return pull


def rehearse_checks(stage: Stage, pull: dict[str, Any], title: str = "retrained branch") -> None:
    """The checks that were started on a branch pass, and the report arrives."""
    repository, branch = stage.github.full_name, pull["head"]["ref"]
    stage.remote.check_out(f"origin/{branch}")
    dispatched = events.workflow_dispatch(repository, "train.yml", {}, ref=f"refs/heads/{branch}")
    stage.play(title, "train.yml", dispatched, " ".join(["success"] * 4))
    stage.remote.check_out("origin/main")
    finished = events.workflow_run(pull, "Train", "success", stage.runs, "workflow_dispatch")
    stage.play(title, "report.yml", finished, "success")
    comments = stage.github.comments.get(pull["number"], [])
    first = [comment["body"].partition("\n")[0] for comment in comments]
    stage.expect("the report is its one comment", len(first) == 1 and "pass" in first[0])


def rehearse_refused(stage: Stage, source: Source, former: dict[str, Any]) -> None:
    """The gate asks for more than any model gives: the next month's pull request is a draft, and the only one."""
    gate = yaml.safe_load((stage.remote.clone / "params.yaml").read_text(encoding="utf-8"))["gate"]
    change_main(stage, {"gate": {"limits": dict.fromkeys(gate["limits"], 0.999), "max_size_mb": 0.001}})
    source.release()
    event = events.schedule(stage.github.full_name, "23 5 4 * *")
    stage.play("refused challenger", "retrain.yml", event, PROPOSED)
    opened = list_open(stage)
    stage.expect("one pull request is left, and a draft", len(opened) == 1 and opened[0]["draft"])
    stage.expect("it says why", "- refused: " in opened[0]["body"] and "max_size_mb" in opened[0]["body"])
    stage.expect("the former one is closed", former["state"] == "closed")
    # What is played next is judged as before.
    change_main(stage, {"gate": gate})
