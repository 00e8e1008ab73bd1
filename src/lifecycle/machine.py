"""Start a machine of one's own that trains, and sweep up what was left running.

CML starts it on EC2, registers it under the label that the repository's variable RUNNER names, and stops it when no
job came for a while. What it forgets, the sweep ends: machines with this repository's tag, older than the cap.
"""

import argparse
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.runner import append_to
from lifecycle.params import MachineParams, read_params

# Its value is the repository, as owner/name.
TAG = "lifecycle-runner"
# Where a machine still costs something.
STATES = ("pending", "running", "stopping", "stopped")


def read_variable(name: str, pattern: str) -> str:
    """Read a variable of the environment that a workflow sets.

    Raises
    ------
    MisuseError
        If it is not of the form expected.
    """
    value = os.environ.get(name, "")
    if not re.fullmatch(pattern, value, re.ASCII):
        raise MisuseError(f"{name} is {value[:50]!r}; expected {pattern}. The workflow Runner sets it.")
    return value


def write_launch(params: MachineParams, repository: str, region: str, label: str, group: str) -> list[str]:
    """Write the command that starts a machine.

    Parameters
    ----------
    params : MachineParams
    repository : str
        As owner/name.
    region : str
        Of AWS.
    label : str
        By which jobs ask for the machine.
    group : str
        Name of a security group, without which CML would make one that lets everybody in.

    Returns
    -------
    list of str
        Without the token, which stands in the environment.
    """
    return [
        *("cml", "runner", "launch", "--cloud=aws", "--reuse", "--no-retry"),
        f"--cloud-region={region}",
        f"--cloud-type={params.instance_type}",
        f"--cloud-hdd-size={params.disk_gb}",
        f"--cloud-metadata={TAG}={repository}",
        f"--labels={label}",
        f"--cloud-aws-security-group={group}",
        f"--idle-timeout={params.idle_seconds}",
    ]


def launch(params: MachineParams) -> None:
    """Start a machine, unless one with the label is there already.

    Raises
    ------
    MisuseError
        If what the workflow sets, or the token, is missing.
    RefusedError
        If it does not start.
    """
    repository = read_variable("GITHUB_REPOSITORY", r"[\w.-]+/[\w.-]+")
    region, label = read_variable("AWS_REGION", r"[a-z0-9-]+"), read_variable("LABEL", r"[\w.-]+")
    group = read_variable("SECURITY_GROUP", r"[\w.-]+")
    if not os.environ.get("REPO_TOKEN"):
        raise MisuseError("REPO_TOKEN is not set; the secret RUNNER_TOKEN of the environment runner must hold it.")
    command = write_launch(params, repository, region, label, group)
    try:
        done = subprocess.run(command, env={**os.environ, "ITERATIVE_DO_NOT_TRACK": "1"}, check=False)
    except FileNotFoundError as error:
        raise MisuseError("cml is not installed; npm install --global @dvcorg/cml@0.20.6") from error
    if done.returncode:
        raise RefusedError(f"cml started no machine and ended with {done.returncode}; the lines above say why.")


def list_machines(client: Any, repository: str) -> Iterator[tuple[str, datetime]]:
    """List a repository's machines that still cost something, and when each was started."""
    filters = [{"Name": f"tag:{TAG}", "Values": [repository]}, {"Name": "instance-state-name", "Values": [*STATES]}]
    for page in client.get_paginator("describe_instances").paginate(Filters=filters):
        for machine in (one for group in page["Reservations"] for one in group["Instances"]):
            # Nothing is ended on the word of a filter alone.
            if {"Key": TAG, "Value": repository} in machine.get("Tags", []):
                yield machine["InstanceId"], machine["LaunchTime"]


def sweep(client: Any, repository: str, max_hours: float, now: datetime) -> list[str]:
    """End a repository's machines that are older than the cap.

    Parameters
    ----------
    client : object
        boto3's, of EC2.
    repository : str
        As owner/name.
    max_hours : float
    now : datetime

    Returns
    -------
    list of str
        What became of each of its machines.

    Raises
    ------
    RefusedError
        If machines cannot be listed, or one cannot be ended; the others are.
    """
    said, left = [], []
    try:
        machines = sorted(list_machines(client, repository), key=lambda one: one[1])
    except (BotoCoreError, ClientError) as error:
        raise RefusedError(f"the machines cannot be listed: {error}") from error
    for name, started in machines:
        hours = (now - started) / timedelta(hours=1)
        if hours < max_hours:
            said.append(f"{name}: runs for {hours:.1f} h, and may for {max_hours:g}")
            continue
        try:
            client.terminate_instances(InstanceIds=[name])
            said.append(f"{name}: ended after {hours:.1f} h; max_hours is {max_hours:g}")
        except (BotoCoreError, ClientError) as error:
            left.append(f"{name}: {error}")
    if left:
        raise RefusedError(f"not ended: {'; '.join(left)}. End them by hand. The others: {'; '.join(said) or 'none'}")
    return said


def main(argv: Sequence[str] | None = None) -> None:
    """Start a machine that trains, or end those that were left running."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.machine", description=main.__doc__)
    parser.add_argument("command", choices=["launch", "sweep"])
    command, params = parser.parse_args(argv).command, read_params().machine
    if command == "launch":
        launch(params)
        return
    repository = read_variable("GITHUB_REPOSITORY", r"[\w.-]+/[\w.-]+")
    said = sweep(boto3.client("ec2"), repository, params.max_hours, datetime.now(UTC)) or ["no machine is there"]
    append_to("GITHUB_STEP_SUMMARY", "".join(f"- {line}\n" for line in said))
    print("\n".join(said))


if __name__ == "__main__":
    run(main)
