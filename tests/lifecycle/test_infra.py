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
from moto.server import ThreadedMotoServer
from readings import write_params

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.infra import OUTPUTS, PLAN, Change, main, name_variables, read_changes, write_summary
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


@pytest.fixture(name="environment")
def fixture_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work beside a small environment, with an account on loopback that holds the bucket for its state."""
    require_tool("terraform")
    for name in [name for name in os.environ if name.startswith(("AWS_", "TF_VAR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    (tmp_path / "infra").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "infra/main.tf").write_text(ROOT, encoding="utf-8")
    (tmp_path / "infra/staging.tfvars").write_text('title = "one"\n', encoding="utf-8")
    (tmp_path / "out/environment.json").write_text('{"python": "3.11"}', encoding="utf-8")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "eu-central-1"}
    for name, value in {
        **keys,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    account = boto3.client("sts").get_caller_identity()["Account"]
    where = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=f"readings-state-{account}", CreateBucketConfiguration=where)
    yield tmp_path
    server.stop()


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
