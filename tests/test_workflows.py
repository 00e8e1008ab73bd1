"""What the workflows may do, read from their files: the rehearsal cannot model permissions, filters or concurrency.

A defect that is planted in a workflow is found by this file's checks or by one of the linters that `make lint` runs.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle.errors import MisuseError
from rehearsal.events import Event, merge_group, open_pull_request, pull_request, push, workflow_dispatch
from rehearsal.stand_ins import check_workflow
from tests.rehearsal.workflows import make_repository, run_jobs, write_job
from tests.tools import require_tool

TEAM, COMMIT = "team/model", "c" * 40
OWN = {"RUNNER": "big"}
ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / ".github/workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# What a step needs of the token, and nothing else may be granted.
NEEDS = {
    r"\./\.github/actions/deploy$": {"attestations": "read", "id-token": "write"},
    r"actions/attest-build-provenance@": {"attestations": "write", "id-token": "write"},
    r"actions/checkout@": {"contents": "read"},
    r"actions/deploy-pages@": {"id-token": "write", "pages": "write"},
    r"aws-actions/configure-aws-credentials@": {"id-token": "write"},
    r"-m lifecycle\.github\.comment": {"actions": "read", "checks": "write", "pull-requests": "write"},
    r"-m lifecycle\.github\.comparison keep": {"actions": "write", "contents": "write"},
    r"-m lifecycle\.github\.experiment propose": {"actions": "write", "contents": "write", "pull-requests": "write"},
    r"-m lifecycle\.github\.history": {"actions": "read"},
    r"-m lifecycle\.github\.results commit": {"actions": "write", "contents": "write"},
    r"-m lifecycle\.github\.versions": {"contents": "write"},
    r"lifecycle\.github\.proposal": {"actions": "write", "contents": "write", "pull-requests": "write"},
    r"-m lifecycle\.github\.issue show": {"actions": "write", "issues": "write"},
    r"-m lifecycle\.github\.issue tell": {"issues": "write"},
    r"lifecycle\.retrain": {"pull-requests": "read"},
    r"make status": {"pull-requests": "read"},
}
# Without it no machine can be registered; the default token may not.
SECRET = "RUNNER_TOKEN"
RANKS = ("read", "write")
PINNED = re.compile(r"uses: (\./\S+ # zizmor|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
# Conditions that only a branch of the repository itself can meet.
OWN_BRANCH = "github.event.pull_request.head.repo.full_name == github.repository"


def read_workflow(path: Path) -> dict[str, Any]:
    """Read a workflow; YAML takes its key ``on`` for true."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def list_events(workflow: dict[str, Any]) -> set[str]:
    """List what starts a workflow."""
    return set(workflow["on"])


def list_faults(folder: Path) -> Iterator[str]:
    """List what is wrong with the workflows of a .github folder; a line each, beginning with the file's name."""
    for path in sorted((folder / "workflows").glob("*.yml")):
        workflow, text = read_workflow(path), path.read_text(encoding="utf-8")
        for fault in (*list_shape_faults(workflow, text), *list_trust_faults(workflow, text)):
            yield f"{path.name}: {fault}"
        try:
            check_workflow(path, folder.parent)
        except MisuseError as error:
            yield f"{path.name}: {error}"


def list_shape_faults(workflow: dict[str, Any], text: str) -> Iterator[str]:
    """List what every workflow must have and lacks."""
    if workflow.get("permissions") != {}:
        yield "the top grants permissions"
    if "cancel-in-progress" not in workflow.get("concurrency", {}):
        yield "no concurrency is set"
    if workflow.get("defaults") != {"run": {"shell": "bash"}}:
        yield "the shell is not bash, which stops at the first fault"
    for line in re.findall(r"uses: .*", text):
        if not PINNED.fullmatch(line.split(" # zizmor")[0] + " # zizmor" if line.startswith("uses: ./") else line):
            yield f"{line} is not pinned to a commit with its version beside it"
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            yield f"job {name} has no timeout-minutes"
        for step in job["steps"]:
            if "${{" in step.get("run", ""):
                yield f"job {name} writes an expression into a command"
            if (
                step.get("uses", "").startswith("actions/checkout@")
                and step["with"].get("persist-credentials") is not False
            ):
                yield f"job {name} leaves the token in the checkout"


def list_trust_faults(workflow: dict[str, Any], text: str) -> Iterator[str]:
    """List permissions that a job lacks or has in vain, and what a stranger's code could reach."""
    if "pull_request_target" in workflow["on"]:
        yield "pull_request_target runs with the base's rights on a stranger's event"
    if secrets := {*re.findall(r"secrets\W+(\w+)", text)} - {SECRET if workflow["name"] == "Runner" else ""}:
        yield f"the secret {', '.join(sorted(secrets))} is used; the template needs none"
    for name, job in workflow["jobs"].items():
        granted, needed = job.get("permissions"), find_needs(job)
        if granted != needed:
            yield f"job {name} is granted {granted}, and its steps need {needed}"
        writes = {scope for scope, level in (granted or {}).items() if level == "write"}
        runs_strangers = "pull_request" in workflow["on"] and not is_own(workflow, job)
        if writes and runs_strangers:
            yield f"job {name} runs a fork's code and may write {', '.join(sorted(writes))}"
        if "workflow_run" in workflow["on"]:
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@") and {"ref", "repository"} & set(step["with"]):
                    yield f"job {name} checks something else than the default branch out"


def is_own(workflow: dict[str, Any], job: dict[str, Any]) -> bool:
    """Tell whether a job, or one that it waits for, runs for the repository's own branches alone."""
    needs = job.get("needs", [])
    before = [workflow["jobs"][name] for name in ([needs] if isinstance(needs, str) else needs)]
    # A job that runs whatever became of those before it is not held back by their conditions.
    bound = not re.search(r"always\(\)|cancelled\(\)|failure\(\)", str(job.get("if", "")))
    return OWN_BRANCH in " ".join(str(job.get("if", "")).split()) or (
        bound and any(is_own(workflow, one) for one in before)
    )


def find_needs(job: dict[str, Any]) -> dict[str, str]:
    """Find the permissions that a job's steps need."""
    found: dict[str, str] = {}
    for step in job["steps"]:
        for pattern, scopes in NEEDS.items():
            if re.search(pattern, step.get("uses", "") + step.get("run", "")):
                for scope, level in scopes.items():
                    found[scope] = max(found.get(scope, "read"), level, key=RANKS.index)
    return dict(sorted(found.items()))


def test_workflows_do_what_they_may_and_no_more() -> None:
    assert NAMES
    assert not list(list_faults(ROOT / ".github"))


def test_each_permission_has_its_reason_beside_it() -> None:
    for name in NAMES:
        text = (ROOT / ".github/workflows" / name).read_text(encoding="utf-8")
        for line in re.findall(
            r"^ +(?:actions|attestations|checks|contents|id-token|issues|pages|pull-requests): (?:read|write).*",
            text,
            re.M,
        ):
            assert re.search(r" # to \w+", line), f"{name}: {line}"


def test_few_workflows_may_write_on_pull_requests_and_they_run_the_default_branch() -> None:
    workflows = {name: read_workflow(ROOT / ".github/workflows" / name) for name in NAMES}
    writing = {
        name
        for name, workflow in workflows.items()
        for job in workflow["jobs"].values()
        if (job["permissions"] or {}).get("pull-requests") == "write"
    }

    assert writing == {"experiment.yml", "report.yml", "retrain.yml"}
    assert list_events(workflows["experiment.yml"]) == {"workflow_dispatch"}
    proposing = workflows["experiment.yml"]["jobs"]["propose"]["if"]
    assert "github.ref_name == github.event.repository.default_branch" in proposing
    assert list_events(workflows["retrain.yml"]) == {"schedule", "repository_dispatch", "workflow_dispatch"}
    assert "ref_name == github.event.repository.default_branch" in workflows["retrain.yml"]["jobs"]["retrain"]["if"]
    assert list_events(workflows["report.yml"]) == {"workflow_run"}
    assert workflows["report.yml"]["on"]["workflow_run"]["workflows"] == [workflows["train.yml"]["name"]]


def test_monitor_reads_the_log_where_it_may_write_nothing_and_starts_retraining_elsewhere() -> None:
    workflow = read_workflow(ROOT / ".github/workflows/monitor.yml")

    granted = {name: job["permissions"] for name, job in workflow["jobs"].items()}

    assert list_events(workflow) == {"schedule", "workflow_dispatch"}
    assert granted["unset"] == {}
    assert granted["monitor"] == {"contents": "read", "id-token": "write"}
    assert "id-token" not in granted["tell"]
    # The role's subject is the branch, and an environment would change it.
    assert "environment" not in workflow["jobs"]["monitor"]


def test_checks_run_on_pull_requests_on_main_in_the_queue_and_by_hand() -> None:
    for name in ("check.yml", "train.yml"):
        workflow = read_workflow(ROOT / ".github/workflows" / name)

        assert list_events(workflow) == {"pull_request", "merge_group", "push", "workflow_dispatch"}
        assert workflow["on"]["push"] == {"branches": ["main"]}
        # A newer commit of a pull request replaces the run; nothing else is ever cut short.
        assert workflow["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_secret_is_read_by_one_step_of_an_environment_that_only_the_default_branch_has() -> None:
    workflow = read_workflow(ROOT / ".github/workflows/runner.yml")
    environments = json.loads((ROOT / ".github/environments.json").read_text(encoding="utf-8"))

    reading = [
        (name, step["run"])
        for name, job in workflow["jobs"].items()
        for step in job["steps"]
        if "secrets." in json.dumps(step)
    ]

    assert reading == [("launch", ".venv/bin/python -m lifecycle.machine launch")]
    assert list_events(workflow) == {"schedule", "workflow_dispatch"}
    assert {job["environment"] for job in workflow["jobs"].values()} == {"runner"}
    assert environments["runner"]["deployment_branch_policy"]["protected_branches"]
    # Every hour, so that a cap of hours is one.
    assert workflow["on"]["schedule"] == [{"cron": "17 * * * *"}]


def test_only_jobs_that_train_may_leave_githubs_machines() -> None:
    moved = {
        (name, job_id)
        for name in NAMES
        for job_id, job in read_workflow(ROOT / ".github/workflows" / name)["jobs"].items()
        if "vars.RUNNER" in job["runs-on"]
    }

    assert moved == {
        ("experiment.yml", "try"),
        ("reproduce.yml", "reproduce"),
        ("retrain.yml", "retrain"),
        ("train.yml", "pipeline"),
    }


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("event", "variables", "machine"),
    [
        (pull_request(open_pull_request(TEAM, "better", COMMIT)), OWN, "big"),
        (pull_request(open_pull_request(TEAM, "better", COMMIT)), {}, "ubuntu-latest"),
        (pull_request(open_pull_request(TEAM, "better", COMMIT, fork="stranger/model")), OWN, "ubuntu-latest"),
        (push(TEAM, COMMIT), OWN, "big"),
        (merge_group(TEAM, COMMIT, COMMIT), OWN, "big"),
        (workflow_dispatch(TEAM, "train.yml", {}), OWN, "big"),
    ],
)
def test_pull_request_of_a_fork_never_runs_on_a_machine_of_ones_own(
    event: Event, variables: dict[str, str], machine: str, tmp_path: Path
) -> None:
    # Act itself decides what the expression means.
    expression = read_workflow(ROOT / ".github/workflows/train.yml")["jobs"]["pipeline"]["runs-on"]
    said = json.dumps(expression)
    job = write_job("lock", "run: echo on $MACHINE", env=f"{{ MACHINE: {said} }}").replace(
        "runs-on: ubuntu-latest", f"runs-on: {said}"
    )
    folder = make_repository(tmp_path / "model")

    run = run_jobs(folder, job, event=replace(event, sha=""), on=event.name, variables=variables)

    assert run.find_job("lock").result == "success"
    assert f"\non {machine}\n" in run.find_job("lock").log


def test_workflows_wait_for_workflows_that_there_are() -> None:
    workflows = [read_workflow(ROOT / ".github/workflows" / name) for name in NAMES]
    awaited = {name for one in workflows for name in one["on"].get("workflow_run", {}).get("workflows", [])}

    assert {"Monitor", "Deploy", "Roll back"} <= awaited <= {one["name"] for one in workflows}


def test_commands_are_make_targets_that_exist_or_modules() -> None:
    for name in NAMES:
        for job in read_workflow(ROOT / ".github/workflows" / name)["jobs"].values():
            for step in job["steps"]:
                if target := re.match(r"make ([a-z]+)", step.get("run", "")):
                    assert f"\n{target[1]}: " in MAKEFILE, f"{name}: make {target[1]}"
                for module in re.findall(r"\blifecycle\.([a-z_.]+)", step.get("run", "")):
                    assert (ROOT / f"src/lifecycle/{module.replace('.', '/')}.py").exists(), name


# A defect of each kind in each workflow: what is replaced, and by what.
WRONG_OUTPUT = {
    "check.yml": ("needs.*.result", "needs.lint.outputs.result"),
    "train.yml": ("needs.models.outputs.models", "needs.models.outputs.model"),
    "report.yml": ("github.token", "steps.token.outputs.token"),
    "reproduce.yml": ("env.BRANCH", "needs.reproduce.outputs.branch"),
    "deploy.yml": ("needs.bundle.outputs.sha256", "needs.bundle.outputs.sha"),
    "infra.yml": ("matrix.environment", "matrix.environments"),
    "rollback.yml": ("needs.rollback.outputs.version != ''", "needs.rollback.outputs.former != ''"),
    "retrain.yml": ("needs.retrain.outputs.reason", "needs.retrain.outputs.reasons"),
    "monitor.yml": ("vars.LABELS }}", "steps.labels.outputs.address }}"),
    "status.yml": ("steps.pages.outputs", "steps.page.outputs"),
    "experiment.yml": ("needs.plan.outputs.names", "needs.plan.outputs.name"),
    "runner.yml": ("vars.RUNNER }}", "steps.label.outputs.name }}"),
}
TYPO_IN_IF = {
    "check.yml": ("if: always()", "if: allways()"),
    "train.yml": ("steps.report.outcome", "steps.reprot.outcome"),
    "report.yml": ("github.event.workflow_run.event != 'push'", "github.evnt.workflow_run.event != 'push'"),
    "reproduce.yml": ("github.event_name == 'pull_request'", "github.event_nam == 'pull_request'"),
    "deploy.yml": ("needs.production.result", "needs.prodution.result"),
    "infra.yml": ("vars.AWS_PLAN_ROLE != ''", "var.AWS_PLAN_ROLE != ''"),
    "rollback.yml": ("inputs.environment == 'production' && needs", "input.environment == 'production' && needs"),
    "retrain.yml": ("steps.retrain.outputs.outcome != ''", "steps.retrian.outputs.outcome != ''"),
    "monitor.yml": ("github.event_name == 'schedule'", "github.event_nam == 'schedule'"),
    "status.yml": ("github.ref_name ==", "github.refname =="),
    "experiment.yml": ("inputs.open && needs", "input.open && needs"),
    "runner.yml": ("github.event_name ==", "github.event_nam =="),
}
UNQUOTED = {
    "check.yml": ('echo "$RESULTS"', "echo $RESULTS"),
    "train.yml": ('BASE="$BASE"', "BASE=$BASE"),
    "report.yml": (
        ".venv/bin/python -m lifecycle.github.comment",
        ".venv/bin/python -m lifecycle.github.comment $GH_TOKEN",
    ),
    "reproduce.yml": ('"$BRANCH"', "$BRANCH"),
    "deploy.yml": ('"$VERSION"', "$VERSION"),
    "infra.yml": ('"$ENVIRONMENT"', "$ENVIRONMENT"),
    "rollback.yml": ('"$VERSION"', "$VERSION"),
    "retrain.yml": ("lifecycle.github.issue tell", "lifecycle.github.issue tell $REASON"),
    "monitor.yml": ('"$PREDICTIONS"', "$PREDICTIONS"),
    "status.yml": ('"$MONITORED"', "$MONITORED"),
    "experiment.yml": ("lifecycle.github.experiment plan", "lifecycle.github.experiment plan $SETTINGS"),
    "runner.yml": ("lifecycle.machine launch", "lifecycle.machine launch $LABEL"),
}
DEFECTS = {
    "a wrong output name": WRONG_OUTPUT,
    "a missing permission": {name: (r"(?m)^ +contents: .*\n", "") for name in NAMES},
    "an unpinned action": {
        name: (r"actions/checkout@[0-9a-f]{40} # v[\d.]+", "actions/checkout@v7") for name in NAMES
    },
    "a typo in an if": TYPO_IN_IF,
    "an unquoted variable": UNQUOTED,
}


def call(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Call a linter, which ends with 1 where it finds something."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def lint(folder: Path) -> str:
    """Say what zizmor and actionlint find, with the commands of `make lint`."""
    shellcheck, zizmor = require_tool("shellcheck"), require_tool("zizmor")
    package = re.search(r"^actionlint := go run (\S+)$", MAKEFILE, re.M)
    assert package
    actionlint = [require_tool("go"), "run", package[1], "-shellcheck", shellcheck]
    files = [str(path) for path in sorted((folder / "workflows").glob("*.yml"))]
    found = call([*actionlint, *files], folder.parent)
    unsafe = call([zizmor, "-q", "--offline", "--no-progress", "--format", "json", str(folder)], folder.parent)
    assert found.returncode in (0, 1), found.stderr
    return found.stdout + "".join(finding["ident"] for finding in json.loads(unsafe.stdout))


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", DEFECTS)
@pytest.mark.parametrize("name", NAMES)
def test_defect_is_found(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / ".github"
    shutil.copytree(ROOT / ".github", folder)
    path = folder / "workflows" / name
    text = path.read_text(encoding="utf-8")
    old, new = DEFECTS[kind][name]
    pattern = old if kind in ("a missing permission", "an unpinned action") else re.escape(old)
    defective, count = re.subn(pattern, new.replace("\\", r"\\"), text, count=1)
    assert count, f"{name} holds no {old}"
    path.write_text(defective, encoding="utf-8")

    assert list(list_faults(folder)) or lint(folder)


def test_linters_find_nothing_in_the_workflows_as_they_are() -> None:
    assert lint(ROOT / ".github") == ""
