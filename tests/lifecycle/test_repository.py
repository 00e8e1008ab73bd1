"""What Git and dvc.lock know at a revision, seen on a small repository."""

from pathlib import Path

import pytest
from repositories import MODEL, copy_repository, git

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.repository import (
    describe_commit,
    find_base,
    find_entry,
    find_hash,
    read_at,
    read_lock,
    resolve_revision,
    write_note,
)
from lifecycle.worktree import check_branch


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("repository")
def test_revision_is_resolved_to_its_commit():
    assert resolve_revision("main~1") == git("rev-parse", "HEAD~1")
    assert resolve_revision("no-such-branch") is None
    assert resolve_revision("--since=now") is None


def test_folder_outside_git_is_misuse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(MisuseError, match=r"not a git repository.*Start in a folder of a Git repository"):
        resolve_revision("HEAD")


@pytest.mark.usefixtures("repository")
def test_files_are_read_as_they_were_at_a_revision():
    assert b"0.5" in read_at("HEAD~1", "out/metrics.json")
    assert b"1.5" in read_at("HEAD", "out/metrics.json")
    assert read_at("HEAD", "no/such/file") is None
    assert describe_commit("HEAD~1") == {
        "hash": git("rev-parse", "HEAD~1"),
        "author": "Ada <ada@example.com>",
        "date": git("log", "-1", "--format=%aI", "HEAD~1"),
        "subject": "Fit the first model",
    }


@pytest.mark.usefixtures("repository")
def test_unknown_revision_is_misuse_and_not_an_absent_file():
    with pytest.raises(MisuseError, match="'v9' is no revision in this clone"):
        read_lock("v9")


@pytest.mark.usefixtures("repository")
def test_lock_of_working_folder_is_not_that_of_a_revision():
    Path("dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    assert find_hash(read_lock(None), MODEL) is None
    assert find_hash(read_lock("HEAD"), MODEL) != find_hash(read_lock("HEAD~1"), MODEL)
    Path("dvc.lock").unlink()
    assert read_lock(None) == {}


@pytest.mark.usefixtures("repository")
def test_lock_that_is_no_mapping_is_refused_in_one_line():
    for broken in ("<<<<<<< HEAD\nstages:\n=======\n", "- train\n"):
        Path("dvc.lock").write_text(broken, encoding="utf-8")
        with pytest.raises(RefusedError, match=r"^dvc.lock at the working folder is .*make pipeline$"):
            read_lock(None)


def test_entry_that_a_stage_makes_comes_before_one_that_a_stage_reads():
    lock = {
        "stages": {"use": {"deps": [{"path": "a", "md5": "old"}]}, "make": {"outs": [{"path": "a", "md5": "new"}]}}
    }
    assert find_entry(lock, "a") == {"path": "a", "md5": "new"}
    assert find_hash(lock, "b") is None
    assert find_hash({}, "a") is None


@pytest.mark.usefixtures("repository")
def test_base_is_where_the_work_left_main():
    assert find_base() == git("rev-parse", "main")
    git("checkout", "--quiet", "-b", "work", "HEAD~1")
    git("commit", "--quiet", "--allow-empty", "--message", "Work")
    assert find_base() == git("rev-parse", "main~1")
    git("branch", "--quiet", "--move", "main", "other")
    assert find_base() == git("rev-parse", "HEAD")
    git("update-ref", "refs/remotes/origin/main", "other")
    assert find_base() == git("rev-parse", "other~1")


def test_base_in_a_shallow_clone_is_the_newest_commit_of_main(repository, tmp_path, monkeypatch):
    git("checkout", "--quiet", "-b", "work", "HEAD~1")
    git("commit", "--quiet", "--allow-empty", "--message", "Work")
    git("clone", "--quiet", "--depth=1", "--no-single-branch", f"file://{repository}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    git("update-ref", "--no-deref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    assert find_base() == git("rev-parse", "origin/main") != git("rev-parse", "HEAD")


def test_repository_without_a_commit_has_no_base(tmp_path, monkeypatch):
    git("init", "--quiet", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find_base() is None


@pytest.mark.usefixtures("repository")
def test_note_that_is_there_is_kept_unless_it_may_be_replaced():
    write_note("remarks", "HEAD", "first", "add")

    with pytest.raises(RefusedError, match=r"^the note in remarks was not written: .* existing notes.*\.$"):
        write_note("remarks", "HEAD", "second", "add")

    assert git("notes", "--ref=remarks", "show", "HEAD") == "first"
    write_note("remarks", "HEAD", "second", "add", "--force")
    assert git("notes", "--ref=remarks", "show", "HEAD") == "second"


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("branch", "said"),
    [("main", "there is a branch 'main' already"), ("two..dots", "'two..dots' is no name of a branch")],
)
def test_branch_that_cannot_be_made_is_misuse(branch, said):
    with pytest.raises(MisuseError, match=said):
        check_branch(branch)

    check_branch("another")
