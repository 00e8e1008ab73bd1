"""A small repository with two commits and two models, a real cache and a real remote; tests copy it."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from lifecycle.repository import find_hash, read_lock
from rehearsal.remote import change_params, introduce_author

MODEL = "out/model.onnx"
CACHE, REMOTE = ".dvc/cache", ".dvc/sample-store"
PARAMS = Path(__file__).parents[2] / "params.yaml"
CONFIG = "[core]\n    remote = store\n['remote \"store\"']\n    url = sample-store\n    verify = true\n"


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Run Git and give what it printed."""
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_model(folder: Path, name: str, seed: int, data: str) -> None:
    """Write what a folder needs to make a model, whose bytes are its parameters and its data."""
    shutil.copy(PARAMS, folder)
    change_params(folder, {"registry": {"name": name}, "train": {"seed": seed}})
    stage = {
        "cmd": f"mkdir -p out && cat params.yaml {data}/* > {MODEL}"
        f' && echo \'{{"some_error": {{"value": {seed}.5}}}}\' > out/metrics.json'
        ' && echo \'{"python": "3.11"}\' > out/environment.json',
        "deps": [data],
        "params": ["train"],
        "outs": [MODEL, {"out/metrics.json": {"cache": False}}, {"out/environment.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}), encoding="utf-8")


def reproduce_and_commit(folder: Path, message: str) -> None:
    """Run the pipelines of the folder and those below it, push their bytes to the remote, and commit."""
    with Repo(str(folder)) as repo:
        repo.reproduce(targets=[str(folder)], recursive=True)
        repo.push()
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", message, cwd=folder)


def build_once(folder: Path) -> Path:
    """Build, once in a run of the tests: two commits on main, each with its model, and a second model's folder."""
    if folder.exists():
        return folder
    (folder / "data").mkdir(parents=True)
    (folder / "data/2024-01.csv").write_text("one\n", encoding="utf-8")
    (folder / "data/2024-02.csv").write_text("two, longer\n", encoding="utf-8")
    git("init", "--quiet", "--initial-branch=main", cwd=folder)
    introduce_author(folder)
    Repo.init(str(folder)).close()
    (folder / ".dvc/config").write_text(CONFIG, encoding="utf-8")
    (folder / ".dvcignore").write_text(".dvc/sample-store\n", encoding="utf-8")
    with Repo(str(folder)) as repo:
        repo.add(str(folder / "data"))
    write_model(folder, "model", 0, "data")
    reproduce_and_commit(folder, "Fit the first model")
    (folder / "second").mkdir()
    write_model(folder, "model", 1, "data")
    write_model(folder / "second", "second", 2, "../data")
    reproduce_and_commit(folder, "Fit two others")
    return folder


def copy_repository(factory: pytest.TempPathFactory, destination: Path) -> Path:
    """Copy the repository for a test to change."""
    return Path(shutil.copytree(build_once(factory.getbasetemp() / "built"), destination, symlinks=True))


def find_blob(store: str, revision: str = "HEAD") -> Path:
    """Find the model's file in the cache or in the remote."""
    md5 = str(find_hash(read_lock(revision), MODEL))
    return Path(store, "files/md5", md5[:2], md5[2:])
