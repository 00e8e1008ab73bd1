"""A GitHub on loopback for the commands of a job, and the checkouts and files that a job has."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest
from repositories import git
from tools import require_tool

from lifecycle.github.results import pack
from rehearsal.github import Repository, serve_github


@contextmanager
def use_github(
    patch: pytest.MonkeyPatch, folder: Path, remote: Path | None = None, **variables: str
) -> Iterator[Repository]:
    """Serve a GitHub to this process, with the environment of a job and these variables in it."""
    require_tool("gh")
    repository = Repository(remote=remote)
    with serve_github(repository, folder) as environment:
        for name, value in {**environment, **variables}.items():
            patch.setenv(name, value)
        yield repository


@dataclass(frozen=True)
class Hosted:
    """A repository as jobs find it: its remote and its GitHub; ``work`` is a person's clone."""

    work: Path
    remote: Path
    github: Repository

    def check_out(self) -> Path:
        """Make the checkout of another job."""
        folder = Path(mkdtemp(prefix="job-", dir=self.work.parent))
        git("clone", "--quiet", str(self.remote), str(folder))
        return folder

    def push(self, message: str) -> str:
        """Commit everything in the person's clone, and push it to main; return the commit."""
        git("commit", "--quiet", "--all", "--message", message, cwd=self.work)
        git("push", "--quiet", "origin", "HEAD:main", cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)

    def list_branches(self) -> list[str]:
        """List the remote's branches and their commits."""
        return git("show-ref", "--heads", cwd=self.remote).splitlines()

    def list_started(self) -> list[tuple[str, str]]:
        """List the workflows that were started, and their branches."""
        return [(run["workflow"], run["ref"]) for run in self.github.dispatches]

    def read(self, name: str) -> str:
        """Read what jobs gave to the runner: ``output`` or ``summary``."""
        path = self.work.parent / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


@contextmanager
def host(patch: pytest.MonkeyPatch, work: Path, **variables: str) -> Iterator[Hosted]:
    """Put a clone's remote beside it, and serve its GitHub, with the environment of a job and these variables."""
    folder, remote = work.parent, work.parent / "remote.git"
    git("clone", "--quiet", "--bare", str(work), str(remote))
    git("remote", "add", "origin", str(remote), cwd=work)
    files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    with use_github(patch, folder, remote, **files, **variables) as github:
        yield Hosted(work, remote, github)


def pack_changes(work: Path, archive: Path, changes: Mapping[str, str]) -> Path:
    """Pack what a run would change in a clone, name -> text; the clone then is as it was."""
    for name, text in changes.items():
        (work / name).write_text(text, encoding="utf-8")
    pack(work, archive)
    git("checkout", "--quiet", "--", ".", cwd=work)
    return archive
