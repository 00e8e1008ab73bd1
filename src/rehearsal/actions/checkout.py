"""A checkout from the rehearsed repository's own remote, at the commit that was asked for."""

import os
import subprocess
from pathlib import Path

from rehearsal.actions.step import fail, find_workspace, is_true, read_inputs, set_output


def run_git(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run Git in a folder; a fault fails the step."""
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        fail(f"git {' '.join(arguments)} ended with {done.returncode}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def checkout(inputs: dict[str, str]) -> None:
    """Fetch a branch, tag or commit, as deep as was asked, and check it out."""
    if inputs["repository"] != os.environ["GITHUB_REPOSITORY"]:
        fail(f"Not found: {inputs['repository']}; the rehearsal has only {os.environ['GITHUB_REPOSITORY']}")
    folder = find_workspace() / inputs["path"]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        run_git(folder, "init", "--quiet")
    # A remote of that name may be there already, of an earlier checkout or of the copied folder.
    run_git(folder, "remote", "remove", "origin", check=False)
    run_git(folder, "remote", "add", "origin", os.environ["STAND_IN_ORIGIN"])
    reference = inputs["ref"] or os.environ["GITHUB_SHA"]
    depth = int(inputs["fetch-depth"])
    options = ["--quiet", "--force", "--tags" if depth == 0 or is_true(inputs["fetch-tags"]) else "--no-tags"]
    if depth == 0:
        run_git(folder, "fetch", *options, "origin", "+refs/heads/*:refs/remotes/origin/*")
    run_git(folder, "fetch", *options, *([f"--depth={depth}"] if depth else []), "origin", reference)
    commit = run_git(folder, "rev-parse", "FETCH_HEAD^{commit}")
    branch = reference.removeprefix("refs/heads/")
    is_branch = bool(run_git(folder, "ls-remote", "--heads", "origin", f"refs/heads/{branch}"))
    target = ["-B", branch, commit] if is_branch else ["--detach", commit]
    run_git(folder, "checkout", "--quiet", "--force", *target)
    if is_true(inputs["clean"]):
        run_git(folder, "clean", "-ffdxq")
    print(f"Checked out {reference} at {commit}")
    set_output("ref", reference)
    set_output("commit", commit)


if __name__ == "__main__":
    checkout(read_inputs())
