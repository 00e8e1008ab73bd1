"""Planning and applying an environment: what is said of a plan, and that nothing but the approved one is applied."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from conftest import ROOT as REPOSITORY
from conftest import run_here
from moto.server import ThreadedMotoServer
from readings import write_params

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.infra import OUTPUTS, PLAN, Change, main, name_variables, read_changes, write_summary
from rehearsal.cloud.server import make_environment
from tests.tools import require_tool

# As small as an environment can be: it takes what the real one takes.
ROOT = """
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
  backend "s3" {
    use_lockfile = true
  }
}
variable "account_id" {}
variable "region" {}
variable "name" {}
variable "python_version" {}
variable "bundle_key" {}
variable "title" {}
resource "aws_sns_topic" "alarms" {
  name         = "${var.name}-alarms"
  display_name = var.title
}
output "topic" {
  value = aws_sns_topic.alarms.name
}
"""


def make_change(address: str, *actions: str, **after: Any) -> dict[str, Any]:
    """Make a change as Terraform writes it."""
    return {"address": address, "change": {"actions": list(actions), "before": None, "after": after}}


def test_changes_are_told_by_verb_and_losses_come_first() -> None:
    changes, _ = read_changes(
        {
            "resource_changes": [
                make_change("a.same", "no-op"),
                make_change("a.data", "read"),
                make_change("a.new", "create"),
                make_change("b.other", "update"),
                make_change("c.gone", "delete"),
                make_change("d.again", "delete", "create"),
            ]
        }
    )

    assert changes == [
        Change("c.gone", "destroy"),
        Change("d.again", "replace"),
        Change("a.new", "create"),
        Change("b.other", "change"),
    ]


def test_digest_knows_values_and_the_summary_shows_none() -> None:
    plans = [{"resource_changes": [make_change("a.key", "create", secret=secret)]} for secret in ("one", "two")]
    changes, digest = read_changes(plans[0])

    assert digest == read_changes(plans[0])[1]
    assert digest != read_changes(plans[1])[1]
    summary = write_summary("staging: 1 to create", changes, digest)
    assert "| create | `a.key` |" in summary
    assert "one" not in summary


def test_unknown_environment_and_missing_plan_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/staging.tfvars").touch()

    with pytest.raises(MisuseError, match="no environment 'test'; expected one of staging"):
        main(["plan", "test"])
    with pytest.raises(MisuseError, match="lifecycle.infra plan staging"):
        main(["apply", "staging"])


def test_connection_for_retraining_is_handed_on_with_the_repository_and_left_out_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/environment.json").write_text('{"python": "3.11"}', encoding="utf-8")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/model")

    monkeypatch.setenv("RETRAIN_CONNECTION", "")
    without = name_variables({})
    monkeypatch.setenv("RETRAIN_CONNECTION", "arn:aws:events:one")
    given = name_variables({})

    assert {*given} - {*without} == {
        "-var=retrain_connection_arn=arn:aws:events:one",
        "-var=retrain_repository=team/model",
    }
    assert not [one for one in without if "retrain" in one]


def test_function_is_born_with_the_bundle_under_the_name_that_a_deploy_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/environment.json").write_text('{"python": "3.11"}', encoding="utf-8")
    facts = {"name": "model", "version": "v1.0.0", "sha256": "a" * 64, "changed": False, "commit": "b" * 40}

    without = name_variables({})
    (tmp_path / "out/bundle.zip").write_bytes(b"zip")
    (tmp_path / "out/bundle.json").write_text(json.dumps(facts), encoding="utf-8")
    given = name_variables({})

    assert {*given} - {*without} == {"-var=bundle_file=../out/bundle.zip", "-var=release=model@v1.0.0 aaaaaaaaaaaa"}


def test_workflows_hand_the_connection_to_production_alone() -> None:
    folder = REPOSITORY / ".github/workflows"
    jobs = {
        name: yaml.safe_load((folder / f"{name}.yml").read_text(encoding="utf-8"))["jobs"]
        for name in ("deploy", "infra")
    }

    given = {name for name, job in jobs["deploy"].items() if "RETRAIN_CONNECTION" in job.get("env", {})}

    assert given == {"plan", "production"}
    assert "matrix.environment == 'production' && " in jobs["infra"]["plan"]["env"]["RETRAIN_CONNECTION"]


@pytest.fixture(name="endpoint", scope="module")
def fixture_endpoint() -> Iterator[str]:
    """The address of AWS on loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(name="account")
def fixture_account(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work beside an environment that holds nothing yet, with the keys of an account on loopback."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "TF_VAR_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    (tmp_path / "infra").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "infra/staging.tfvars").write_text('title = "one"\n', encoding="utf-8")
    (tmp_path / "out/environment.json").write_text('{"python": "3.11"}', encoding="utf-8")
    nothing = {"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"}
    for name, value in (make_environment(endpoint) | nothing).items():
        monkeypatch.setenv(name, value)
    # It keeps the keys that it met first.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return tmp_path


@pytest.fixture(name="environment")
def fixture_environment(account: Path) -> Path:
    """Work beside a small environment, whose state the account holds."""
    require_tool("terraform")
    (account / "infra/main.tf").write_text(ROOT, encoding="utf-8")
    where = {"LocationConstraint": os.environ["AWS_REGION"]}
    number = boto3.client("sts").get_caller_identity()["Account"]
    boto3.client("s3").create_bucket(Bucket=f"readings-state-{number}", CreateBucketConfiguration=where)
    return account


@pytest.mark.acceptance
def test_approved_plan_is_applied_and_another_one_is_not(
    environment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(environment / "output"))
    main(["plan", "staging"])
    approved = (environment / "output").read_text(encoding="utf-8").strip().removeprefix("digest=")
    assert "staging: 1 to create\ncreate  aws_sns_topic.alarms\n" in capsys.readouterr().out

    (environment / "infra/staging.tfvars").write_text('title = "two"\n', encoding="utf-8")
    with pytest.raises(RefusedError, match=f"approved was {approved}"):
        main(["plan", "staging", "--expect", approved])
    assert not PLAN.exists()
    assert not boto3.client("sns").list_topics()["Topics"]

    (environment / "infra/staging.tfvars").write_text('title = "one"\n', encoding="utf-8")
    main(["plan", "staging", "--expect", approved])
    main(["apply", "staging"])
    assert json.loads(OUTPUTS.read_text(encoding="utf-8"))["topic"]["value"] == "readings-alarms"
    main(["plan", "staging"])
    assert "staging: no changes" in capsys.readouterr().out


# Terraform's place is taken by what writes down how it was called, and says what the test has laid beside it.
STAND_IN = """#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$2" in
    plan) touch out/environment.tfplan ;;
    show) cat "$here/plan.json" ;;
    output) echo '{"topic": {"value": "readings-alarms"}}' ;;
esac
if [ -f "$here/$2.fault" ]; then cat "$here/$2.fault" >&2; exit 1; fi
"""


@pytest.fixture(name="calls")
def fixture_calls(account: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in for Terraform on the PATH, with one change to plan; give the file of its calls."""
    tools = account / "tools"
    tools.mkdir()
    (tools / "terraform").write_text(STAND_IN, encoding="utf-8")
    (tools / "terraform").chmod(0o755)
    (tools / "plan.json").write_text(json.dumps({"resource_changes": [make_change("a.new", "create")]}))
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return tools / "calls"


def read_calls(calls: Path) -> list[list[str]]:
    """Read what Terraform was called with; the first word is the folder that it works in."""
    found = [line.split() for line in calls.read_text(encoding="utf-8").splitlines()]
    assert {call[0] for call in found} == {"-chdir=infra"}
    return [call[1:] for call in found]


def test_plan_is_made_on_the_state_of_the_environment_and_told_without_values(account: Path, calls: Path) -> None:
    done = run_here(account, "lifecycle.infra", "plan", "staging")

    init, plan, show = read_calls(calls)
    number, region = "123456789012", "eu-central-1"
    assert [one.removeprefix("-backend-config=") for one in init if "backend" in one] == [
        f"bucket=readings-state-{number}",
        f"region={region}",
        "key=staging/terraform.tfstate",
    ]
    assert {"-var-file=staging.tfvars", f"-var=account_id={number}", f"-var=region={region}"} <= {*plan}
    assert show == ["show", "-json", str(PLAN.absolute())]
    digest = read_changes(json.loads((calls.parent / "plan.json").read_bytes()))[1]
    assert (done.returncode, done.stdout) == (0, f"staging: 1 to create\ncreate  a.new\ndigest {digest}\n")
    assert PLAN.exists()


def test_plan_with_another_digest_is_told_and_thrown_away(
    account: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(account / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(account / "summary"))

    done = run_here(account, "lifecycle.infra", "plan", "staging", "--expect", "abc")

    digest = (account / "output").read_text(encoding="utf-8").strip().removeprefix("digest=")
    assert done.returncode == 1
    assert done.stderr == (
        f"RefusedError: the plan has the digest {digest}; approved was abc. Something changed since: start anew.\n"
    )
    assert f"Digest of the changes: `{digest}`" in (account / "summary").read_text(encoding="utf-8")
    assert not PLAN.exists()
    assert calls.exists()


def test_plan_that_was_made_is_applied_once_and_what_is_there_is_written(account: Path, calls: Path) -> None:
    PLAN.touch()

    done = run_here(account, "lifecycle.infra", "apply", "staging")

    assert (done.returncode, done.stdout) == (0, f"{OUTPUTS}\n")
    assert read_calls(calls)[1:] == [
        ["apply", "-input=false", "-no-color", str(PLAN.absolute())],
        ["output", "-json"],
    ]
    assert not PLAN.exists()
    assert json.loads(OUTPUTS.read_bytes()) == {"topic": {"value": "readings-alarms"}}


def test_outputs_are_written_without_planning_or_applying(account: Path, calls: Path) -> None:
    done = run_here(account, "lifecycle.infra", "outputs", "staging")

    assert (done.returncode, done.stdout) == (0, f"{OUTPUTS}\n")
    assert [call[0] for call in read_calls(calls)] == ["init", "output"]
    assert json.loads(OUTPUTS.read_bytes()) == {"topic": {"value": "readings-alarms"}}


def test_terraform_that_fails_is_told_in_one_line_and_the_plan_stays(account: Path, calls: Path) -> None:
    PLAN.touch()
    (calls.parent / "apply.fault").write_text("╷\n│ Error: state is locked\n│\n╵\n", encoding="utf-8")

    done = run_here(account, "lifecycle.infra", "apply", "staging")

    assert (done.returncode, done.stderr) == (1, "RefusedError: terraform apply failed: Error: state is locked\n")
    assert PLAN.exists() and not OUTPUTS.exists()


def test_machine_without_terraform_is_told(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(account))

    done = run_here(account, "lifecycle.infra", "outputs", "staging")

    said = "MisuseError: terraform is not on the PATH; install Terraform 1.11 or newer.\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("AWS_DEFAULT_REGION", "no region is set; set AWS_DEFAULT_REGION."),
        ("AWS_ACCESS_KEY_ID", "AWS does not know who this is: "),
    ],
)
def test_region_or_keys_that_are_not_set_are_told_before_terraform_is_called(
    account: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    monkeypatch.delenv(missing)

    done = run_here(account, "lifecycle.infra", "plan", "staging")

    assert done.returncode == 2
    assert done.stderr.startswith(f"MisuseError: {said}")
    assert not calls.exists()
