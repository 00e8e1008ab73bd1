"""Artifacts in a folder: by run, then by name, as upload-artifact 7 puts them and download-artifact 8 takes them."""

import hashlib
import os
import shutil
import sys
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from rehearsal.actions.step import (
    expand_pattern,
    fail,
    find_store,
    find_workspace,
    is_true,
    list_patterns,
    read_inputs,
    set_output,
)

FORBIDDEN = set('":<>|*?\r\n\\/')


def number_artifact(run: str, name: str) -> int:
    """Give an artifact its number, which only has to be its own and the same again."""
    return zlib.crc32(f"{run}/{name}".encode())


def find_start(pattern: str) -> Path:
    """Find the folder from which a pattern searches: its parts before the first wildcard."""
    parts = PurePosixPath(pattern).parts
    wild = [place for place, part in enumerate(parts) if set(part) & set("*?[")]
    return find_workspace().joinpath(*parts[: wild[0]] if wild else parts)


def list_files(patterns: list[str], hidden: bool) -> list[Path]:
    """List the files that patterns name; one that starts with ! takes away what it matches."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        below = [file for path in expand_pattern(pattern.removeprefix("!")) for file in [path, *path.rglob("*")]]
        for path in (file for file in below if file.is_file()):
            if pattern.startswith("!"):
                found.pop(path, None)
            elif hidden or not is_hidden(path, find_start(pattern)):
                found[path] = None
    return list(found)


def is_hidden(path: Path, start: Path) -> bool:
    """Tell whether a search meets a hidden name: that of its start counts, those of the folders above do not."""
    return any(part.startswith(".") for part in path.relative_to(start.parent).parts)


def find_root(patterns: list[str]) -> Path:
    """Find the folder below which an artifact keeps its files' paths: what all searches have in common."""
    starts = [find_start(pattern) for pattern in patterns if not pattern.startswith("!")]
    root = Path(os.path.commonpath(starts))
    return root.parent if root.is_file() else root


def upload(inputs: dict[str, str]) -> None:
    """Store files as an artifact of this run."""
    patterns = list_patterns(inputs["path"])
    files = list_files(patterns, is_true(inputs["include-hidden-files"]))
    if not files:
        message = f"No files were found with the provided path: {inputs['path']}. No artifacts will be uploaded."
        if inputs["if-no-files-found"] == "error":
            fail(message)
        print(message if inputs["if-no-files-found"] == "ignore" else f"::warning::{message}")
        return
    name = inputs["name"]
    if not is_true(inputs["archive"]):
        if len(files) > 1:
            fail(f"archive is false and {len(files)} files were found; one file can be uploaded so")
        name = files[0].name
    if not name or set(name) & FORBIDDEN:
        fail(
            f"The artifact name is not valid: {name!r}. It may not hold any of {' '.join(sorted(FORBIDDEN)).strip()}"
        )
    run = os.environ["GITHUB_RUN_ID"]
    folder = find_store("artifacts", run) / name
    if folder.exists():
        if not is_true(inputs["overwrite"]):
            fail(f"an artifact with this name already exists on the workflow run: {name}")
        shutil.rmtree(folder)
    digest = hashlib.sha256()
    for file in files:
        target = folder / file.relative_to(find_root(patterns))
        target.parent.mkdir(parents=True, exist_ok=True)
        # An artifact's archive keeps contents, and no permissions.
        shutil.copyfile(file, target)
        digest.update(f"{target.relative_to(folder)}\0".encode() + file.read_bytes())
    number = number_artifact(run, name)
    print(f"Artifact {name} has been successfully uploaded: {len(files)} files, number {number}")
    set_output("artifact-id", number)
    set_output("artifact-digest", digest.hexdigest())
    server = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
    set_output("artifact-url", f"{server}/actions/runs/{run}/artifacts/{number}")


def select_artifacts(inputs: dict[str, str], run: str) -> list[Path]:
    """Select a run's artifacts by name, number or pattern."""
    folders = sorted(find_store("artifacts", run).iterdir())
    if inputs["name"]:
        if inputs["artifact-ids"]:
            fail("Inputs 'name' and 'artifact-ids' cannot be used together. Please specify only one.")
        named = [folder for folder in folders if folder.name == inputs["name"]]
        if not named:
            has = ", ".join(folder.name for folder in folders) or "none"
            fail(
                f"Unable to download artifact(s): Artifact not found for name: {inputs['name']}; run {run} has {has}"
            )
        return named
    if inputs["artifact-ids"]:
        numbers = {int(number) for number in inputs["artifact-ids"].split(",")}
        return [folder for folder in folders if number_artifact(run, folder.name) in numbers]
    return [folder for folder in folders if fnmatchcase(folder.name, inputs["pattern"] or "*")]


def download(inputs: dict[str, str]) -> None:
    """Copy artifacts into the job's folder; those of another run need a token, as on GitHub."""
    run = inputs["run-id"] if inputs["github-token"] else os.environ["GITHUB_RUN_ID"]
    if inputs["github-token"] and inputs["repository"] != os.environ["GITHUB_REPOSITORY"]:
        fail(f"Unable to download artifact(s): {inputs['repository']} is not in the rehearsal")
    folder = find_workspace() / Path(inputs["path"]).expanduser()
    selected = select_artifacts(inputs, run)
    together = len(selected) == 1 or is_true(inputs["merge-multiple"])
    for artifact in selected:
        shutil.copytree(artifact, folder if together else folder / artifact.name, dirs_exist_ok=True)
    print(f"Downloaded from run {run}: {', '.join(artifact.name for artifact in selected) or 'no artifact'}")
    set_output("download-path", folder)


if __name__ == "__main__":
    {"upload": upload, "download": download}[sys.argv[1]](read_inputs())
