"""Make an experiment a branch: one commit, ready for a pull request; the working folder stays as it is."""

import shutil
import sys
from pathlib import Path

import yaml

from lifecycle.comparison.changes import flatten
from lifecycle.comparison.snapshot import PARAMS
from lifecycle.errors import MisuseError, RefusedError, join_lines
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
        params = folder / PARAMS
        params.write_bytes(restore_form(read_at(f"{experiment.commit}^", PARAMS) or b"", params.read_bytes()))
        _share_cache(folder)
        run_tool(folder, sys.executable, "-m", "dvc", "push", "--quiet")
        run_tool(folder, "git", "add", "--all", "--", ":(top)")
        run_tool(folder, "git", "commit", "--quiet", "--amend", "--no-edit", "--no-verify")
        # Last, so that nothing is left of a failure.
        run_tool(folder, "git", "branch", "--no-track", branch, "HEAD")


def restore_form(former: bytes, content: bytes) -> bytes:
    """Write params.yaml as people did: DVC loses its form when it sets a value.

    Parameters
    ----------
    former : bytes
        The file before, in its form.
    content : bytes
        The file after, with its values.

    Returns
    -------
    bytes
        The values in the former form; ``content`` itself where keys came or went, which that form cannot hold.
    """
    values = yaml.safe_load(content)
    before = flatten(yaml.safe_load(former))
    changed = {key: find_value(values, key) for key, text in flatten(values).items() if before.get(key) != text}
    try:
        edited = edit_params(former, changed)
    except MisuseError:
        return content
    return edited if yaml.safe_load(edited) == values else content


def find_value(values: Settings, key: str) -> object:
    """Find the value of a dotted key."""
    value: object = values
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else None
    return value


def _share_cache(folder: Path) -> None:
    """Let DVC in a copy find this clone's cache and its remotes' local settings."""
    # Importing DVC takes half a second, which the other commands need not pay.
    from dvc.exceptions import DvcException  # pylint: disable=import-outside-toplevel
    from dvc.repo import Repo  # pylint: disable=import-outside-toplevel

    if (config := find_top() / LOCAL_CONFIG).is_file():
        shutil.copy(config, find_top(folder) / LOCAL_CONFIG)
    try:
        with Repo() as here, Repo(str(folder)) as copy, copy.config.edit("local") as settings:
            settings.setdefault("cache", {})["dir"] = str(Path(here.cache.local_cache_dir).resolve())
    except DvcException as error:
        raise RefusedError(f"DVC cannot work here: {join_lines(error)}. Correct {LOCAL_CONFIG}.") from error
