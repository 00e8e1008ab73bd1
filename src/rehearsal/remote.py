"""Repositories on loopback: what is changed in one, and a remote with branches and pull requests as on GitHub."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NAME, EMAIL = "Ada", "ada@example.com"
AUTHOR = {"GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL}
COMMITTER = {"GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL}


def call_git(folder: Path, *arguments: str) -> str:
    """Call Git in a folder; return what it prints."""
    environment = {**os.environ, **AUTHOR, **COMMITTER}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def introduce_author(folder: Path) -> None:
    """Tell a repository who commits to it, whoever calls Git."""
    call_git(folder, "config", "user.name", NAME)
    call_git(folder, "config", "user.email", EMAIL)


def copy_files(source: Path, folder: Path) -> None:
    """Copy a repository's files, as they are now, into a folder; what its .gitignore names is left out."""
    listed = call_git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(source / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, folder / name, follow_symlinks=False)


def change_params(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change keys of sections of a folder's params.yaml; its comments go."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, values in changes.items():
        params[section].update(values)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@dataclass(frozen=True)
class Remote:
    """A bare repository, and a clone of it in which changes are made."""

    bare: Path
    clone: Path

    def commit(self, message: str, branch: str = "main") -> str:
        """Commit everything in the clone, and push it to a branch; return the commit."""
        call_git(self.clone, "add", "--all")
        call_git(self.clone, "commit", "--quiet", "--allow-empty", "--message", message)
        call_git(self.clone, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return call_git(self.clone, "rev-parse", "HEAD")

    def change(self, branch: str, files: dict[str, tuple[str, str]]) -> str:
        """Replace a text in each of some files on a branch that leaves main; return the branch's commit."""
        call_git(self.clone, "checkout", "--quiet", "-B", branch, "origin/main")
        self.replace(files)
        return self.commit(f"Change {', '.join(files)}", branch)

    def replace(self, files: dict[str, tuple[str, str]]) -> None:
        """Replace a text in each of some files of the clone."""
        for name, (old, new) in files.items():
            path = self.clone / name
            content = path.read_text(encoding="utf-8")
            if old not in content:
                raise ValueError(f"{name} holds no {old!r}")
            path.write_text(content.replace(old, new, 1), encoding="utf-8")

    def merge(self, branch: str, number: int) -> str:
        """Lay the merge of a branch into main down as GitHub does, at refs/pull/N/merge; return its commit."""
        call_git(self.clone, "checkout", "--quiet", "--detach", "origin/main")
        message = f"Merge {branch} into main"
        call_git(self.clone, "merge", "--quiet", "--no-ff", "--message", message, f"origin/{branch}")
        call_git(self.clone, "push", "--quiet", "--force", "origin", f"HEAD:refs/pull/{number}/merge")
        return call_git(self.clone, "rev-parse", "HEAD")

    def push_main(self, commit: str) -> None:
        """Push a commit to main."""
        call_git(self.clone, "push", "--quiet", "origin", f"{commit}:refs/heads/main")
        self.check_out(commit)

    def find(self, branch: str) -> str:
        """Find the newest commit of a branch."""
        return call_git(self.bare, "rev-parse", f"refs/heads/{branch}")

    def check_out(self, revision: str) -> None:
        """Lay the clone out at a revision."""
        call_git(self.clone, "fetch", "--quiet", "origin")
        call_git(self.clone, "checkout", "--quiet", "--force", "--detach", revision)


def make_remote(source: Path, folder: Path) -> Remote:
    """Make a remote whose main branch holds a repository's files as they are now, in one commit.

    Parameters
    ----------
    source : Path
        A repository; what its .gitignore names is left out.
    folder : Path
        Where the remote and its clone come to lie.
    """
    bare, clone = folder / "remote.git", folder / "clone"
    call_git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    call_git(folder, "clone", "--quiet", str(bare), str(clone))
    copy_files(source, clone)
    remote = Remote(bare, clone)
    remote.commit("Begin")
    call_git(clone, "remote", "set-head", "origin", "main")
    return remote
