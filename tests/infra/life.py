"""A life of an environment in which each role does all that it is for, with its own keys."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from functions import ANSWERS, PARAMS, build

from lifecycle.delivery.lease import hold_lease
from lifecycle.delivery.service import open_service
from lifecycle.deploy import deploy
from lifecycle.errors import RefusedError
from rehearsal.cloud.server import Cloud
from rehearsal.life.environment import open_client
from rehearsal.terraform import (
    BACKEND,
    BOOTSTRAP,
    COMMON,
    LOCAL_STATE,
    NAME,
    QUICK_BOOTSTRAP,
    QUICK_ROOT,
    USUAL,
    call_terraform,
    hide_keys,
    name_variables,
    run_terraform,
)
from tests.infra.terraform import ROOT, connect, copy_infra, init

PREFIX = f"{NAME}-staging"
DEPLOY, PLAN, DATA, MONITOR = (f"{NAME}-{role}" for role in ("deploy-staging", "plan", "data", "monitor"))
# Both answer with what the roles of the function, of the subscription and of the delivery are for.
LOGGED = "print(json.dumps({'kind': 'prediction', 'prediction': 1.0}))"
SETTINGS = {
    "log_retention_days": "14",
    "max_errors": "3",
    "max_latency_ms": "1500",
    "max_live_error": "8",
    "memory_mb": "512",
    "timeout_seconds": "7",
}
# What a merged change of these files may be, beside the settings: file -> old and new text.
EDITS = {
    "retraining.tf": ("limit_per_second = 1", "limit_per_second = 2"),
    "alarms.tf": ('name = "${local.prefix}-alarms"', 'name = "${local.prefix}-alarms"\n  display_name = "Alarms"'),
    "function.tf": (
        'authorization_type = "AWS_IAM"',
        'authorization_type = "AWS_IAM"\n  cors {\n    allow_origins = ["https://example.com"]\n  }',
    ),
    "predictions.tf": ("buffering_interval  = 300", "buffering_interval  = 600"),
    "terraform.tf": ('ManagedBy   = "terraform"', 'ManagedBy   = "terraform"\n      Changed     = "yes"'),
}


@dataclass(frozen=True)
class Life:
    """The emulator, a copy of infra and a store of data."""

    cloud: Cloud
    infra: Path
    store: Path
    variables: tuple[str, ...]

    def take_keys(self, role: str) -> dict[str, str]:
        """Take a role's keys, as a workflow does with its token, and give the environment that holds them."""
        client = self.open_client("sts")
        asked = {"RoleArn": f"arn:aws:iam::{COMMON['account_id']}:role/{role}", "RoleSessionName": "life"}
        keys = client.assume_role_with_web_identity(**asked, WebIdentityToken="the-emulator-reads-none")[
            "Credentials"
        ]
        return {
            **self.cloud.environment,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def open_client(self, service: str, environment: Mapping[str, str] | None = None) -> Any:
        """Open a client with the keys of an environment, by default the account's own."""
        return open_client(service, environment or self.cloud.environment)

    def plan(self) -> subprocess.CompletedProcess[str]:
        """Plan the root as a pull request does."""
        asked = ("plan", "-detailed-exitcode", "-lock=false", *USUAL, *self.variables)
        return call_terraform(self.infra, *asked, **self.take_keys(PLAN))

    def apply(self, *more: str) -> None:
        """Apply the root as a deploy does."""
        asked = ("apply", "-auto-approve", *USUAL, *self.variables, *more)
        run_terraform(self.infra, *asked, **self.take_keys(DEPLOY))

    def write_outputs(self) -> Path:
        """Write what a deploy must know."""
        path = self.infra / "outputs.json"
        path.write_text(run_terraform(self.infra, "output", "-json", **self.take_keys(DEPLOY)), encoding="utf-8")
        return path

    def call_dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call DVC in the store."""
        command = [sys.executable, "-m", "dvc", *arguments]
        environment = {**hide_keys(self.take_keys(DATA)), "DVC_NO_ANALYTICS": "1"}
        # S3 for DVC wants a file that is one.
        del environment["AWS_CONFIG_FILE"]
        return subprocess.run(command, cwd=self.store, env=environment, capture_output=True, text=True, check=False)

    def call_rollback(self) -> subprocess.CompletedProcess[str]:
        """Roll back as a workflow does."""
        command = [sys.executable, "-m", "lifecycle.deploy", "--target", str(self.write_outputs()), "--rollback"]
        environment = hide_keys(self.take_keys(DEPLOY))
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    @contextmanager
    def drop(self, role: str, action: str) -> Iterator[None]:
        """Take an action out of a role's policies for a while."""
        iam = self.open_client("iam")
        self.cloud.guard.root_allowed = True
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        former = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
        for name, document in former.items():
            kept = [drop_action(statement, action) for statement in document["Statement"]]
            changed = {**document, "Statement": [statement for statement in kept if statement["Action"]]}
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(changed))
        self.cloud.guard.root_allowed = False
        yield
        self.cloud.guard.root_allowed = True
        for name, document in former.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        self.cloud.guard.root_allowed = False


def drop_action(statement: dict[str, Any], action: str) -> dict[str, Any]:
    """Give a statement without one of its actions."""
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    return {**statement, "Action": [each for each in actions if each != action]}


def begin(cloud: Cloud, folder: Path) -> Life:
    """Apply the bootstrap with the account's own keys, which may do nothing from then on."""
    infra = copy_infra(folder)
    (infra / "bootstrap/life_override.tf").write_text(LOCAL_STATE + QUICK_BOOTSTRAP, encoding="utf-8")
    (infra / "life_override.tf").write_text(QUICK_ROOT, encoding="utf-8")
    init(infra / "bootstrap", **cloud.environment)
    given = [*USUAL, *name_variables(BOOTSTRAP), '-var=environments=["staging"]']
    run_terraform(infra / "bootstrap", "apply", "-auto-approve", *given, **cloud.environment)
    retraining = connect(open_client("events", cloud.environment), "staging")
    cloud.guard.root_allowed = False
    first = build(infra, "v1.0.0", fault=LOGGED)
    given = name_variables({**COMMON, **retraining, "python_version": "3.11", "bundle_file": first.path.name})
    variables = ("-var-file=staging.tfvars", "-var=handler=service.handle", *given)
    return Life(cloud, infra, make_store(folder / "store"), variables)


def make_store(folder: Path) -> Path:
    """Make a repository whose data, a file and a folder, lie in the data bucket."""
    (folder / "months").mkdir(parents=True)
    (folder / "model").write_text("weights", encoding="utf-8")
    (folder / "months/one").write_text("rows", encoding="utf-8")
    for command in (
        "git init -q",
        "dvc init -q",
        "dvc add -q model months",
        f"dvc remote add -q -d store s3://{PREFIX}-data-{COMMON['account_id']}/dvc",
        "dvc remote modify store verify true",
    ):
        program = ["git"] if command.startswith("git") else [sys.executable, "-m", "dvc"]
        subprocess.run([*program, *command.split()[1:]], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def live(life: Life) -> None:
    """Let each role do what it is for."""
    init(life.infra, *BACKEND, "-backend-config=key=staging/terraform.tfstate", **life.take_keys(DEPLOY))
    life.apply()
    expire(life)
    done = life.plan()
    assert (done.returncode, "No changes." in done.stdout) == (0, True), done.stdout + done.stderr
    deploy_releases(life)
    watch(life)
    keep_data(life)
    for name, (old, new) in EDITS.items():
        text = (life.infra / name).read_text(encoding="utf-8")
        assert old in text
        (life.infra / name).write_text(text.replace(old, new), encoding="utf-8")
    life.apply(*name_variables(SETTINGS))


def expire(life: Life) -> None:
    """Ask what Terraform would: it waits for most of a minute to see it again, which test_apply does once."""
    rule = {"ID": "retention", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    life.open_client("s3", life.take_keys(DEPLOY)).put_bucket_lifecycle_configuration(
        Bucket=f"{PREFIX}-logs-{COMMON['account_id']}", LifecycleConfiguration={"Rules": [rule]}
    )


def deploy_releases(life: Life) -> None:
    """Deploy a sound release and one that is refused, which is removed; and roll back."""
    outputs = json.loads(life.write_outputs().read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in life.take_keys(DEPLOY).items():
            patch.setenv(name, value)
        service = open_service({name: output["value"] for name, output in outputs.items()})
        release = build(life.infra, "v1.1.0", fault=LOGGED)
        deploy(service, release, ANSWERS, PARAMS)
        done = life.call_rollback()
        assert done.returncode == 0, done.stderr
        with hold_lease(service.bucket, "the life", 60):
            deploy(service, release, ANSWERS, PARAMS)
            with pytest.raises(RefusedError, match="predicts otherwise"):
                deploy(service, build(life.infra, "v1.2.0", factor=3), ANSWERS, PARAMS)
            service.remove(max(service.list_published(), key=int))
            # Who finds the lease taken reads whose it is.
            with pytest.raises(RefusedError, match="the life deploys already"), hold_lease(service.bucket, "2", 60):
                pass


def watch(life: Life) -> None:
    """Read predictions and labels and report, as the monitor does; a person's system writes the labels."""
    life.cloud.deliver_predictions()
    keys, bucket = life.take_keys(MONITOR), f"{PREFIX}-logs-{COMMON['account_id']}"
    life.cloud.guard.root_allowed = True
    life.open_client("s3", life.cloud.environment).put_object(Bucket=bucket, Key="labels/one", Body=b"{}")
    life.cloud.guard.root_allowed = False
    store = life.open_client("s3", keys)
    for prefix in ("predictions/", "labels/"):
        listed = store.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        assert store.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read()
    # More than staging.tfvars allows, so that the alarm goes off.
    data = [{"MetricName": "live_error", "Value": 11.0}]
    life.open_client("cloudwatch", keys).put_metric_data(Namespace=f"{NAME}/staging", MetricData=data)
    life.cloud.evaluate_alarms()


def keep_data(life: Life) -> None:
    """Push data, lose them and pull them, as the workflows do."""
    for command in ("push", "pull"):
        done = life.call_dvc(command)
        assert done.returncode == 0, done.stderr
        if command == "push":
            (life.store / "model").unlink()
            shutil.rmtree(life.store / "months")
            shutil.rmtree(life.store / ".dvc/cache")
    assert (life.store / "model").read_text(encoding="utf-8") == "weights"
