"""Run one workflow for one event on this machine, with act and without containers, and say what each job did."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.errors import MisuseError, RefusedError
from rehearsal.events import Event
from rehearsal.outcome import Run, read_jobs
from rehearsal.stand_ins import check_workflow, map_actions, read_yaml

INSTALL = "go install github.com/nektos/act@v0.2.89"
# What starts a pull request's workflow that names no types.
USUAL_TYPES = {"pull_request": ["opened", "synchronize", "reopened"]}
# A rehearsal's own machine may be a runner or hold keys; its jobs learn nothing of either.
HIDDEN = ("ACT_", "ACTIONS_", "AWS_", "GH_", "GITHUB_", "INPUT_", "RUNNER_", "STAND_IN_", "STATE_")


@dataclass(frozen=True)
class World:
    """What a run finds around it.

    Each job starts in an empty folder of its own, into which a plain checkout copies ``folder`` as it is, without
    what its .gitignore names; with ``fetch`` it brings the event's commit from the remote instead, as deep as it was
    asked. Artifacts, caches and attestations of all runs lie in ``store``.
    """

    folder: Path
    store: Path
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    run_id: int = 1
    fetch: bool = False


def run_workflow(path: Path, event: Event, world: World, limit_seconds: float = 1800) -> Run:
    """Run a workflow for an event.

    Parameters
    ----------
    path : Path
        The workflow's file.
    event : Event
    world : World
    limit_seconds : float
        How long the run may take.

    Returns
    -------
    Run
        Every job of the file: one that was skipped once, whatever its matrix, as on GitHub.

    Raises
    ------
    MisuseError
        If act is not there, or the workflow makes no sense or does not start on such an event.
    RefusedError
        If act itself fails, or the run takes longer than ``limit_seconds``.
    """
    if not shutil.which("act"):
        raise MisuseError(f"act is not on the PATH; install it: {INSTALL}")
    read_yaml.cache_clear()
    check_workflow(path, world.folder)
    check_event(path, event)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as scratch:
        command = write_command(path, event, world, Path(scratch))
        records, complaint, code = call_act(command, Path(scratch), path.name, limit_seconds)
    asked = read_yaml(path)["jobs"].items()
    jobs = tuple(found for name, job in asked for found in read_jobs(name, job, records))
    # A job's failure is a result; any other complaint is about the workflow or act itself.
    if code and not re.fullmatch(r"Job '.*' failed", complaint):
        raise RefusedError(f"act could not run {path.name}: {complaint}")
    return Run("failure" if code else "success", jobs)


def check_event(path: Path, event: Event) -> None:
    """Refuse an event that would not start the workflow; filters of branches and paths are not looked at."""
    starts = read_yaml(path)["on"]
    starts = (
        {starts: None} if isinstance(starts, str) else dict.fromkeys(starts) if isinstance(starts, list) else starts
    )
    if event.name not in starts:
        raise MisuseError(f"{path.name} does not start on {event.name}, but on {', '.join(starts)}")
    settings = starts[event.name] if isinstance(starts[event.name], dict) else {}
    types = settings.get("types") or USUAL_TYPES.get(event.name)
    action = event.payload.get("action")
    if types and action not in types:
        raise MisuseError(f"{path.name} does not start on {event.name} {action}, but on {', '.join(types)}")


def list_labels(path: Path, variables: Mapping[str, str]) -> list[str]:
    """List the labels of the machines that jobs run on, also where a matrix or a variable names them."""
    labels = {"ubuntu-latest"}
    for job in read_yaml(path)["jobs"].values():
        asked = job.get("runs-on") or []
        asked = [asked] if isinstance(asked, str) else asked
        matrix = (job.get("strategy") or {}).get("matrix")
        for label in asked:
            named = {variables[name] for name in re.findall(r"vars\.(\w+)", label) if name in variables}
            labels |= {*re.findall(r'"([\w.-]+)"', json.dumps(matrix)), *named} if "${{" in label else {label}
    return sorted(labels)


def write_command(path: Path, event: Event, world: World, scratch: Path) -> list[str]:
    """Write act's files, and the command that reads them; secrets are in a file, which no list of processes shows."""
    files = {
        "event.json": event.payload,
        "env.yml": {**describe_run(event, world), **world.env},
        "secrets.yml": {"GITHUB_TOKEN": "a-token-that-opens-nothing", **world.secrets},
        "vars.yml": dict(world.variables),
        "inputs.yml": {},
    }
    for name, content in files.items():
        (scratch / name).write_text(json.dumps(content), encoding="utf-8")
    (scratch / "act").mkdir()
    # Without this file act asks which image to take.
    (scratch / "act/actrc").touch()
    flags = "--json --rm --no-cache-server --pull=false --concurrent-jobs=1 --container-daemon-socket=-"
    command = ["act", event.name, *flags.split(), f"--actor={event.actor}", f"--workflows={path.resolve()}"]
    command += [f"--directory={world.folder.resolve()}", f"--action-cache-path={scratch / 'cache'}"]
    command += ["--artifact-server-addr=127.0.0.1", "--cache-server-addr=127.0.0.1"]
    command += [f"--eventpath={scratch / 'event.json'}", f"--env-file={scratch / 'env.yml'}"]
    command += [f"--secret-file={scratch / 'secrets.yml'}", f"--var-file={scratch / 'vars.yml'}"]
    command += [f"--input-file={scratch / 'inputs.yml'}"]
    command += [f"--platform={label}=-self-hosted" for label in list_labels(path, world.variables)]
    command += [f"--local-repository={name}={place}" for name, place in map_actions(path, world.folder).items()]
    return [*command, *(["--no-skip-checkout"] if world.fetch else [])]


def describe_run(event: Event, world: World) -> dict[str, str]:
    """Describe what act cannot guess right, and where stand-ins find their code, their store and the remote."""
    asked = ["git", "-C", str(world.folder), "config", "remote.origin.url"]
    remote = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or str(world.folder)
    # Of a plain path Git would copy everything, however shallow the asked history.
    origin = remote if re.match(r"[\w.@-]+:", remote) else (world.folder / remote).resolve().as_uri()
    described = {
        "GITHUB_REPOSITORY": event.payload["repository"]["full_name"],
        "GITHUB_REF": event.ref,
        "GITHUB_RUN_ID": str(world.run_id),
        "GITHUB_RUN_NUMBER": str(world.run_id),
        # Act's own name for the commit.
        "SHA_REF": event.sha,
        "HOME": str(Path.home()),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"),
        "STAND_IN_ORIGIN": origin,
        "STAND_IN_PYTHON": sys.executable,
        "STAND_IN_SOURCE": str(Path(__file__).parents[1]),
        "STAND_IN_STORE": str(world.store.resolve()),
    }
    return {name: value for name, value in described.items() if value}


def call_act(
    command: list[str], scratch: Path, name: str, limit_seconds: float
) -> tuple[list[dict[str, Any]], str, int]:
    """Call act, away from the settings of whoever calls it, and read its records."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(HIDDEN)}
    environment |= {"HOME": str(scratch), "XDG_CONFIG_HOME": str(scratch)}
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command, cwd=scratch, env=environment, text=True, start_new_session=True, **pipes
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired as error:
            stop(process)
            raise RefusedError(f"{name} ran longer than {limit_seconds:g} seconds") from error
    records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    complaint = re.search(r"^Error:\W*(.+)", errors, re.MULTILINE)
    return records, complaint[1] if complaint else "it said nothing", process.returncode


def stop(process: "subprocess.Popen[str]") -> None:
    """Ask act to end, which ends the steps that it had started; then end what is left."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
