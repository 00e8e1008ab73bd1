"""Deploy a bundle: publish it, try it, give it a share of the traffic, watch it, and promote it or roll back.

Every step looks first at what is there already, so that a deploy which was killed is ended by starting it again.
"""

import argparse
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lifecycle.delivery.answers import KnownAnswers, read_answers
from lifecycle.delivery.lease import hold_lease
from lifecycle.delivery.service import Service, open_service
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.runner import append_to
from lifecycle.params import DeployParams, read_params
from lifecycle.paths import BUNDLE, BUNDLE_FACTS

# As many answers make a median that one slow answer does not move.
PROBES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """What is deployed: the bundle's file, its SHA-256, and what it calls itself."""

    path: Path
    sha256: str
    name: str


def read_release(path: Path = BUNDLE, facts: Path = BUNDLE_FACTS) -> Release:
    """Read what the bundle says of itself.

    Raises
    ------
    MisuseError
        If there is no bundle.
    RefusedError
        If it was built from files that no commit holds.
    """
    try:
        described = json.loads(facts.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MisuseError(f"{facts} is missing; build the bundle with: make bundle") from error
    if described["changed"]:
        raise RefusedError(
            f"{path} was built from files that differ from commit {described['commit'][:7]}; commit them first."
        )
    return Release(path, described["sha256"], f"{described['name']}@{described['version']}")


def deploy(service: Service, release: Release, answers: KnownAnswers, params: DeployParams) -> str:
    """Bring a release to all of the traffic, or leave the traffic where it was.

    Parameters
    ----------
    service : Service
        The function and its alias.
    release : Release
    answers : KnownAnswers
        Requests whose right answers are known.
    params : DeployParams

    Returns
    -------
    str
        The version that now serves.

    Raises
    ------
    RefusedError
        If the release is not what it should be, or did not prove itself; the champion then has all of the traffic.
    """
    version = service.publish(release.path, release.sha256, release.name)
    log.info("deploy step=published version=%s release=%s", version, release.name)
    if service.read_alias().version == version:
        # Also of a function that was born with it somebody asks what it must know.
        answers.check(service, version)
        service.clear_canary()
        log.info("deploy step=nothing version=%s reason=serves already", version)
        return version
    try:
        answers.check(service, version)
        log.info("deploy step=answered version=%s requests=%d", version, len(answers.rows))
        champion = service.read_alias().version
        if answers.is_served(service, champion):
            start = service.start_canary(version, params.canary_weight)
            log.info("deploy step=canary version=%s share=%g", version, params.canary_weight)
            bake(service, version, start, answers, params)
        else:
            # It protects nobody, and its alarms would be held against the version that mends it.
            log.info("deploy step=no_canary version=%s reason=the champion, version %s, fails", version, champion)
    except RefusedError as error:
        service.clear_canary()
        log.info("deploy step=rolled_back version=%s reason=%s", version, error)
        raise
    service.promote(version)
    log.info("deploy step=promoted version=%s", version)
    return version


def bake(service: Service, version: str, start: float, answers: KnownAnswers, params: DeployParams) -> None:
    """Watch a canary until its time is over.

    Parameters
    ----------
    service : Service
    version : str
        The canary's.
    start : float
        When it got its share, in seconds since 1970; a deploy that was killed goes on from there.
    answers : KnownAnswers
    params : DeployParams

    Raises
    ------
    RefusedError
        If an alarm goes off, an answer is wrong, it fails more often or answers more slowly than the champion may, or
        somebody takes its share away.
    """
    champion = service.read_alias().version
    waits: list[float] = []
    champion_waits: list[float] = []
    while True:
        # Asked in turn, so that both are measured also where callers are few.
        waits.append(answers.check(service, version))
        champion_waits.append(answers.ask(service, champion)[1])
        if len(waits) >= PROBES:
            check_canary(0.0, median(waits), median(champion_waits), params)
        if version not in service.read_alias().weights:
            raise RefusedError(f"the share of {version} was taken away while it proved itself: it was rolled back.")
        if alarms := service.list_alarms():
            raise RefusedError(f"alarm {', '.join(alarms)} went off while {version} had a share of the traffic.")
        canary, former = service.measure(version, start), service.measure(champion, start)
        if canary.requests >= params.min_requests:
            check_canary(canary.error_share, canary.latency_ms, former.latency_ms, params)
        if time.time() - start >= params.bake_seconds:
            log.info("deploy step=baked version=%s requests=%d errors=%d", version, canary.requests, canary.errors)
            return
        time.sleep(params.poll_seconds)


def check_canary(error_share: float, latency_ms: float | None, former_ms: float | None, params: DeployParams) -> None:
    """Hold what a canary did against what it may do; pure."""
    if error_share > params.max_error_share:
        raise RefusedError(
            f"the canary failed in {error_share:.1%} of its requests; expected at most {params.max_error_share:.1%}."
        )
    if latency_ms is not None and former_ms and latency_ms > params.max_latency_ratio * former_ms:
        raise RefusedError(
            f"the canary takes {latency_ms:.1f} ms, the champion {former_ms:.1f} ms; expected at most "
            f"{params.max_latency_ratio:g} times as long."
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Deploy out/bundle.zip, or roll back to the champion before."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.deploy", description=main.__doc__)
    parser.add_argument("--target", type=Path, required=True, help="file that `terraform output -json` wrote")
    parser.add_argument("--rollback", action="store_true", help="give all traffic back to the champion before")
    arguments = parser.parse_args(argv)
    params = read_params().deploy
    service = open_service(read_target(arguments.target))
    if arguments.rollback:
        # Whoever deploys at this moment must not keep it from happening: the deploy sees it, and gives up.
        version = service.roll_back()
        release = service.name_release(version)
        append_to("GITHUB_OUTPUT", f"version={(release or '').partition('@')[2]}\n")
        print(f"all traffic is on version {version} again, {release or 'the one that the function was born with'}")
        return
    release, answers = read_release(), read_answers(BUNDLE)
    with hold_lease(service.bucket, name_holder(), params.lease_seconds):
        print(f"version {deploy(service, release, answers, params)} serves {release.name}")


def name_holder() -> str:
    """Name who deploys: the run on GitHub, or else the process here."""
    run_id = os.environ.get("GITHUB_RUN_ID")
    return f"run {run_id}" if run_id else f"process {os.getpid()}"


def read_target(path: Path) -> dict[str, Any]:
    """Read Terraform's outputs: name -> value."""
    try:
        outputs = json.loads(path.read_text(encoding="utf-8"))
        return {name: output["value"] for name, output in outputs.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MisuseError(f"{path} is not what `terraform output -json` writes: {error}.") from error


if __name__ == "__main__":
    run(main)
