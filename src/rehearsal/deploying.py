"""What the workflows make of a merge: rehearsed without an account, deployed with one, rolled back by a button.

Also of a pull request that changes the Terraform.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lifecycle.errors import RefusedError
from rehearsal import events
from rehearsal.cloud.server import ACCOUNT, REGION, Cloud, serve_cloud
from rehearsal.life.environment import bootstrap, open_client
from rehearsal.life.model import HASTE
from rehearsal.outcome import Run
from rehearsal.remote import call_git
from rehearsal.retraining import change_main
from rehearsal.stage import NOTHING, Stage, open_pull
from rehearsal.terraform import NAME, QUICK_ROOT

# In the order of deploy.yml: register, bundle, attest, rehearse, staging, plan, production, promote.
REHEARSED = "success success success success skipped skipped skipped skipped"
DEPLOYED = "success success success skipped success success success success"
# GitHub keeps no attestations of a private repository.
DEPLOYED_PRIVATELY = "success success skipped skipped success success success success"
# Far from the numbers of pull requests that workflows open.
PULLS = 1000
# What a plan shows.
ALARMS = ('name = "${local.prefix}-alarms"', 'name = "${local.prefix}-alarms"\n  display_name = "Alarms"')
ROLES = {"PLAN": "plan", "STAGING": "deploy-staging", "PRODUCTION": "deploy-production"}
VARIABLES = {
    "AWS_REGION": REGION,
    **{f"AWS_{name}_ROLE": f"arn:aws:iam::{ACCOUNT}:role/{NAME}-{role}" for name, role in ROLES.items()},
}


def rehearse_deploy(stage: Stage) -> None:
    """A merge without an account; then with one, twice, and a change of the Terraform; then the button goes back."""
    branch = events.workflow_dispatch(stage.github.full_name, "deploy.yml", {}, ref="refs/heads/other")
    stage.remote.check_out("origin/main")
    stage.play("deploy of a branch", "deploy.yml", branch, " ".join(["skipped"] * 8))
    plan(stage, "change of the Terraform without an account", "skipped success")
    stage.remote.check_out("origin/main")
    before = stage.remote.find("main")
    (stage.remote.clone / "infra/quick_override.tf").write_text(QUICK_ROOT, encoding="utf-8")
    call_git(stage.remote.clone, "add", "--force", "infra/quick_override.tf")
    stage.remote.commit("Do not wait for AWS")
    change_main(stage, {"deploy": HASTE["deploy"]})
    merge(stage, "merge without an account", before, REHEARSED, {})
    stage.expect("the merged model is v1.0.0", list_tags(stage) == ["model@v1.0.0"])
    with serve_account(stage) as cloud:
        merge(stage, "merge with an account", before, DEPLOYED, cloud.environment)
        stage.expect("both environments serve v1.0.0", set(list_served(cloud)) == {"model@v1.0.0"})
        before = stage.remote.find("main")
        change_main(stage, {"gate": {"max_size_mb": 9}})
        merge(stage, "next merge, privately", before, DEPLOYED_PRIVATELY, cloud.environment, private=True)
        stage.expect("both environments serve v1.0.1", set(list_served(cloud)) == {"model@v1.0.1"})
        found = plan(stage, "change of the Terraform", "success success skipped", cloud.environment, VARIABLES)
        planned = [job.summary for job in found.jobs[:2]]
        stage.expect("both plans show it", all("`aws_sns_topic.alarms`" in summary for summary in planned))
        roll_back(stage, cloud)


def merge(
    stage: Stage, title: str, before: str, expected: str, environment: dict[str, str], private: bool = False
) -> None:
    """Push to main; an account is set up where there is an environment."""
    pushed = events.push(stage.github.full_name, stage.remote.find("main"), before)
    stage.remote.check_out("origin/main")
    described = events.describe(pushed, private=private)
    stage.play(title, "deploy.yml", described, expected, drop_keys(environment), VARIABLES if environment else {})
    if stage.faults:
        raise RefusedError("\n".join(stage.faults))


def plan(
    stage: Stage,
    title: str,
    expected: str,
    environment: Mapping[str, str] = NOTHING,
    variables: Mapping[str, str] = NOTHING,
) -> Run:
    """Open a pull request that changes the Terraform."""
    pull = open_pull(stage, PULLS + stage.runs, f"alarms-{stage.runs}", {"infra/alarms.tf": ALARMS})
    return stage.play(title, "infra.yml", events.pull_request(pull), expected, drop_keys(environment), variables)


def drop_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop the account's own keys, which no workflow has."""
    return {key: value for key, value in environment.items() if "KEY" not in key and "TOKEN" not in key}


def roll_back(stage: Stage, cloud: Cloud) -> None:
    """Press the button for staging, which has no champion to name, and for production."""
    for environment, expected in (("staging", "success skipped"), ("production", "success success")):
        inputs = {"environment": environment}
        pressed = events.workflow_dispatch(stage.github.full_name, "rollback.yml", inputs)
        keyless = drop_keys(cloud.environment)
        stage.remote.check_out("origin/main")
        stage.play(f"rollback of {environment}", "rollback.yml", pressed, expected, keyless, VARIABLES)
    stage.expect("both environments serve v1.0.0 again", set(list_served(cloud)) == {"model@v1.0.0"})
    promoted = [tag for tag in list_tags(stage) if "#production#" in tag]
    stage.expect("the registry knows three promotions", len(promoted) == 3)


@contextmanager
def serve_account(stage: Stage) -> Iterator[Cloud]:
    """Serve an account with the bootstrap applied, whose own keys open nothing."""
    with serve_cloud(stage.folder / "cloud", minute_seconds=2, seed=0) as cloud:
        bootstrap(cloud, stage.folder / "account", "3.11", stage.folder / "none.zip")
        yield cloud


def list_served(cloud: Cloud) -> list[str]:
    """List what staging and production serve."""
    cloud.guard.root_allowed = True
    functions, served = open_client("lambda", cloud.environment), []
    for environment in ("staging", "production"):
        name = f"{NAME}-{environment}"
        version = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        found = functions.get_function_configuration(FunctionName=name, Qualifier=version)
        served.append(found["Description"].partition(" ")[0])
    cloud.guard.root_allowed = False
    return served


def list_tags(stage: Stage) -> list[str]:
    """List the remote's tags."""
    return call_git(stage.remote.bare, "tag").split()
