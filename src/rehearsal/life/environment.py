"""The environment that the rehearsal makes on loopback, each step with the keys of the role that it is for."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import boto3

from lifecycle.errors import RefusedError
from rehearsal.cloud.server import ACCOUNT, Cloud
from rehearsal.terraform import (
    BACKEND,
    BOOTSTRAP,
    COMMON,
    LOCAL_STATE,
    NAME,
    QUICK_BOOTSTRAP,
    QUICK_ROOT,
    UNPROTECTED,
    USUAL,
    call_terraform,
    copy_infra,
    empty_bucket,
    init,
    name_variables,
    run_terraform,
)

CALLER, DEPLOY, MONITOR, PLAN = (f"{NAME}-{role}" for role in ("caller", "deploy-staging", "monitor", "plan"))


@dataclass(frozen=True)
class Environment:
    """Staging: the cloud, the copy of infra that it was made with, and the arguments for Terraform."""

    cloud: Cloud
    infra: Path
    given: tuple[str, ...]

    def take_keys(self, role: str) -> dict[str, str]:
        """Take a role's keys, as a workflow does with its token, and give the environment that holds them."""
        asked = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}", "RoleSessionName": "rehearsal"}
        # Neither does the emulator look into the token; tests/infra/test_trust.py does.
        found = open_client("sts", self.cloud.environment).assume_role_with_web_identity(
            **asked, WebIdentityToken="a-token-of-the-run"
        )["Credentials"]
        return {
            **self.cloud.environment,
            "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
            "AWS_SESSION_TOKEN": found["SessionToken"],
        }

    def apply_twice_at_once(self) -> str:
        """Apply in two processes at the same moment; one wins, and the other's words are returned."""
        keys = self.take_keys(DEPLOY)
        init(self.infra, *BACKEND, "-backend-config=key=staging/terraform.tfstate", **keys)

        def apply(_place: int) -> CompletedProcess[str]:
            return call_terraform(self.infra, "apply", "-auto-approve", *USUAL, *self.given, **keys)

        with ThreadPoolExecutor(2) as pool:
            done = sorted(pool.map(apply, range(2)), key=lambda one: one.returncode)
        if done[0].returncode:
            raise RefusedError(f"neither apply went through: {' '.join(done[0].stderr.split())[-1500:]}")
        return done[1].stderr if done[1].returncode else ""

    def read_outputs(self) -> dict[str, Any]:
        """Read the root's outputs, as ``terraform output -json`` writes them."""
        return json.loads(run_terraform(self.infra, "output", "-json", **self.take_keys(DEPLOY)))

    def plan(self) -> str:
        """Plan as a pull request does."""
        return run_terraform(self.infra, "plan", "-lock=false", *USUAL, *self.given, **self.take_keys(PLAN))

    def take_down(self, buckets: list[str]) -> None:
        """Empty the buckets and destroy all, as a person with the account's own keys, who means it."""
        self.cloud.guard.root_allowed = True
        store = open_client("s3", self.cloud.environment)
        for bucket in buckets:
            empty_bucket(store, bucket)
        (self.infra / "end_override.tf").write_text(UNPROTECTED.format("data"), encoding="utf-8")
        asked = ("-auto-approve", "-refresh=false", *USUAL, *self.given)
        run_terraform(self.infra, "destroy", *asked, **self.cloud.environment)


def open_client(service: str, environment: Mapping[str, str]) -> Any:
    """Open a client with the keys of an environment."""
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
    )


def bootstrap(cloud: Cloud, folder: Path, python: str, first: Path) -> Environment:
    """Apply the bootstrap with the account's own keys, and let them do nothing from then on.

    Parameters
    ----------
    cloud : Cloud
    folder : Path
        Where infra is copied to.
    python : str
        The version that the model was made with.
    first : Path
        The zip file that the function is born with.
    """
    infra = copy_infra(Path("infra"), folder)
    (infra / "bootstrap/quick_override.tf").write_text(LOCAL_STATE + QUICK_BOOTSTRAP, encoding="utf-8")
    (infra / "quick_override.tf").write_text(QUICK_ROOT, encoding="utf-8")
    init(infra / "bootstrap", **cloud.environment)
    asked = ("-auto-approve", *USUAL, *name_variables(BOOTSTRAP))
    run_terraform(infra / "bootstrap", "apply", *asked, **cloud.environment)
    make_caller(cloud)
    cloud.guard.root_allowed = False
    variables = name_variables({**COMMON, "python_version": python, "bundle_file": str(first.resolve())})
    return Environment(cloud, infra, ("-var-file=staging.tfvars", *variables))


def make_caller(cloud: Cloud) -> None:
    """Make a role for those who call the function, and know later what came true."""
    iam = open_client("iam", cloud.environment)
    function = f"arn:aws:lambda:{COMMON['region']}:{ACCOUNT}:function:{NAME}-staging:*"
    labels = f"arn:aws:s3:::{NAME}-staging-logs-{ACCOUNT}/labels/*"
    allowed = {"lambda:InvokeFunction": function, "s3:PutObject": labels}
    statements = [{"Effect": "Allow", "Action": action, "Resource": what} for action, what in allowed.items()]
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.create_role(RoleName=CALLER, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
    iam.put_role_policy(RoleName=CALLER, PolicyName="call", PolicyDocument=json.dumps(policy))


def wait_for_calm(environment: Environment, seconds: float) -> list[str]:
    """Wait until no alarm goes off, and give those that still do."""
    end = time.monotonic() + seconds
    while True:
        states = environment.cloud.evaluate_alarms()
        loud = [name for name, state in states.items() if state == "ALARM"]
        if not loud or time.monotonic() > end:
            return loud
        time.sleep(0.2)
