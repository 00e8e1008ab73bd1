"""Play the life of a service on loopback: bring it up, deploy to it under traffic, plant faults, take it down.

``make rehearse``. Prints a timeline, and a table of what callers felt of each release. Exit code 1 when anything came
out otherwise than it should.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.delivery.answers import read_answers
from lifecycle.errors import MisuseError, run
from lifecycle.paths import BUNDLE, BUNDLE_FACTS
from rehearsal.cloud.server import Cloud, serve_cloud
from rehearsal.life.deploys import Deploy, Felt, call_deploy, expect_refusal, format_table, measure
from rehearsal.life.environment import CALLER, DEPLOY, Environment, bootstrap, open_client, wait_for_calm
from rehearsal.life.model import HASTE, Repository, clone, train_next
from rehearsal.life.timeline import Timeline
from rehearsal.life.traffic import Traffic, send_traffic
from rehearsal.releases import CORRUPTED, FAULTS, make_release

# How long an alarm may take to fall silent after a bad release, with minutes of MINUTE_SECONDS.
CALM_SECONDS, MINUTE_SECONDS = 30, 2
WEIGHT = HASTE["deploy"]["canary_weight"]


@dataclass
class World:
    """What the phases share."""

    timeline: Timeline
    repository: Repository
    environment: Environment
    target: Path
    outputs: dict[str, Any]
    traffic: Traffic = field(default_factory=Traffic)
    felt: list[Felt] = field(default_factory=list)


def rehearse(cloud: Cloud, folder: Path, timeline: Timeline) -> World:
    """Play all phases; the world that is left can go on."""
    facts = json.loads(BUNDLE_FACTS.read_text(encoding="utf-8"))
    repository = clone(Path.cwd(), folder / "model")
    with ThreadPoolExecutor(1) as pool:
        timeline.begin("The cloud, and beside it the next model")
        # Training computes while Terraform waits.
        training = pool.submit(train_next, repository)
        world = raise_cloud(cloud, folder, facts["python"], repository, timeline)
        with start_traffic(world) as traffic:
            world.traffic = traffic
            deploy_first(world)
            champion = deploy_next(world, training, folder / "champion.zip")
            for place, fault in enumerate((*FAULTS, CORRUPTED)):
                deploy_bad(world, champion, f"v1.1.{place + 1}", fault)
    return world


def raise_cloud(cloud: Cloud, folder: Path, python: str, repository: Repository, timeline: Timeline) -> World:
    """Bootstrap, and apply the environment twice at once."""
    environment = bootstrap(cloud, folder, python, BUNDLE)
    timeline.say("bootstrap applied: a bucket for the state, trust in GitHub, the roles")
    timeline.say("from here on the account's own keys open nothing")
    refused = environment.apply_twice_at_once()
    timeline.say("staging applied by its deploy role: buckets, function, alarms")
    timeline.expect("Error acquiring the state lock" in refused, "two applies at once went through")
    who = re.search(r"Who:\s+(\S+)", refused)
    timeline.say(f"a second apply at once is refused: the lock is {who[1] if who else 'nobody'}'s", follows=True)
    outputs = environment.read_outputs()
    target = folder / "outputs.json"
    target.write_text(json.dumps(outputs), encoding="utf-8")
    named = {name: output["value"] for name, output in outputs.items()}
    return World(timeline, repository, environment, target, named)


@contextmanager
def start_traffic(world: World) -> Iterator[Traffic]:
    """Let callers ask from now on, with a role that may do nothing else."""
    functions = open_client("lambda", world.environment.take_keys(CALLER))
    row = read_answers(BUNDLE).rows[0]
    with send_traffic(functions, world.outputs, row) as traffic:
        yield traffic


def deploy_first(world: World) -> None:
    """Deploy the committed model, twice at once."""
    timeline = world.timeline
    timeline.begin("The committed model goes live")
    make_release(BUNDLE, world.repository.folder / "out", "v1.0.0")
    merged = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _place: start(world, merged), range(2)))
    winner, other = sorted(both, key=lambda deploy: deploy.code)
    felt = judge(world, "v1.0.0", "", winner)
    timeline.expect(felt.promoted, "the committed model was not promoted")
    timeline.say(f"a second deploy at once is refused: {other.said}", follows=True)
    timeline.expect(other.code == 1 and "deploys already" in other.said, "two deploys at once went through")


def deploy_next(world: World, training: "Future[str]", champion: Path) -> Path:
    """Merge the next model, and deploy it; keep its bundle."""
    timeline, repository = world.timeline, world.repository
    timeline.begin("The next model merges")
    timeline.say(f"{training.result()}")
    merged = time.monotonic()
    repository.must_run("lifecycle.registry", "register", "--version", "v1.1.0")
    shutil.copyfile(repository.bundle(), champion)
    timeline.say("v1.1.0 merged, registered and packed")
    felt = judge(world, "v1.1.0", "", start(world, merged))
    timeline.expect(felt.promoted and not felt.failed, f"v1.1.0 was not promoted without a failed request: {felt}")
    if felt.promoted:
        repository.promote("v1.1.0")
        timeline.say("the registry calls v1.1.0 the champion")
    return champion


def deploy_bad(world: World, champion: Path, version: str, fault: str) -> None:
    """Deploy a release with a fault, which must not stay."""
    timeline = world.timeline
    timeline.begin(f"A bad one merges: {fault}")
    make_release(champion, world.repository.folder / "out", version, fault)
    judge(world, version, fault, start(world, time.monotonic()))
    loud = wait_for_calm(world.environment, CALM_SECONDS)
    timeline.expect(not loud, f"alarms do not fall silent: {', '.join(loud)}")
    last = world.traffic.answers[-1]
    timeline.expect(last.version == "v1.1.0", f"after {version} callers are answered by {last.version}")


def judge(world: World, version: str, fault: str, deploy: Deploy) -> Felt:
    """Say what callers felt of a deploy, and whether it came out as it should."""
    # The last answers before the traffic moved are still on their way.
    time.sleep(0.5)
    felt = measure(deploy, world.traffic, version, fault, WEIGHT)
    world.felt.append(felt)
    world.timeline.say(deploy.said if fault or not felt.promoted else f"{version} promoted")
    for line in felt.describe():
        world.timeline.say(line, follows=True)
    if fault:
        wrong = expect_refusal(fault, deploy)
        world.timeline.expect(not wrong, f"{version}, {fault}: {wrong}")
    return felt


def start(world: World, merged: float) -> Deploy:
    """Start a deploy with the deploy role's keys, and wait for its end."""
    return call_deploy(world.repository, world.target, world.environment.take_keys(DEPLOY), merged)


def end(world: World) -> None:
    """Plan once more, and take everything down."""
    timeline = world.timeline
    timeline.begin("The end")
    timeline.expect("No changes." in world.environment.plan(), "a second plan changes something")
    timeline.say("second plan, by the plan role: no changes")
    refusals = world.environment.cloud.guard.refusals
    timeline.expect(not refusals, f"a role was refused: {refusals[:1]}")
    timeline.say("no role was refused what it asked for")
    world.environment.take_down([world.outputs[f"{name}_bucket"] for name in ("bundles", "data", "logs")])
    timeline.say("staging destroyed, by a person")


def main(_argv: Sequence[str] | None = None) -> None:
    """Rehearse, with the bundle that lies in out/."""
    if not BUNDLE.exists():
        raise MisuseError(f"{BUNDLE} is missing; build it with: make bundle")
    timeline = Timeline()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        with serve_cloud(Path(folder) / "cloud", minute_seconds=MINUTE_SECONDS, seed=0) as cloud:
            world = rehearse(cloud, Path(folder), timeline)
            end(world)
            print(f"\n{format_table(world.felt)}")
    timeline.close()


if __name__ == "__main__":
    run(main)
