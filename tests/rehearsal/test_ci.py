"""What the rehearsal of the workflows takes for granted."""

import shlex
import sys
from pathlib import Path

import pytest
from conftest import run_command

from lifecycle.errors import MisuseError
from rehearsal.ci import FEW_TESTS, list_missed, main, write_table
from rehearsal.github import Repository
from rehearsal.outcome import Job
from rehearsal.remote import Remote
from rehearsal.stage import Stage
from tests.rehearsal.workflows import write_job, write_workflow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["not acceptance and not drill", "acceptance", "drill"])
def test_each_command_of_check_yml_finds_one_of_the_few(kind: str) -> None:
    few = shlex.split(FEW_TESTS["PYTEST_ADDOPTS"])

    # pytest takes it for a fault when there is none.
    run_command(ROOT, sys.executable, "-m", "pytest", "--collect-only", "-m", kind, *few)


@pytest.mark.usefixtures("readings_folder")
def test_model_of_other_hyperparameters_is_told_before_anything_runs() -> None:
    with pytest.raises(MisuseError, match=r"^params\.yaml has no train\.max_iter, which these pull requests change"):
        main([])


def play(folder: Path, *results: str) -> Stage:
    """Make a stage on which a job came out like this, one run after the other."""
    jobs = [Job("page", "Page", result, (), "", "", "github.ref_name == 'main'") for result in results]
    played = [("push", "try.yml", job, job.result, "1 s") for job in jobs]
    return Stage(Remote(folder, folder), Repository(full_name="team/model"), folder, {}, played)


@pytest.mark.parametrize(
    ("condition", "results", "missed"),
    [
        ("github.ref_name == 'main'", (), ["try.yml, page was never started", "try.yml, page was never skipped"]),
        ("github.ref_name == 'main'", ("success",), ["try.yml, page was never skipped"]),
        ("github.ref_name == 'main'", ("skipped",), ["try.yml, page was never started"]),
        ("github.ref_name == 'main'", ("skipped", "failure"), []),
        ("always()", ("success",), []),
    ],
)
def test_condition_that_did_not_come_out_both_ways_is_named(
    condition: str, results: tuple[str, ...], missed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_workflow(tmp_path, write_job("page", "run: true", if_=condition))
    monkeypatch.chdir(tmp_path)

    assert list_missed(play(tmp_path, *results)) == missed


def test_table_says_when_a_skipped_job_would_have_run(tmp_path: Path) -> None:
    assert write_table(play(tmp_path, "skipped")).splitlines()[1].endswith("  github.ref_name == 'main'")
