"""Make an experiment a branch: one commit, ready for a pull request; the working folder stays as it is."""

import shutil
import sys
from pathlib import Path

import yaml

from lifecycle.comparison.changes import flatten
from lifecycle.comparison.snapshot import PARAMS
from lifecycle.errors import MisuseError
from lifecycle.experiments.settings import Settings, edit_params
from lifecycle.experiments.table import Experiment
from lifecycle.paths import find_top
from lifecycle.repository import read_at
from lifecycle.tools import run_tool
from lifecycle.worktree import check_branch, check_out

LOCAL_CONFIG = Path(".dvc/config.local")


def make_branch(experiment: Experiment, branch: str) -> None:
    """Commit an experiment to a new branch, and push the bytes that its dvc.lock names to DVC's remote.

    A remote within the repository is part of the commit.

    Parameters
    ----------
    experiment : Experiment
    branch : str
        Of a name that is free.

    Raises
    ------
    MisuseError
        If there is a branch of this name, or Git takes no such name.
    RefusedError
        If the bytes cannot be pushed. There is then no branch.
    """
    check_branch(branch)
    with check_out(experiment.commit) as folder:
        _restore_form(experiment.commit, folder / PARAMS)
        _share_cache(folder)
        run_tool(folder, sys.executable, "-m", "dvc", "push", "--quiet")
        run_tool(folder, "git", "add", "--all", "--", ":(top)")
        run_tool(folder, "git", "commit", "--quiet", "--amend", "--no-edit", "--no-verify")
        # Last, so that nothing is left of a failure.
        run_tool(folder, "git", "branch", "--no-track", branch, "HEAD")


def _restore_form(commit: str, path: Path) -> None:
    """Write params.yaml as people did: DVC loses its form when it sets a value."""
    former = read_at(f"{commit}^", PARAMS) or b""
    content = path.read_bytes()
    values = yaml.safe_load(content)
    before = flatten(yaml.safe_load(former))
    changed = {key: find_value(values, key) for key, text in flatten(values).items() if before.get(key) != text}
    try:
        edited = edit_params(former, changed)
    except MisuseError:
        # Keys were added by hand; then DVC's form stays.
        return
    if yaml.safe_load(edited) == values:
        path.write_bytes(edited)


def find_value(values: Settings, key: str) -> object:
    """Find the value of a dotted key."""
    value: object = values
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else None
    return value


def _share_cache(folder: Path) -> None:
    """Let DVC in a copy find this clone's cache and its remotes' local settings."""
    if (config := find_top() / LOCAL_CONFIG).is_file():
        shutil.copy(config, find_top(folder) / LOCAL_CONFIG)
    cache = run_tool(Path(), sys.executable, "-m", "dvc", "cache", "dir").strip()
    run_tool(folder, sys.executable, "-m", "dvc", "cache", "dir", "--quiet", "--local", str(Path(cache).resolve()))
