"""Two models in one repository: the second one is a folder, and no line of the machinery changes for it."""

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from conftest import FORK, commit_all, copy_repository, run_command, run_git, run_python
from tools import require_tool

from lifecycle.experiments.settings import edit_params
from lifecycle.folders import derive_pipeline
from rehearsal import events
from rehearsal.outcome import Run
from rehearsal.remote import change_params, introduce_author
from rehearsal.runner import World, run_workflow

pytestmark = pytest.mark.drill

REPOSITORY, NAME = "team/models", "second"
FOLDER = Path("models") / NAME
TRAIN = Path(".github/workflows/train.yml")
# In the place of an installation: the environment that the tests run in.
SETUP = """
name: Set up
description: The environment at hand
runs:
  using: composite
  steps:
    - shell: bash
      run: mkdir .venv && ln -s {prefix}/* .venv && rm -f .venv/installed && touch .venv/installed
"""


@dataclass(frozen=True)
class Pair:
    """A repository with two models, on the main branch of its remote; ``first`` is the name of the first one."""

    folder: Path
    template: str
    first: str
    added: str

    @property
    def second(self) -> Path:
        """The second model's folder."""
        return self.folder / FOLDER


def add_second(folder: Path) -> None:
    """Make a second model as a person does: the folder, then another task, its parameters and its data."""
    run_python(folder, "lifecycle.models", "add", NAME)
    second = folder / FOLDER
    shutil.rmtree(second / "src/domain")
    shutil.copytree(FORK / "src/domain", second / "src/domain")
    names = {"registry.name": NAME, "infra.name": NAME}
    (second / "params.yaml").write_bytes(edit_params((FORK / "params.yaml").read_bytes(), names))
    run_model(folder, "lifecycle.sample")
    run_model(folder, "dvc", "add", "--quiet", "data")


def run_model(folder: Path, *arguments: str) -> str:
    """Run a module in the second model's folder, as make MODEL=second does; give what it prints."""
    return run_python(folder, "lifecycle.models", "run", NAME, *arguments).stdout


def list_ran(printed: str) -> list[str]:
    """List the stages that a pipeline ran."""
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage '")]


def clone(pair: Pair, folder: Path) -> Pair:
    """Clone the repository afresh."""
    run_git(pair.folder, "clone", "--quiet", str(pair.folder), str(folder))
    introduce_author(folder)
    return replace(pair, folder=folder)


@pytest.fixture(name="pair", scope="module")
def fixture_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The repository as it is with its own model, and a second one beside it, trained and committed."""
    folder = copy_repository(tmp_path_factory.mktemp("pair") / "repository")
    commit_all(folder, "Start from the template")
    template = run_git(folder, "rev-parse", "HEAD").strip()
    add_second(folder)
    printed = run_model(folder, "lifecycle.reproduce")
    assert list_ran(printed) == ["prepare", "environment", "train", "evaluate"]
    run_python(folder, "dvc", "push", "--quiet")
    commit_all(folder, "Add a second model")
    first = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["registry"]["name"]
    return Pair(folder, template, first, run_git(folder, "rev-parse", "HEAD").strip())


def test_second_model_changes_no_line_of_the_machinery(pair: Pair) -> None:
    counted = run_git(pair.folder, "diff", "--name-only", pair.template, pair.added).splitlines()

    assert f"{FOLDER}/params.yaml" in counted
    assert [path for path in counted if not path.startswith((f"{FOLDER}/", ".dvc/sample-store/"))] == []
    # Nor is any copied: what all models share are links, and the stages are those of the first one's machinery.
    assert [name for name in ("infra", "requirements.lock") if not (pair.second / name).is_symlink()] == []
    assert {path.name for path in (pair.second / "src").iterdir()} == {"domain"}
    derived = derive_pipeline((pair.folder / "dvc.yaml").read_text(encoding="utf-8"))
    assert (pair.second / "dvc.yaml").read_text(encoding="utf-8") == derived
    own = {path.split("/")[2] for path in counted if path.startswith(f"{FOLDER}/")}
    assert own == {"params.yaml", "data.dvc", "dvc.lock", "dvc.yaml", "out", "src", "infra", "requirements.lock"}


def test_fresh_clone_has_both_pipelines_and_both_registries(pair: Pair, tmp_path: Path) -> None:
    pair = clone(pair, tmp_path / "clone")

    ran = [list_ran(run_python(pair.folder, "lifecycle.reproduce").stdout)]
    ran.append(list_ran(run_model(pair.folder, "lifecycle.reproduce")))
    judged = [run_python(pair.folder, "lifecycle.gate").stdout, run_model(pair.folder, "lifecycle.gate")]
    run_python(pair.folder, "lifecycle.registry", "register")
    run_model(pair.folder, "lifecycle.registry", "register")
    run_model(pair.folder, "lifecycle.registry", "promote", "v1.0.0")

    # Rows are made anew where they are needed; what was trained comes from the remote.
    assert ran == [["prepare"], ["prepare"]]
    assert [text.count("gate: unchanged") for text in judged] == [1, 1]
    assert run_git(pair.folder, "tag").split() == sorted(
        [f"{pair.first}@v1.0.0", f"{NAME}@v1.0.0", f"{NAME}#production#1"]
    )
    assert run_model(pair.folder, "lifecycle.registry", "champion").startswith(f"{NAME}@v1.0.0, ")
    assert "champion" not in run_python(pair.folder, "lifecycle.registry", "show").stdout
    assert f"name: {NAME}\n" in run_model(pair.folder, "lifecycle.lineage", "v1.0.0")


def test_change_of_one_runs_only_its_stages_and_its_report_names_it(pair: Pair, tmp_path: Path) -> None:
    pair = clone(pair, tmp_path / "clone")
    run_model(pair.folder, "lifecycle.reproduce")
    run_git(pair.folder, "checkout", "--quiet", "-b", "work")
    change_params(pair.second, {"train": {"penalty": 1.0}})

    ran = list_ran(run_model(pair.folder, "lifecycle.reproduce"))
    run_model(pair.folder, "lifecycle.report", "--base", "HEAD")
    commit_all(pair.folder, "Change the second model")

    assert ran == ["train", "evaluate"]
    report = (pair.second / "out/report.md").read_text(encoding="utf-8")
    assert report.startswith("## ✅ second: pass")
    assert "make pipeline MODEL=second" in report
    assert run_python(pair.folder, "lifecycle.models", "touched").stdout.split() == [NAME]
    # The first one's stages have nothing to do, whatever happened beside them.
    assert (
        list_ran(run_command(pair.folder, sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing").stdout)
        == []
    )


def play(pair: Pair, world: World, branch: str) -> Run:
    """Open a pull request of a branch, and run train.yml for it."""
    base, head = (run_git(pair.folder, "rev-parse", name).strip() for name in ("origin/main", branch))
    pull = events.open_pull_request(REPOSITORY, branch, head, base_sha=base)
    run_git(
        pair.folder,
        "push",
        "--quiet",
        "--force",
        "origin",
        f"{head}:refs/pull/1/merge",
        f"{head}:refs/heads/{branch}",
    )
    event = replace(events.pull_request(pull), sha=head)
    return run_workflow(pair.folder / TRAIN, event, world)


def test_pull_request_runs_only_the_model_that_it_touches(pair: Pair, tmp_path: Path) -> None:
    require_tool("act")
    (remote := tmp_path / "remote.git").mkdir()
    run_git(remote, "clone", "--quiet", "--bare", str(pair.folder), str(remote))
    pair = clone(replace(pair, folder=remote), tmp_path / "clone")
    (pair.folder / ".github/actions/setup/action.yml").write_text(SETUP.format(prefix=sys.prefix), encoding="utf-8")
    commit_all(pair.folder, "Take the environment at hand")
    run_git(pair.folder, "push", "--quiet", "origin", "HEAD:main")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(pair.folder / "src")}
    world = World(pair.folder, tmp_path / "store", environment, fetch=True)
    run_git(pair.folder, "checkout", "--quiet", "-b", "words")
    (pair.folder / "README.md").write_text("# Two models\n", encoding="utf-8")
    commit_all(pair.folder, "Change words")
    run_git(pair.folder, "checkout", "--quiet", "-b", "better", "main")
    change_params(pair.second, {"train": {"penalty": 1.0}})
    run_model(pair.folder, "lifecycle.reproduce")
    run_python(pair.folder, "dvc", "push", "--quiet")
    commit_all(pair.folder, "Train a better second model")

    words, better = (
        play(pair, replace(world, run_id=number), branch) for number, branch in ((1, "words"), (2, "better"))
    )

    assert [(job.name, job.result) for job in words.jobs] == [
        ("Find the models that the change touches", "success"),
        ("Run the pipeline of ${{ matrix.model }}", "skipped"),
        ("Lock", "success"),
        ("Gate", "success"),
    ]
    assert "no model is touched" in words.find_job("gate").log
    assert [(job.name, job.result) for job in better.jobs][1:] == [
        ("Run the pipeline of second", "success"),
        ("Lock", "success"),
        ("Gate", "success"),
    ], "\n".join(job.log for job in better.jobs)
    assert "second: pass" in better.find_job("gate").log
    assert sorted(path.name for path in (tmp_path / "store/artifacts/2").iterdir()) == [
        "pages-second",
        "report-second",
    ]
