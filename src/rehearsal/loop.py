"""Play the loop on loopback: callers ask, labels come late, the world shifts, and the model learns it.

``make rehearse LOOP=1``. Prints a timeline with the commands that ran, each with the workflow it stands in, and a
table of the live error in each phase. Exit code 1 when anything came out otherwise than it should.

What is simulated is the calendar: the rows of a month are asked for within seconds, and the next month follows. No
time is made up: the log holds the moment of each answer. So the monitor's window is the time since the month's first
request, in place of the days in params.yaml.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.params import read_params
from lifecycle.paths import BUNDLE, BUNDLE_FACTS
from rehearsal import github
from rehearsal.cloud.server import Cloud, serve_cloud
from rehearsal.commands import DEPLOYING, MONITORING, RETRAINING, Loop
from rehearsal.life.callers import Callers
from rehearsal.life.environment import CALLER, DEPLOY, MONITOR, open_client
from rehearsal.life.model import Repository, settle
from rehearsal.life.months import Months
from rehearsal.life.timeline import Timeline
from rehearsal.life.turns import format_turns, is_surely_better, read_turn
from rehearsal.rehearse import MINUTE_SECONDS, end, raise_cloud, start
from rehearsal.releases import make_release
from rehearsal.remote import call_git, change_params, make_remote

FIRST, RETRAINED = "v1.0.0", "v1.1.0"
# Months after the sample's newest one: the last quiet one, the first shifted one, the last one that retraining learns
# of, and those in which the retrained model is a shadow and then the champion.
QUIET, SHIFTED, LEARNT, IN_SHADOW, AFTERWARDS = 1, 2, 4, 5, 6
TARGET = Path("out/outputs.json")


def deploy(loop: Loop, version: str) -> None:
    """Deploy the bundle that lies in out/."""
    done = start(loop.world, time.monotonic())
    loop.note(DEPLOYING, "lifecycle.deploy", "--target", str(TARGET))
    loop.say(done.said)
    loop.expect(done.code == 0, f"{version} was not promoted by its deploy")


def live(loop: Loop, place: int) -> tuple[int, float]:
    """Let callers ask for a month's rows, and tell what came true; give the number of requests and their begin."""
    month, since = loop.months.name(place), time.time()
    replay = loop.months.read(month)
    requests, failed = loop.callers.ask(replay, month)
    loop.world.timeline.say(f"the callers of {month}: {requests} requests of {len(replay.target)} rows")
    loop.expect(not failed, f"{failed} requests of {month} failed")
    loop.world.environment.cloud.deliver_predictions()
    loop.callers.tell(replay, month)
    loop.say("their labels arrive after the last one")
    return requests, since


def watch(loop: Loop, since: float) -> dict[str, Any]:
    """Run the monitor on what happened since a moment."""
    now = datetime.now(UTC)
    change_params(loop.folder, {"monitor": {"window_days": (now.timestamp() - since) / 86_400}})
    until = ("--until", now.isoformat())
    try:
        loop.call(MONITORING, "lifecycle.monitor", "--target", str(TARGET), *until, keys=MONITOR)
    finally:
        call_git(loop.folder, "checkout", "--quiet", "params.yaml")
    return json.loads((loop.folder / "out/monitor.json").read_text(encoding="utf-8"))


def judge(loop: Loop, phase: str, place: int, version: str, expected: str) -> dict[str, Any]:
    """Live through a month, and let the monitor judge it and tell the issue."""
    requests, since = live(loop, place)
    report = watch(loop, since)
    turn = read_turn(report, phase, requests, version)
    loop.turns.append(turn)
    found = "; ".join([f"{report['metric']} of {version}: {turn.live} on {turn.labelled} labels", *report["reasons"]])
    loop.say(found)
    loop.expect(turn.verdict == expected, f"{phase}, the verdict is {turn.verdict} instead of {expected}")
    loop.say(loop.call(MONITORING, "lifecycle.github.issue", "show", "out/monitor.json").strip())
    return report


def play_quiet(loop: Loop) -> None:
    """The committed model goes live, and does what was tested."""
    loop.world.timeline.begin("The committed model goes live, and a quiet month passes")
    make_release(BUNDLE, loop.folder / "out", FIRST)
    deploy(loop, FIRST)
    judge(loop, "quiet", QUIET, FIRST, "ok")
    loop.expect(not loop.github.dispatches, "the quiet month started something")


def play_shift(loop: Loop) -> None:
    """The world shifts, and the monitor starts retraining."""
    loop.world.timeline.begin("The world shifts")
    judge(loop, "shifted", SHIFTED, FIRST, "degraded")
    started = [(run["workflow"], run["inputs"]) for run in loop.github.dispatches]
    loop.expect(started == [(RETRAINING, {"cause": "degraded"})], f"the monitor started {started}")


def play_retraining(loop: Loop) -> None:
    """Months come out at the source, and a pull request with the retrained model merges.

    Raises
    ------
    RefusedError
        If retraining finds nothing to do.
    """
    loop.world.timeline.begin("Months come out, and retraining proposes what it learnt of them")
    for place in range(QUIET, LEARNT + 1):
        loop.months.write(loop.months.name(place), loop.months.folder.parent / "source")
    if (said := loop.call(RETRAINING, "lifecycle.retrain")).startswith("nothing to do"):
        raise RefusedError(f"retraining has {said.strip()}")
    loop.call(RETRAINING, "dvc", "push")
    loop.call(RETRAINING, "lifecycle.github.results", "pack")
    proposing = ("lifecycle.github.proposal", "out/results.tar", "out/report.json")
    loop.say(loop.call(RETRAINING, *proposing, CAUSE="degraded").strip())
    (pull,) = loop.github.pulls
    report = json.loads((loop.folder / "out/report.json").read_text(encoding="utf-8"))
    loop.say(f'"{pull["title"]}"; the gate: {report["outcome"]}')
    loop.expect(report["outcome"] == "pass" and not pull["draft"], "the gate does not let the retrained model pass")
    loop.remote.push_main(loop.remote.merge(pull["head"]["ref"], pull["number"]))
    pull["state"] = "closed"
    loop.world.timeline.say(f"a person merges pull request {pull['number']}")


def play_shadow(loop: Loop) -> None:
    """The merged model predicts beside the champion, until the labels decide."""
    timeline = loop.world.timeline
    timeline.begin("The retrained model serves as shadow")
    loop.say(loop.call(DEPLOYING, "lifecycle.github.versions", "register").strip())
    loop.call(DEPLOYING, "dvc", "pull", "out/model.onnx")
    loop.call(DEPLOYING, "lifecycle.reproduce", "--prepare")
    loop.say(loop.call(DEPLOYING, "lifecycle.gate").strip().splitlines()[-1].strip())
    loop.call(DEPLOYING, "lifecycle.github.comparison", "fetch")
    loop.call(DEPLOYING, "lifecycle.bundle")
    deploy(loop, f"{FIRST} with {RETRAINED}")
    requests, since = live(loop, IN_SHADOW)
    report = watch(loop, since)
    loop.call(MONITORING, "lifecycle.compare", "--waiting", "--target", str(TARGET), keys=MONITOR)
    record = json.loads((loop.folder / "out/decision.json").read_text(encoding="utf-8"))
    loop.say(f"{record['decision']} after {record['requests']} requests; left out: {record['left_out']}")
    loop.turns += [read_turn(report, "shadow", requests, FIRST)]
    loop.turns += [read_turn(report, "shadow", requests, RETRAINED, record["decision"])]
    loop.expect(report["verdict"] == "degraded", f"beside the shadow the verdict is {report['verdict']}")
    loop.expect(record["decision"] == "promote", f"the labels decide {record['decision']} instead of promote")
    loop.say(loop.call(MONITORING, "lifecycle.github.comparison", "keep", "out/decision.json").strip())
    loop.expect(loop.github.dispatches[-1]["workflow"] == DEPLOYING, "the decision started no deploy")


def play_promotion(loop: Loop) -> None:
    """The retrained model is promoted, and the error has fallen."""
    loop.world.timeline.begin("The retrained model takes over")
    loop.call(DEPLOYING, "lifecycle.github.comparison", "fetch")
    loop.call(DEPLOYING, "lifecycle.bundle")
    deploy(loop, RETRAINED)
    loop.say(loop.call(DEPLOYING, "lifecycle.github.versions", "promote", RETRAINED).strip())
    report = judge(loop, "retrained", AFTERWARDS, RETRAINED, "ok")
    turns = {turn.phase: turn for turn in loop.turns}
    fell = is_surely_better(turns["retrained"], turns["shifted"], report["metric"])
    loop.expect(fell, f"{report['metric']} is not surely better than before retraining")
    loop.say(loop.call(DEPLOYING, "lifecycle.github.versions", "retire").strip())
    loop.say(loop.call(DEPLOYING, "lifecycle.retire", "--target", str(TARGET), keys=DEPLOY).strip())


@contextmanager
def open_loop(cloud: Cloud, folder: Path, timeline: Timeline) -> Iterator[Loop]:
    """Bring cloud, repository and GitHub up."""
    params, remote = read_params(), make_remote(Path.cwd(), folder)
    months = Months(folder / "months", params, SHIFTED)
    timeline.begin("The cloud, and beside it the repository")
    with ThreadPoolExecutor(1) as pool:
        # Terraform waits most of the time.
        settling = pool.submit(settle, remote, f"{folder}/source/{Path(params.ingest.source).name}")
        python = json.loads(BUNDLE_FACTS.read_text(encoding="utf-8"))["python"]
        world = raise_cloud(cloud, folder, python, Repository(remote.clone), timeline)
        settling.result()
    shutil.copy(world.target, remote.clone / TARGET)
    world.target = TARGET
    keys = world.environment.take_keys(CALLER)
    callers = Callers(open_client("lambda", keys), open_client("s3", keys), world.outputs)
    own = github.Repository(remote=remote.bare)
    with github.serve_github(own, folder) as spoken:
        yield Loop(world, remote, own, spoken, months, callers)


def main(_argv: Sequence[str] | None = None) -> None:
    """Play the loop, with the bundle that lies in out/."""
    if not BUNDLE.exists():
        raise MisuseError(f"{BUNDLE} is missing; build it with: make bundle")
    if not shutil.which("gh"):
        raise MisuseError("gh is not on the PATH, and the workflows' commands ask GitHub through it; install it.")
    timeline = Timeline()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        folder = Path(name)
        with (
            serve_cloud(folder / "cloud", minute_seconds=MINUTE_SECONDS, seed=0) as cloud,
            open_loop(cloud, folder, timeline) as loop,
        ):
            for play in (play_quiet, play_shift, play_retraining, play_shadow, play_promotion):
                play(loop)
            end(loop.world)
            print(f"\n{format_turns(loop.turns)}")
    timeline.close()


if __name__ == "__main__":
    run(main)
