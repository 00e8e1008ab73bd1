"""Carry what a run made from the job that ran it to the job that may push it.

The first runs the branch's code and may write nothing; the second may push, and runs the default branch's code. What
lies between them is an archive that is read as data. Needs the standard library alone.
"""

import argparse
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lifecycle.errors import RefusedError, run
from lifecycle.paths import find_top
from lifecycle.tools import run_tool

ARCHIVE = Path("out/results.tar")
# What a run may change in Git: lock, the data's hash, metrics and plot data, and the store inside the repository.
ALLOWED = re.compile(
    r"(models/[a-z0-9-]+/)?(dvc\.lock|data\.dvc|out/([a-z_]+/)?[a-z_]+\.json)|models/[a-z0-9-]+/dvc\.yaml|"
    r"\.dvc/sample-store/files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?"
)
MOST_BYTES = 100_000_000
WORKFLOWS = ("check.yml", "train.yml")
# Git asks gh for the token, so that it stands in no argument and in no file.
CREDENTIALS = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")
BOT = "github-actions[bot]"
AUTHOR = ("-c", f"user.name={BOT}", "-c", f"user.email=41898282+{BOT}@users.noreply.github.com")


def pack(folder: Path, archive: Path) -> list[str]:
    """Pack the files that a run changed; return their names."""
    changed = run_tool(folder, "git", "ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")
    names = [name for name in changed if ALLOWED.fullmatch(name)]
    with tarfile.open(archive, "w") as target:
        for name in names:
            target.add(folder / name, name)
    return names


def unpack(archive: Path, folder: Path) -> list[str]:
    """Write the files of an archive into a folder; nothing is written unless all of them may be.

    Raises
    ------
    RefusedError
        Naming the first one that is no regular file, has no name that a run's results have, or is too large.
    """
    try:
        with tarfile.open(archive) as source:
            contents = dict(_read_members(source))
    except tarfile.TarError as error:
        raise RefusedError(f"{archive.name} is no archive of results: {error}") from error
    for name in contents:
        path = folder / name
        if folder.resolve() not in path.resolve().parents or path.is_symlink():
            raise RefusedError(f"{name} leads out of the branch's folder.")
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(contents)


def _read_members(source: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Read the members that may be there."""
    left = MOST_BYTES
    for member in source:
        if not member.isreg() or not ALLOWED.fullmatch(member.name):
            raise RefusedError(f"{member.name[:200]!r} is nothing that a run of the pipeline makes.")
        left -= member.size
        if left < 0:
            raise RefusedError(f"the results have more than {MOST_BYTES:,} bytes.")
        file = source.extractfile(member)
        yield member.name, file.read() if file else b""


def commit(archive: Path, folder: Path, branch: str) -> str:
    """Commit an archive's files to a branch, push it, and start the checks on the new commit.

    Returns
    -------
    str
        What was done, in one line.

    Raises
    ------
    RefusedError
        As `unpack`, or if the branch has moved on.
    """
    names = unpack(archive, folder)
    run_tool(folder, "git", "add", "--", *names)
    if not run_tool(folder, "git", "diff", "--cached", "--name-only"):
        return "Nothing to commit: dvc.lock says already what this branch makes."
    run_tool(folder, "git", *AUTHOR, "commit", "--quiet", "--message", "Reproduce the pipeline")
    run_tool(folder, "git", *CREDENTIALS, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
    start_checks(folder, branch)
    return f"Committed {len(names)} files to {branch}, and started {' and '.join(WORKFLOWS)}."


def start_checks(folder: Path, branch: str) -> None:
    """Start the checks on a branch: the default token's push starts none, but a workflow that it dispatches runs."""
    for workflow in WORKFLOWS:
        run_tool(
            folder, "gh", "workflow", "run", workflow, "--repo", os.environ["GITHUB_REPOSITORY"], "--ref", branch
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Pack what a run made, or commit it to a branch."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.github.results", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pack", help=f"pack what changed here into {ARCHIVE}")
    committing = commands.add_parser("commit", help="commit an archive's files, push them and start the checks")
    committing.add_argument("archive", type=Path)
    committing.add_argument("folder", type=Path, help="the branch's checkout")
    committing.add_argument("branch")
    arguments = parser.parse_args(argv)
    if arguments.command == "pack":
        names = pack(find_top(), ARCHIVE)
        print("\n".join(names) or "Nothing changed.")
    else:
        print(commit(arguments.archive.resolve(), arguments.folder, arguments.branch))


if __name__ == "__main__":
    run(main)
