"""Write hyperparameters that were found into params.yaml, on a branch of their own."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.results import run_tool
from lifecycle.repository import require_revision, resolve_revision
from lifecycle.tuning.space import Values

PARAMS = Path("params.yaml")


def check_branch(branch: str) -> None:
    """Check that a branch can be made, before hours are spent.

    Raises
    ------
    MisuseError
        If there is one of that name, or no commit to start from.
    """
    require_revision("HEAD")
    if resolve_revision(f"refs/heads/{branch}"):
        raise MisuseError(f"there is a branch {branch!r}; name another one, or delete it.")


def change_params(text: str, values: Values) -> str:
    """Change hyperparameters in the text of params.yaml, and nothing else of it.

    Raises
    ------
    RefusedError
        If one does not stand on a line of its own in the section ``train``.
    """
    before, section, after = re.split(r"(?ms)(^train:.*?)(?=^\S|\Z)", text, maxsplit=1)
    for name, value in values.items():
        section = re.sub(
            rf"(?m)^( +{name}: *)[^\s#]+", lambda match, new=value: f"{match[1]}{json.dumps(new)}", section
        )
    changed = yaml.safe_load(text)
    changed["train"].update(values)
    if yaml.safe_load(before + section + after) != changed:
        raise RefusedError(
            f"{PARAMS} has no line of its own for each of train.{', train.'.join(values)}; write them so."
        )
    return before + section + after


def commit_branch(branch: str, report: Mapping[str, Any]) -> None:
    """Commit the winner's params.yaml to a new branch, and leave the working folder as it is.

    Raises
    ------
    RefusedError
        If Git does not do it.
    """
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "tree"
        run_tool(Path(), "git", "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
        try:
            path = tree / run_tool(Path(), "git", "rev-parse", "--show-prefix").strip() / PARAMS
            path.write_text(
                change_params(path.read_text(encoding="utf-8"), report["winner"]["values"]), encoding="utf-8"
            )
            title = "Take the hyperparameters that the search found"
            run_tool(tree, "git", "commit", "--quiet", "--all", "--message", title, "--message", report["sentence"])
            run_tool(tree, "git", "branch", branch)
        finally:
            run_tool(Path(), "git", "worktree", "remove", "--force", str(tree))
