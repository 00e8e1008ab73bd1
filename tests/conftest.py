"""A small copy of this repository with a second task, trained and committed, for the tests that need a whole one.

The machinery's tests use the task of tests/fork, so that they hold in a fork that replaces the first one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from readings import write_params

from lifecycle.errors import run
from lifecycle.paths import ONNX
from lifecycle.repository import find_hash, hash_content
from rehearsal.remote import change_params, copy_files, introduce_author

ROOT = Path(__file__).parents[1]
FORK = Path(__file__).parent / "fork"
# A package of another name than the repository's own domain, so that one process may import both.
PACKAGE = "parts"
# What the second task's model is called, and where DVC keeps its bytes.
NAME, STORES = "part-failure", (".dvc/cache", ".dvc/sample-store")
# Whoever runs the tests may record runs; those of the tests are none.
for variable in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE"):
    os.environ.pop(variable, None)
# It belongs to the fork's domain, and runs in the drill's copy.
collect_ignore = ["fork"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count what tests the world on loopback among the tests that take long."""
    for item in items:
        if item.path.parent.name == "rehearsal" and not item.get_closest_marker("drill"):
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture(autouse=True, scope="module")
def fixture_fresh_session() -> None:
    """Let no module meet the keys with which another one opened its clients."""
    if boto3 := sys.modules.get("boto3"):
        boto3.DEFAULT_SESSION = None


def run_command(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder with that folder's code."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def run_python(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a Python module in a folder, as its Makefile would."""
    return run_command(folder, sys.executable, "-m", *arguments, check=check)


def run_here(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this project as `run_python` does, in this process, which has loaded the libraries already."""
    said, complained = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained):
        patch.chdir(folder)
        patch.syspath_prepend(str(folder / "src"))
        patch.setattr(sys, "argv", [module, *arguments])
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            patch.delitem(sys.modules, name)
        with pytest.raises(SystemExit) as ended:
            run(import_module(module).main)
        # The next folder has a domain of its own under the same name.
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
    return subprocess.CompletedProcess([module, *arguments], ended.value.code, said.getvalue(), complained.getvalue())


def run_git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder."""
    return run_command(folder, "git", *arguments).stdout


def commit_all(folder: Path, message: str) -> None:
    """Commit everything."""
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--message", message)


def copy_repository(folder: Path) -> Path:
    """Copy this repository's files, as they are now and without other models, into a new one without a commit."""
    copy_files(ROOT, folder)
    shutil.rmtree(folder / "models", ignore_errors=True)
    run_git(folder, "init", "--quiet", "--initial-branch", "main")
    introduce_author(folder)
    return folder


def rename_domain(folder: Path) -> None:
    """Put the second task in the place of the first one, under a name of its own."""
    shutil.rmtree(folder / "src/domain")
    shutil.copytree(FORK / "src/domain", folder / "src" / PACKAGE)
    shutil.copy(FORK / "params.yaml", folder)
    for path in (folder / "src" / PACKAGE).glob("*.py"):
        replace_text(path, "from domain.", f"from {PACKAGE}.")
    replace_text(folder / "params.yaml", "domain: domain", f"domain: {PACKAGE}")
    replace_text(folder / "dvc.yaml", "src/domain", f"src/{PACKAGE}")


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace a text in a file."""
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.fixture(name="trained", scope="session")
def fixture_trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy with the second task's model, pushed and committed. Read it, and never write to it."""
    base = tmp_path_factory.getbasetemp()
    # The processes that share the tests share the copy too: the first one makes it, the others wait.
    shared = base if worker_id == "master" else base.parent
    folder = shared / "trained"
    with FileLock(shared / "trained.lock"):
        if not folder.exists():
            train_copy(shared / "training")
            (shared / "training").rename(folder)
    return folder


def train_copy(folder: Path) -> None:
    """Train the second task's model in a copy of the repository."""
    copy_repository(folder)
    rename_domain(folder)
    for name in (".dvc/sample-store", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("data.dvc", "dvc.lock"):
        (folder / name).unlink(missing_ok=True)
    # A plain model, so that there is room for better ones.
    changes = {"sample": {"rows_per_month": 3000}, "train": {"penalty": 5000.0}, "gate": {"max_latency_ms": 2}}
    change_params(folder, changes)
    run_python(folder, "lifecycle.sample")
    run_python(folder, "dvc", "add", "--quiet", "data")
    run_python(folder, "dvc", "repro", "--quiet")
    run_python(folder, "dvc", "push", "--quiet")
    commit_all(folder, "Train a small model")


@pytest.fixture(name="rivals", scope="session")
def fixture_rivals(trained: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy with the champion v1.0.0 and, checked out, its better challenger v1.1.0. Never write to it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / "rivals"
    with FileLock(shared / "rivals.lock"):
        if not folder.exists():
            shutil.copytree(trained, shared / "training-rivals", symlinks=True)
            train_rival(shared / "training-rivals")
            (shared / "training-rivals").rename(folder)
    return folder


def train_rival(folder: Path) -> None:
    """Make the model a version and the champion, and a better one the next version; only what serves is made anew."""
    run_git(folder, "tag", "--annotate", "--message", "Register", f"{NAME}@v1.0.0")
    run_git(folder, "tag", "--annotate", "--message", "Promote", f"{NAME}#production#1")
    change_params(folder, {"train": {"penalty": 1.0}})
    done = run_here(folder, "lifecycle.train")
    assert not done.returncode, done.stderr
    put_model(folder, (folder / ONNX).read_bytes())
    commit_all(folder, "Train a better model")
    run_git(folder, "tag", "--annotate", "--message", "Register", f"{NAME}@v1.1.0")


def put_model(folder: Path, model: bytes) -> None:
    """Put a model where the pipeline does: out/, dvc.lock, and DVC's cache and remote."""
    lock = (folder / "dvc.lock").read_text(encoding="utf-8")
    former, md5 = find_hash(yaml.safe_load(lock), str(ONNX)), hash_content(model)
    replace_text(folder / "dvc.lock", str(former), md5)
    (folder / ONNX).unlink()
    for path in (folder / ONNX, *(folder / store / "files/md5" / md5[:2] / md5[2:] for store in STORES)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model)


@pytest.fixture(name="workspace")
def fixture_workspace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A trained copy of the test's own, which is also the working folder."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder, symlinks=True)
    monkeypatch.chdir(folder)
    yield folder


@pytest.fixture(name="readings_folder")
def fixture_readings_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with the parameters of the smallest task, and no data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    write_params(tmp_path)
