"""What a merge makes a version, and a deploy the champion: the tags arrive at the remote, or are not there at all."""

from pathlib import Path

import pytest
from repositories import copy_repository, git

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github import versions
from lifecycle.github.versions import main, promote, register
from lifecycle.registry import find_champion, list_versions
from rehearsal.remote import AUTHOR, COMMITTER, change_params


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


def test_tag_that_cannot_be_pushed_is_taken_back(remote: Path) -> None:
    remote.rename(remote.with_suffix(".gone"))

    with pytest.raises(RefusedError, match="push"):
        register("model")

    assert not list_versions("model")


@pytest.fixture(name="job")
def fixture_job(remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start as the step of a job; give the file in which it hands over what it found."""
    assert remote.exists()
    # A job's process ends after it has named itself to Git; this one does not.
    for name, value in {**AUTHOR, **COMMITTER, "GITHUB_OUTPUT": str(tmp_path / "output")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "output"


@pytest.mark.usefixtures("job")
def test_author_is_the_bot() -> None:
    versions.name_author()

    assert git("var", "GIT_AUTHOR_IDENT").startswith("github-actions[bot] <")
    assert git("var", "GIT_COMMITTER_IDENT").startswith("github-actions[bot] <")


def test_versions_are_handed_over_and_those_that_no_longer_serve_are_retired_for_everybody(
    remote: Path, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_params(Path(), {"retire": {"keep": 1}})

    for _ in range(3):
        main(["register"])
        git("commit", "--quiet", "--allow-empty", "--message", "Other code")
    main(["promote", "v1.0.2"])
    main(["retire"])
    main(["retire"])

    assert job.read_text(encoding="utf-8") == "version=v1.0.0\nversion=v1.0.1\nversion=v1.0.2\n"
    assert capsys.readouterr().out.splitlines() == [
        "model@v1.0.0",
        "model@v1.0.1",
        "model@v1.0.2",
        "model@v1.0.2 is the champion.",
        "retired: v1.0.0",
        "retired: nothing",
    ]
    assert [tag for tag in list_tags(remote) if tag.endswith("!")] == ["model@v1.0.0!"]
    assert git("for-each-ref", "--format=%(taggername)", "refs/tags/model@v1.0.0") == "github-actions[bot]"


def test_promotion_of_no_version_is_misuse(remote: Path, job: Path) -> None:
    with pytest.raises(MisuseError, match=r"^no version is given; expected one like v1\.2\.0\.$"):
        main(["promote", ""])

    assert not list_tags(remote)
    assert not job.exists()
