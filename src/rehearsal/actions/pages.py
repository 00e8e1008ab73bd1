"""GitHub Pages in a folder: what upload-pages-artifact 5 packs, deploy-pages 5 lays out there."""

import os
import shutil
import sys
import tarfile

from rehearsal.actions.artifacts import number_artifact
from rehearsal.actions.step import fail, find_store, find_workspace, is_true, read_inputs, set_output

ARCHIVE = "artifact.tar"


def pack(inputs: dict[str, str]) -> None:
    """Pack a folder as an artifact of this run."""
    folder = find_workspace() / inputs["path"]
    if not folder.is_dir():
        fail(f"{inputs['path']} is no folder")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not is_true(inputs["include-hidden-files"]):
        files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    run = os.environ["GITHUB_RUN_ID"]
    with tarfile.open(find_store("artifacts", run, inputs["name"]) / ARCHIVE, "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(folder))
    print(f"Packed {len(files)} files")
    set_output("artifact_id", number_artifact(run, inputs["name"]))


def deploy(inputs: dict[str, str]) -> None:
    """Put the files of this run's artifact in the place of those that were published before."""
    run = os.environ["GITHUB_RUN_ID"]
    archive = find_store("artifacts", run) / inputs["artifact_name"] / ARCHIVE
    if not archive.is_file():
        fail(f'No artifacts named "{inputs["artifact_name"]}" were found for this workflow run.')
    shutil.rmtree(find_store("pages"))
    with tarfile.open(archive) as files:
        files.extractall(find_store("pages"), filter="data")
    owner, _, name = os.environ["GITHUB_REPOSITORY"].partition("/")
    set_output("page_url", f"https://{owner}.github.io/{name}/")


if __name__ == "__main__":
    {"pack": pack, "deploy": deploy}[sys.argv[1]](read_inputs())
