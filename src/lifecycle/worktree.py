"""Commit to another branch while the working folder stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lifecycle.errors import MisuseError
from lifecycle.repository import read_git, require_revision, resolve_revision, run_git
from lifecycle.tools import run_tool


def check_branch(branch: str) -> None:
    """Check that a branch can be made.

    Raises
    ------
    MisuseError
        If there is one of that name, Git takes no such name, or there is no commit to start from.
    """
    require_revision("HEAD")
    if resolve_revision(f"refs/heads/{branch}"):
        raise MisuseError(f"there is a branch {branch!r} already; name another one, or delete it.")
    if run_git("check-ref-format", "--branch", branch).returncode:
        raise MisuseError(f"{branch!r} is no name of a branch; name another one.")


@contextmanager
def check_out(revision: str) -> Iterator[Path]:
    """Check a revision out beside the working folder, and give the folder in it that corresponds to this one."""
    with TemporaryDirectory(prefix="worktree-") as temporary:
        root = Path(temporary).resolve() / "copy"
        run_tool(Path(), "git", "worktree", "add", "--quiet", "--detach", str(root), revision)
        try:
            yield root / read_git("rev-parse", "--show-prefix").strip()
        finally:
            run_git("worktree", "remove", "--force", str(root))
