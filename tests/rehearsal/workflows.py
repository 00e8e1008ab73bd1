"""Small workflows and a repository to run them in."""

import subprocess
from pathlib import Path
from typing import Any

from tools import require_tool

from rehearsal.events import Event, push
from rehearsal.outcome import Run
from rehearsal.runner import World, run_workflow

REPOSITORY = "team/model"
CHECKOUT = "uses: actions/checkout@v7"


def make_repository(folder: Path) -> Path:
    """Make a repository of two commits, with a remote that has them."""
    folder.mkdir()
    run_git(folder, "init", "--quiet", "--initial-branch", "main")
    for name in ("first", "second"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
        run_git(folder, "add", name)
        run_git(folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "-m", name)
    remote = folder.parent / f"{folder.name}.git"
    run_git(folder, "clone", "--quiet", "--bare", str(folder), str(remote))
    run_git(folder, "remote", "add", "origin", str(remote))
    return folder


def run_git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write_workflow(folder: Path, jobs: str, on: str = "push", name: str = "try.yml") -> Path:
    """Write a workflow with these jobs."""
    path = folder / ".github/workflows" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"name: Try\non: {on}\npermissions: {{}}\ndefaults: {{ run: {{ shell: bash }} }}\n"
    path.write_text(f"{head}jobs:\n{jobs}", encoding="utf-8")
    return path


def write_job(job_id: str, *steps: str, **settings: str) -> str:
    """Write a job: each step is one of YAML's lines, or several; settings are YAML too."""
    lines = [f"  {job_id}:", "    runs-on: ubuntu-latest"]
    lines += [f"    {key.rstrip('_').replace('_', '-')}: {value}" for key, value in settings.items()]
    lines.append("    steps:")
    for step in steps:
        first, *others = step.splitlines()
        lines += [f"      - {first}", *(f"        {line}" for line in others)]
    return "\n".join(lines) + "\n"


def run_jobs(
    folder: Path, *jobs: str, event: Event | None = None, on: str = "push", limit_seconds: float = 50, **world: Any
) -> Run:
    """Run jobs in a repository, for a push where no other event is given."""
    require_tool("act")
    path = write_workflow(folder, "".join(jobs), on)
    event = event or push(REPOSITORY, run_git(folder, "rev-parse", "HEAD"))
    return run_workflow(path, event, World(folder, folder.parent / "store", **world), limit_seconds)


def list_results(run: Run) -> dict[str, str]:
    """List the jobs' results by their names."""
    return {job.name: job.result for job in run.jobs}
