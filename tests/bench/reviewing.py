"""How long a pull request waits for its report: what train.yml and report.yml run, in a fresh clone."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tests.bench.line import Line

COMMANDS = ("make install", "make reproduce BASE=HEAD~1", "make report BASE=HEAD~1")
AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")


def measure_review(folder: Path) -> Iterator[Line]:
    """Time the commands between a push and its comment: with nothing at hand, and with the runner's caches."""
    packages = folder / "packages"
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment |= {"UV_CACHE_DIR": str(packages), "PYTHON": sys.executable}
    for title in ("cold", "with caches"):
        clone = make_clone(folder / title.replace(" ", "-"))
        if title != "cold":
            shutil.copytree(folder / "cold/.dvc/cache", clone / ".dvc/cache")
            # What a pull request changes is in no cache yet.
            shutil.rmtree(clone / ".dvc/cache/runs", ignore_errors=True)
        seconds = [measure_command(clone, command, environment) for command in COMMANDS]
        parts = zip(COMMANDS, seconds, strict=True)
        note = ", ".join(f"{command.split()[1]} {part:.0f} s" for command, part in parts)
        yield Line(f"from push to report, {title}, seconds", sum(seconds), note=note)


def make_clone(folder: Path) -> Path:
    """Clone this repository's last commit, and change what the fit draws by in a commit on top."""
    subprocess.run(["git", "clone", "--quiet", Path.cwd(), folder], check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["train"]["seed"] += 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    subprocess.run(["git", *AUTHOR, "commit", "--quiet", "--all", "--message", "Try"], cwd=folder, check=True)
    return folder


def measure_command(folder: Path, command: str, environment: Mapping[str, str]) -> float:
    """Time a command; the lock of such a change is stale, so its check ends with 1, as it should."""
    start = time.perf_counter()
    done = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and "lock: stale" not in done.stdout:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return time.perf_counter() - start
