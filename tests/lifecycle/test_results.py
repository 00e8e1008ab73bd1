"""Results: what crosses from the job that ran a branch's code to the one that may push."""

import io
import tarfile
from pathlib import Path

import pytest
from conftest import run_git

from lifecycle.errors import RefusedError
from lifecycle.github.results import MOST_BYTES, commit, main, pack, unpack
from rehearsal.github import Repository, serve_github
from tests.tools import require_tool

BLOB = f".dvc/sample-store/files/md5/ab/{'c' * 30}"


@pytest.fixture(name="branch")
def fixture_branch(tmp_path: Path) -> Path:
    """A checkout of a branch."""
    folder = tmp_path / "branch"
    (folder / "out").mkdir(parents=True)
    (folder / "dvc.lock").write_text("old")
    (folder / "out/metrics.json").write_text("old")
    (folder / ".gitignore").write_text("/out/model.onnx\n")
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all")
    run_git(folder, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "Begin")
    return folder


def write_archive(path: Path, name: str, content: bytes = b"new", **changes: object) -> Path:
    """Write an archive with one good file and another one."""
    with tarfile.open(path, "w") as archive:
        for member, data in (("dvc.lock", b"new"), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            if member == name:
                for key, value in changes.items():
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_what_a_run_changed_arrives_and_nothing_else(branch: Path, tmp_path: Path) -> None:
    for name in ("dvc.lock", "out/metrics.json", "out/model.onnx", BLOB, "src/lifecycle/gate.py"):
        (branch / name).parent.mkdir(parents=True, exist_ok=True)
        (branch / name).write_text("new")

    packed = pack(branch, tmp_path / "results.tar")
    run_git(branch, "checkout", "--quiet", "--", ".")
    unpacked = unpack(tmp_path / "results.tar", branch)

    assert sorted(packed) == sorted(unpacked) == sorted(["dvc.lock", "out/metrics.json", BLOB])
    assert (branch / "dvc.lock").read_text() == "new"


@pytest.mark.parametrize(
    "name",
    [
        ".github/workflows/check.yml",
        "src/lifecycle/gate.py",
        "params.yaml",
        "/etc/passwd",
        "../dvc.lock",
        "out/../../dvc.lock.json",
        ".dvc/config",
        f"{BLOB}/../../../../../config",
        "dvc.lock\n",
    ],
)
def test_other_names_are_refused_and_nothing_is_written(name: str, branch: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nothing that a run of the pipeline makes"):
        unpack(write_archive(tmp_path / "results.tar", name), branch)

    assert (branch / "dvc.lock").read_text() == "old"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_other_kinds_are_refused(kind: bytes, branch: Path, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "results.tar", BLOB, b"", type=kind, linkname="/etc/passwd")

    with pytest.raises(RefusedError, match="nothing that a run"):
        unpack(archive, branch)

    assert (branch / "dvc.lock").read_text() == "old"


def test_name_that_the_branch_has_made_a_link_is_refused(branch: Path, tmp_path: Path) -> None:
    (branch / "out/metrics.json").unlink()
    (branch / "out/metrics.json").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RefusedError, match="leads out of"):
        unpack(write_archive(tmp_path / "results.tar", "out/metrics.json"), branch)

    assert not (tmp_path / "elsewhere").exists()
    assert (branch / "dvc.lock").read_text() == "old"


def test_too_much_and_what_is_no_archive_are_refused(branch: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="more than"):
        unpack(write_archive(tmp_path / "large.tar", BLOB, bytes(MOST_BYTES)), branch)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(RefusedError, match="no archive of results"):
        unpack(tmp_path / "text", branch)

    assert (branch / "dvc.lock").read_text() == "old"


@pytest.fixture(name="remote")
def fixture_remote(branch: Path, tmp_path: Path) -> Path:
    """The remote that the branch's checkout came from."""
    bare = tmp_path / "remote.git"
    run_git(tmp_path, "clone", "--quiet", "--bare", str(branch), str(bare))
    run_git(bare, "branch", "better")
    run_git(branch, "remote", "add", "origin", str(bare))
    return bare


def test_results_are_pushed_and_the_checks_started(
    branch: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("gh")
    archive = write_archive(tmp_path / "results.tar", BLOB)
    github = Repository()
    with serve_github(github, tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        said = commit(archive, branch, "better")
        again = commit(archive, branch, "better")

    assert said == "Committed 2 files to better, and started check.yml and train.yml."
    assert again.startswith("Nothing to commit")
    assert run_git(remote, "show", "better:dvc.lock") == "new"
    assert run_git(remote, "show", "--no-patch", "--format=%an", "better").strip() == "github-actions[bot]"
    assert [(run["workflow"], run["ref"]) for run in github.dispatches] == [
        ("check.yml", "better"),
        ("train.yml", "better"),
    ]


def test_archive_without_a_file_is_nothing_to_commit(
    branch: Path, remote: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_git(remote, "show-ref")
    with tarfile.open(tmp_path / "results.tar", "w"):
        pass

    main(["commit", str(tmp_path / "results.tar"), str(branch), "better"])

    assert capsys.readouterr().out == "Nothing to commit: dvc.lock says already what this branch makes.\n"
    assert run_git(remote, "show-ref") == before


def test_branch_that_moved_on_is_left_alone(branch: Path, remote: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run_git(tmp_path, "clone", "--quiet", "--branch", "better", str(remote), str(other))
    run_git(
        other, "-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-q", "--allow-empty", "-m", "Go on"
    )
    run_git(other, "push", "--quiet", "origin", "better")
    newest = run_git(remote, "rev-parse", "better")

    with pytest.raises(RefusedError, match="git .* failed"):
        commit(write_archive(tmp_path / "results.tar", BLOB), branch, "better")

    assert run_git(remote, "rev-parse", "better") == newest
