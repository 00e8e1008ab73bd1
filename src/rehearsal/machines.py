"""What the workflow that starts machines does: by a button one is started, and each hour the old ones are ended."""

import json
from typing import Any

from lifecycle.machine import STATES, TAG
from rehearsal import events
from rehearsal.cloud.server import ACCOUNT, Cloud, serve_cloud
from rehearsal.life.environment import open_client
from rehearsal.retraining import change_main
from rehearsal.stage import SECRETS, Stage

ROLES = {
    "AWS_SWEEP_ROLE": ("ec2:DescribeInstances", "ec2:TerminateInstances"),
    # What stands in for CML asks for less than CML does.
    "AWS_RUNNER_ROLE": ("ec2:DescribeInstances", "ec2:RunInstances", "ec2:CreateTags"),
}


def create_roles(cloud: Cloud) -> dict[str, str]:
    """Create the roles, and give the variables that name them."""
    iam, found = open_client("iam", cloud.environment), {}
    for name, actions in ROLES.items():
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
        )
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document)
        found[name] = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return found


def list_machines(cloud: Cloud) -> list[dict[str, Any]]:
    """List the machines that cost something."""
    states = [{"Name": "instance-state-name", "Values": [*STATES]}]
    groups = open_client("ec2", cloud.environment).describe_instances(Filters=states)["Reservations"]
    return [machine for group in groups for machine in group["Instances"]]


def rehearse_runner(stage: Stage) -> None:
    """Nothing is set; then a person starts a machine; then it is too old, and another one beside it is not ours."""
    stage.remote.check_out("origin/main")
    button = events.workflow_dispatch(stage.github.full_name, "runner.yml", {})
    stage.play("no account", "runner.yml", button, "skipped skipped")
    with serve_cloud(stage.folder / "machines") as cloud:
        keyless = {key: value for key, value in cloud.environment.items() if "KEY" not in key}
        variables = {"AWS_REGION": cloud.environment["AWS_REGION"], "RUNNER": "big", "RUNNER_GROUP": "closed"}
        variables |= create_roles(cloud)
        found = stage.play("a person wants a machine", "runner.yml", button, "success success", keyless, variables)
        stage.expect("no token is in the log", SECRETS["RUNNER_TOKEN"] not in found.find_job("launch").log)
        machines = list_machines(cloud)
        stage.expect("one machine has the tag", [read_tag(one) for one in machines] == [stage.github.full_name])
        open_client("ec2", cloud.environment).run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
        change_main(stage, {"machine": {"max_hours": 1e-6}})
        hour = events.schedule(stage.github.full_name, "17 * * * *")
        stage.play("an hour later", "runner.yml", hour, "success skipped", keyless, variables)
        stage.expect("the other machine alone is left", [read_tag(one) for one in list_machines(cloud)] == [None])


def read_tag(machine: dict[str, Any]) -> str | None:
    """Read whose machine it is."""
    return next((tag["Value"] for tag in machine.get("Tags", []) if tag["Key"] == TAG), None)
