"""What retires: versions before the champion and the ones to go back to, and nothing that may still serve."""

from pathlib import Path

import pytest
from repositories import copy_repository, git

from lifecycle.delivery.service import Alias
from lifecycle.registry import PRODUCTION, Version, list_versions, promote_version, register_version
from lifecycle.retire import choose_published, choose_versions, main
from rehearsal.remote import change_params


def make_version(name: str, *stages: str, retired: bool = False) -> Version:
    """Make a registered version."""
    return Version(name, "0" * 40, "Ada", "2026-01-01", retired, stages)


@pytest.mark.parametrize(
    ("keep", "expected"), [(1, ["v1.1.0", "v1.0.0"]), (2, ["v1.0.0"]), (9, [])], ids=["one", "two", "all"]
)
def test_versions_older_than_those_to_go_back_to_are_retired(keep: int, expected: list[str]) -> None:
    versions = [
        make_version("v2.0.0"),
        make_version("v1.4.0", PRODUCTION),
        make_version("v1.3.0", retired=True),
        make_version("v1.2.0"),
        make_version("v1.1.0"),
        make_version("v1.0.0"),
    ]

    assert choose_versions(versions, keep) == expected


def test_version_with_a_stage_of_its_own_stays() -> None:
    versions = [make_version("v1.2.0", PRODUCTION), make_version("v1.1.0"), make_version("v1.0.0", "staging")]

    assert not choose_versions(versions, 1)


def test_without_a_champion_nothing_is_retired() -> None:
    assert not choose_versions([make_version("v1.1.0"), make_version("v1.0.0")], 1)


def test_function_keeps_champion_canary_the_one_before_and_the_newest_others() -> None:
    alias = Alias("7", {"9": 0.1}, "canary 9 since 1.0, before 2", "r")

    assert choose_published(["1", "2", "3", "7", "8", "9", "10"], alias, 1) == ["1", "3", "8"]
    assert not choose_published(["1", "2"], Alias("2", {}, "champion 2, before 1", "r"), 1)


def test_command_retires_in_the_registry_and_says_what(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(copy_repository(tmp_path_factory, tmp_path / "repository"))
    change_params(Path(), {"retire": {"keep": 1}})
    for _ in range(3):
        register_version("model", "HEAD")
        git("commit", "--quiet", "--allow-empty", "--message", "Other code")
    promote_version("model", "v1.2.0")

    main([])
    main([])

    assert capsys.readouterr().out == "retired: model@v1.0.0\nretired: nothing\n"
    assert [version.name for version in list_versions("model") if version.retired] == ["v1.0.0"]
