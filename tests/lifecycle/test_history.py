"""Proposals to retrain are found among the last pull requests; what GitHub or the disk does wrong is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosting import use_github

import rehearsal.github_settings  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.client import Client
from lifecycle.github.history import MOST_PAGES, PER_PAGE, list_retrainings, write_reports
from rehearsal.events import open_pull_request
from rehearsal.github import Repository

RETRAIN: dict[str, Any] = {"labels": [{"name": "retrain"}], "merged_at": None}


@pytest.fixture(name="github")
def fixture_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A new repository on GitHub."""
    with use_github(monkeypatch, tmp_path) as repository:
        yield repository


def open_pulls(github: Repository, count: int, **proposals: dict[str, Any]) -> Client:
    """Let there be as many pull requests, some of them proposals: ``pull_`` and the number -> their fields."""
    for number in range(1, count + 1):
        changes = proposals.get(f"pull_{number}", {})
        pull = open_pull_request(github.full_name, f"b{number}", "a" * 40, number=number, **changes)
        github.pulls.append(pull)
    return Client(github.full_name)


def test_retrainings_are_found_on_later_pages_the_newest_first(github: Repository) -> None:
    client = open_pulls(github, PER_PAGE + 50, pull_1=RETRAIN, pull_120=RETRAIN)

    assert [found.number for found in list_retrainings(client)] == [120, 1]
    assert len(github.requests) == 2


def test_search_for_retrainings_ends_after_the_last_pages(github: Repository) -> None:
    client = open_pulls(github, PER_PAGE * MOST_PAGES + 1, pull_1=RETRAIN, pull_2=RETRAIN)

    assert [found.number for found in list_retrainings(client)] == [2]
    assert len(github.requests) == MOST_PAGES


def test_pull_request_in_an_unknown_form_is_told(github: Repository) -> None:
    client = open_pulls(github, 1, pull_1={**RETRAIN, "created_at": "yesterday"})

    with pytest.raises(RefusedError, match="^GitHub described a pull request in an unknown way: created_at "):
        list_retrainings(client)


def test_folder_that_cannot_be_written_to_is_told(github: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")

    with pytest.raises(MisuseError, match=r"^cannot write to .*/file: File exists; name another folder\.$"):
        write_reports(Client(github.full_name), tmp_path / "file", 90)

    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
