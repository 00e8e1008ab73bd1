"""Deploys in the rehearsal: the command that a workflow calls, and what callers felt of it."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.views.terminal import align_columns
from rehearsal.life.model import Repository
from rehearsal.life.traffic import Answer, Traffic
from rehearsal.releases import CORRUPTED, SLOW_SECONDS, WRONG_BY

# What a command says before its reason.
ERROR = re.compile(r"^\w+Error: ")
STEP = re.compile(r"deploy step=(\w+)")
PROMOTED, ROLLED_BACK = "promoted", "rolled_back"
HEADER = ("version", "planted", "outcome", "asked", "failed", "canary", "weight", "first", "fault")


@dataclass
class Deploy:
    """A deploy: its steps by the moment at which they were told, and its last words."""

    begun: float
    steps: dict[str, float] = field(default_factory=dict)
    said: str = ""
    code: int = 0
    ended: float = 0.0


def call_deploy(repository: Repository, target: Path, keys: dict[str, str], begun: float) -> Deploy:
    """Deploy the bundle that lies in a repository, and listen.

    Parameters
    ----------
    repository : Repository
    target : Path
        Terraform's outputs.
    keys : dict of str to str
        The environment with the deploy's keys.
    begun : float
        When the change was merged, of ``time.monotonic``.
    """
    command = [sys.executable, "-m", "lifecycle.deploy", "--target", str(target)]
    done = Deploy(begun)
    with subprocess.Popen(
        command,
        cwd=repository.folder,
        env=repository.make_environment(**keys),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            done.said = ERROR.sub("", line.strip()) or done.said
            if step := STEP.search(line):
                done.steps[step[1]] = time.monotonic()
    done.code, done.ended = process.returncode, time.monotonic()
    return done


# A row of the table, and each of its columns is one.
@dataclass(frozen=True)
class Felt:  # pylint: disable=too-many-instance-attributes
    """What callers felt of a deploy: seconds are None where there was no such moment."""

    version: str
    fault: str
    promoted: bool
    asked: int
    failed: int
    # Of all answers while it had a share, how many were its own.
    baked: int
    answers: int
    weight: float
    first_seconds: float | None
    fault_seconds: float | None

    @property
    def share(self) -> float | None:
        """The share of the answers that were the canary's; None where it had no traffic."""
        return self.answers / self.baked if self.baked else None

    def describe(self) -> list[str]:
        """Say it, a fact a line."""
        said = [f"{self.asked} requests, {self.failed} failed"]
        if self.share is not None:
            said.append(
                f"canary: {self.answers} of {self.baked} answers, {self.share:.0%} (weight {self.weight:.0%})"
            )
        if self.first_seconds is not None:
            said.append(f"its first answer {self.first_seconds:.1f} s after the merge")
        if self.fault_seconds is not None:
            said.append(f"rolled back {self.fault_seconds:.1f} s after the first fault")
        return said

    def list_cells(self) -> tuple[str, ...]:
        """Write it as a row of the table."""
        outcome = PROMOTED if self.promoted else "rolled back" if self.share is not None else "refused"
        share = "-" if self.share is None else f"{self.share:.0%}"
        weight = "-" if self.share is None else f"{self.weight:.0%}"
        return (
            self.version,
            self.fault or "nothing",
            outcome,
            str(self.asked),
            str(self.failed),
            share,
            weight,
            _write_seconds(self.first_seconds),
            _write_seconds(self.fault_seconds),
        )


def measure(deploy: Deploy, traffic: Traffic, version: str, fault: str, weight: float) -> Felt:
    """Measure from the answers to callers what a deploy did to them.

    Parameters
    ----------
    deploy : Deploy
    traffic : Traffic
    version : str
        As the release calls itself.
    fault : str
        What was planted in it.
    weight : float
        The share that a canary should get.
    """
    answers = traffic.between(deploy.begun, deploy.ended)
    start = deploy.steps.get("canary")
    end = deploy.steps.get(PROMOTED) or deploy.steps.get(ROLLED_BACK) or deploy.ended
    baked = [answer for answer in answers if start is not None and start <= answer.at <= end]
    # Whoever crashes under the canary names no version, and nobody else fails.
    seen = [answer for answer in baked if answer.version in (version, None)]
    usual = [answer for answer in answers if answer.version not in (version, None)]
    faulty = [answer for answer in seen if is_faulty(answer, usual)] if fault else []
    rolled_back = deploy.steps.get(ROLLED_BACK)
    return Felt(
        version,
        fault,
        deploy.code == 0,
        len(answers),
        sum(answer.version is None for answer in answers),
        len(baked),
        len(seen),
        weight,
        seen[0].at - deploy.begun if seen else None,
        rolled_back - faulty[0].at if rolled_back and faulty else None,
    )


def is_faulty(answer: Answer, usual: list[Answer]) -> bool:
    """Tell whether an answer failed, came late, or is another one than the champion's."""
    expected = usual[0].prediction if usual else answer.prediction
    # A request that failed was given none.
    wrong = any(abs(one - other) > WRONG_BY / 2 for one, other in zip(answer.prediction, expected, strict=False))
    return answer.version is None or answer.seconds >= SLOW_SECONDS or wrong


def format_table(felt: list[Felt]) -> str:
    """Lay the releases out, each a row."""
    return "\n".join(align_columns([HEADER, *(one.list_cells() for one in felt)]))


def expect_refusal(fault: str, deploy: Deploy) -> str:
    """Say what is wrong with how a bad release was caught; nothing if nothing is."""
    if deploy.code == 0:
        return "it was promoted"
    if fault == CORRUPTED:
        return "it was sent" if "published" in deploy.steps else ""
    if "canary" not in deploy.steps:
        return "it was caught before it had traffic"
    return "" if ROLLED_BACK in deploy.steps else "it was not rolled back"


def _write_seconds(seconds: float | None) -> str:
    """Write seconds for the table."""
    return "-" if seconds is None else f"{seconds:.1f} s"
