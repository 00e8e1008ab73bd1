"""What monitor.yml makes of a log: a challenger that won is deployed, and degradation starts retraining."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.data.months import file_name, list_months
from lifecycle.params import read_params
from rehearsal import events
from rehearsal.life.model import Repository
from rehearsal.remote import call_git
from rehearsal.replay import write_days
from rehearsal.retraining import change_main
from rehearsal.stage import Stage

FEW_TREES, MORE_TREES = 20, 80
SLOWER = 1.3
LOGS = ("predictions", "labels")


def rehearse_monitor(stage: Stage) -> None:
    """Champion and challenger predict the same requests until the labels decide; then the world slows down."""
    stage.github.remote = stage.remote.bare
    log = stage.folder / "log"
    champion = train(stage, FEW_TREES)
    Repository(stage.remote.clone).must_run("lifecycle.github.versions", "promote", champion)
    before = {kind: list(replay(stage, kind)) for kind in LOGS}
    challenger = train(stage, MORE_TREES, deploy={"challenge": True})
    beside = [{**line, "variant": "shadow"} for line in replay(stage, "predictions")]
    now = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
    for kind, lines in {"predictions": [*before["predictions"], *beside], "labels": before["labels"]}.items():
        write_days([line | now for line in lines], log / kind, "rehearsed")
    addresses = {kind.upper(): str(log / kind) for kind in LOGS}
    schedule = events.schedule(stage.github.full_name, "41 4 * * *")
    stage.remote.check_out("origin/main")
    title = "challenger that won"
    stage.play(title, "monitor.yml", schedule, "skipped success success success", variables=addresses)
    stage.expect("the decision is kept next to the version", '"decision": "promote"' in read_note(stage, challenger))
    stage.expect(
        "its deploy was started", [run["workflow"] for run in stage.github.dispatches][-1:] == ["deploy.yml"]
    )
    stage.expect("the issue says ok", stage.github.issues[-1]["body"].startswith("## ok"))
    write_days(
        [line | now | {"label": SLOWER * line["label"]} for line in before["labels"]], log / "labels", "rehearsed"
    )
    stage.play("degradation", "monitor.yml", schedule, "skipped success success skipped", variables=addresses)
    started = [(run["workflow"], run["inputs"]) for run in stage.github.dispatches[-1:]]
    stage.expect("retraining was started", started == [("retrain.yml", {"cause": "degraded"})])
    stage.expect("the same issue says degraded", stage.github.issues[-1]["body"].startswith("## degraded"))
    rehearse_status(stage)


def rehearse_status(stage: Stage) -> None:
    """The status page is written from the monitor's last report, and published where Pages are switched on."""
    run = {"path": ".github/workflows/monitor.yml", "id": stage.runs, "status": "completed", "event": "schedule"}
    here = {"head_branch": "main", "head_repository": {"full_name": stage.github.full_name}}
    stage.github.runs.append({**run, **here})
    pressed = events.workflow_dispatch(stage.github.full_name, "status.yml", {})
    stage.play("status without Pages", "status.yml", pressed, "success skipped")
    stage.play("status with Pages", "status.yml", events.describe(pressed, has_pages=True), "success success")
    page = stage.folder / "store/pages/index.html"
    stage.expect("the page says degraded", page.is_file() and "degraded" in page.read_text(encoding="utf-8"))


def train(stage: Stage, trees: int, **changes: dict[str, Any]) -> str:
    """Train a model on main, and register it; give its version."""
    small = {"train": {"max_iter": trees, "folds": 2}, "evaluate": {"resamples": 50}}
    change_main(stage, {**small, **changes}, "lifecycle.reproduce", "dvc push --quiet")
    return Repository(stage.remote.clone).must_run("lifecycle.github.versions", "register").strip().partition("@")[2]


def replay(stage: Stage, kind: str) -> Iterator[dict[str, Any]]:
    """Let the clone's model predict its test month, each row in a request of its own; give the lines of a log."""
    folder = stage.folder / "replayed"
    months = list_months(stage.remote.clone / "data", file_name(read_params().ingest.source))
    Repository(stage.remote.clone).must_run("rehearsal.replay", str(months[max(months)]), str(folder))
    for path in sorted((folder / kind).rglob("*.gz")):
        for line in map(json.loads, gzip.decompress(path.read_bytes()).splitlines()):
            yield {**line, "request_id": f"{line['request_id']}-{line['row']}", "row": 0}


def read_note(stage: Stage, version: str) -> str:
    """Read the decisions that the remote has next to a version; empty where there are none."""
    commit = call_git(stage.remote.bare, "rev-parse", f"{read_params().registry.name}@{version}^{{commit}}")
    noted = call_git(stage.remote.bare, "for-each-ref", "refs/notes/decisions")
    return call_git(stage.remote.bare, "notes", "--ref=decisions", "show", commit) if noted else ""
