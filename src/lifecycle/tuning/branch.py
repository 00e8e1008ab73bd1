"""Write hyperparameters that were found into params.yaml, on a branch of their own."""

from collections.abc import Mapping
from typing import Any

from lifecycle.comparison.snapshot import PARAMS
from lifecycle.experiments.settings import edit_params
from lifecycle.tools import run_tool
from lifecycle.worktree import check_out


def commit_branch(branch: str, report: Mapping[str, Any]) -> None:
    """Commit the winner's params.yaml to a new branch, and leave the working folder as it is.

    Raises
    ------
    MisuseError
        If params.yaml has not all of the hyperparameters.
    RefusedError
        If Git does not do it.
    """
    settings = {f"train.{name}": value for name, value in report["winner"]["values"].items()}
    with check_out("HEAD") as folder:
        path = folder / PARAMS
        path.write_bytes(edit_params(path.read_bytes(), settings))
        title = "Take the hyperparameters that the search found"
        run_tool(folder, "git", "commit", "--quiet", "--all", "--message", title, "--message", report["sentence"])
        run_tool(folder, "git", "branch", branch)
