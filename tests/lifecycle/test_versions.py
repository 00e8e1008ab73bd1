"""What a merge makes a version, and a deploy the champion: the tags arrive at the remote, or are not there at all."""

from pathlib import Path

import pytest
from repositories import copy_repository, git

from lifecycle.errors import RefusedError
from lifecycle.github import versions
from lifecycle.github.versions import promote, register, retire
from lifecycle.registry import find_champion, list_versions
from rehearsal.remote import AUTHOR, COMMITTER


@pytest.fixture(name="remote")
def fixture_remote(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start in a clone whose registry is empty, of a remote beside it."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    remote = tmp_path / "remote.git"
    git("clone", "--quiet", "--bare", ".", str(remote))
    git("remote", "add", "origin", str(remote))
    return remote


def list_tags(remote: Path) -> list[str]:
    """List the tags of a repository."""
    return git("--git-dir", str(remote), "tag").split()


def change_model() -> None:
    """Commit another model."""
    lock = Path("dvc.lock")
    text = lock.read_text(encoding="utf-8")
    at = text.index("md5:", text.index("path: out/model.onnx")) + len("md5: ")
    lock.write_text(text[:at] + "f" * 32 + text[at + 32 :], encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", "Another model")


def test_merge_registers_once_and_counts_up_by_what_is_new(remote: Path) -> None:
    assert register("model") == "v1.0.0"
    assert register("model") == "v1.0.0"
    git("commit", "--quiet", "--allow-empty", "--message", "Other code")
    assert register("model") == "v1.0.1"
    change_model()
    assert register("model") == "v1.1.0"

    assert list_tags(remote) == ["model@v1.0.0", "model@v1.0.1", "model@v1.1.0"]


def test_promoted_version_is_champion_for_everybody_and_a_former_one_comes_back(remote: Path) -> None:
    register("model")
    change_model()
    register("model")

    assert promote("model", "v1.1.0") == "model@v1.1.0 is the champion."
    assert promote("model", "v1.1.0") == "model@v1.1.0 is the champion already."
    promote("model", "v1.0.0")

    champion = find_champion("model")
    assert champion and champion.version == "v1.0.0"
    assert [tag for tag in list_tags(remote) if "#" in tag] == ["model#production#1", "model#production#2"]


def test_versions_that_no_longer_serve_are_retired_for_everybody(remote: Path) -> None:
    for _ in range(3):
        register("model")
        git("commit", "--quiet", "--allow-empty", "--message", "Other code")
    promote("model", "v1.0.2")

    assert retire("model", 1) == ["v1.0.0"]
    assert not retire("model", 1)

    assert [tag for tag in list_tags(remote) if tag.endswith("!")] == ["model@v1.0.0!"]


def test_tag_that_cannot_be_pushed_is_taken_back(remote: Path) -> None:
    remote.rename(remote.with_suffix(".gone"))

    with pytest.raises(RefusedError, match="push"):
        register("model")

    assert not list_versions("model")


def test_author_is_the_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    # A job's process ends after it has named itself to Git; this one does not.
    for name, value in {**AUTHOR, **COMMITTER}.items():
        monkeypatch.setenv(name, value)

    versions.name_author()

    assert git("var", "GIT_AUTHOR_IDENT").startswith("github-actions[bot] <")
    assert git("var", "GIT_COMMITTER_IDENT").startswith("github-actions[bot] <")
