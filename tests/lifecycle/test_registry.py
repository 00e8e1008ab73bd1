"""Versions and stages are tags: what is written, what is refused, and who is champion."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gto import api
from repositories import CACHE, MODEL, REMOTE, copy_repository, find_blob, git

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.registry import (
    Champion,
    find_champion,
    list_versions,
    main,
    promote_version,
    register_version,
    retire_version,
)
from lifecycle.repository import find_hash, read_lock


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository, whose registry is empty."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(name="registry")
def fill_registry(repository):
    """Register three versions: the first one retired, the second one champion."""
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    write_tag("model@v1.0.0", "HEAD~2")
    write_tag("model@v1.0.0!", "HEAD~2")
    write_tag("model@v1.1.0", "HEAD~1")
    write_tag("model#production#1", "HEAD~1")
    write_tag("model@v1.2.0", "HEAD")
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new again")
    return repository


def write_tag(tag, revision):
    """Write a tag as GTO does, in less time."""
    git("tag", "--annotate", "--message", tag, tag, revision)


def list_tags():
    """List all tags with what they point to."""
    return git("for-each-ref", "refs/tags")


def find_versions():
    """List what is registered, as name, retired and stages."""
    return [(version.name, version.retired, version.stages) for version in list_versions("model")]


def clone(repository, destination, *options):
    """Clone as a person or a workflow does; who they are is known."""
    identity = "--config=user.name=Bob", "--config=user.email=bob@example.com"
    git("clone", "--quiet", *options, *identity, f"file://{repository}", str(destination))


@pytest.mark.usefixtures("repository")
def test_first_version_is_v1_and_each_further_one_counts_up():
    assert register_version("model", "HEAD~1") == "model@v1.0.0"
    assert register_version("model") == "model@v1.1.0"
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    assert register_version("model", bump="patch") == "model@v1.1.1"
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    assert register_version("model", bump="major") == "model@v2.0.0"
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    assert register_version("model", version="v1.10.0") == "model@v1.10.0"
    newest_first = [version.name for version in list_versions("model")]
    assert newest_first == ["v2.0.0", "v1.10.0", "v1.1.1", "v1.1.0", "v1.0.0"]


@pytest.mark.usefixtures("repository")
def test_tags_are_annotated_and_gto_reads_the_same_from_them():
    register_version("model", "HEAD~1")
    register_version("model")
    promote_version("model", "v1.1.0")
    retire_version("model", "v1.0.0")
    assert set(git("for-each-ref", "refs/tags", "--format=%(objecttype)").split()) == {"tag"}
    assert find_versions() == [("v1.1.0", False, ("production",)), ("v1.0.0", True, ())]
    theirs = [
        (version["version"], [stage["stage"] for stage in version["stages"]]) for version in api.show(".", "model")
    ]
    assert theirs == [("v1.1.0", ["production"])]


@pytest.mark.usefixtures("registry")
def test_promoted_version_is_champion_and_a_former_one_comes_back():
    assert promote_version("model", "v1.2.0") == "model#production#2"
    assert find_champion("model").version == "v1.2.0"
    assert promote_version("model", "v1.1.0") == "model#production#3"
    commit = git("rev-parse", "HEAD~2")
    assert find_champion("model") == Champion("model@v1.1.0", commit, "v1.1.0", find_hash(read_lock(commit), MODEL))


@pytest.mark.usefixtures("registry")
def test_newest_promotion_is_the_one_with_the_highest_number_whatever_the_clock_says(monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00+0000")
    for number in range(2, 11):
        write_tag(f"model#production#{number}", "HEAD~1" if number % 2 else "HEAD~2")
    write_tag("model#staging#11", "HEAD~2")
    assert find_versions()[:2] == [("v1.2.0", False, ()), ("v1.1.0", False, ("production", "staging"))]


@pytest.mark.usefixtures("registry")
def test_stage_that_was_taken_away_goes_back_to_the_former_version():
    write_tag("model#production#2", "HEAD~1")
    write_tag("model#production!#3", "HEAD~1")
    assert find_champion("model").version == "v1.1.0"
    write_tag("model@v1.1.0!", "HEAD~2")
    assert find_champion("model").version is None


@pytest.mark.usefixtures("registry")
def test_tags_that_are_no_versions_are_passed_over():
    before = list_versions("model")
    git("tag", "model@v3.0.0")
    for tag in ("model@latest", "model@v3", "model@v3.0.0-rc1", "model#production", "v9.0.0", "models@v9.0.0"):
        write_tag(tag, "HEAD")
    write_tag("model#production#9", "HEAD")
    assert list_versions("model") == before


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["register", "HEAD~1"],
            1,
            "RefusedError: commit [0-9a-f]{7} is model@v1.2.0 already; commit a new model first.",
        ),
        (
            ["register", "--version=v1.1.0"],
            1,
            r"RefusedError: model@v1.1.0 is registered already, for commit \w{7}; the next free version is v1.3.0.",
        ),
        (["register", "--version=1.4"], 2, "MisuseError: '1.4' is no version; expected one like v1.3.0."),
        (["register", "v7"], 2, "MisuseError: 'v7' is no revision in this clone; .*"),
        (["promote", "v1.0.0"], 1, "RefusedError: model@v1.0.0 is retired; promote another version."),
        (
            ["promote", "v7.0.0"],
            2,
            r"MisuseError: model@v7.0.0 is not registered; registered are v1.2.0, v1.1.0, v1.0.0. .*",
        ),
        (["promote", "v1.2.0", "--stage=a b"], 1, "RefusedError: the tag was not written: Invalid value 'a b'.*"),
        (["retire", "v7.0.0"], 2, "MisuseError: model@v7.0.0 is not registered.*"),
        (
            ["retire", "v1.1.0"],
            1,
            "RefusedError: model@v1.1.0 is in production; promote another version there first.",
        ),
        (["fetch", "v7.0.0"], 2, "MisuseError: model@v7.0.0 is not registered.*"),
    ],
)
def test_bad_request_gets_one_line_and_changes_no_tag(arguments, code, said, monkeypatch, capfd):
    before = list_tags()
    monkeypatch.setattr(sys, "argv", ["registry", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(main)
    output = capfd.readouterr()
    assert ended.value.code == code
    assert output.out == ""
    assert re.fullmatch(said + "\n", output.err)
    assert list_tags() == before


@pytest.mark.usefixtures("registry")
def test_request_for_what_is_so_already_changes_no_tag(capfd):
    before = list_tags()
    main(["promote", "v1.1.0"])
    main(["retire", "v1.0.0"])
    assert capfd.readouterr().out.splitlines() == [
        "model@v1.1.0 is in production already; nothing changed.",
        "model@v1.0.0 is retired already; nothing changed.",
    ]
    assert list_tags() == before


@pytest.mark.usefixtures("registry")
def test_written_tag_is_told_in_one_line_with_the_command_that_shares_it(capfd):
    main(["register"])
    main(["promote", "v1.2.0"])
    main(["retire", "v1.1.0"])
    output = capfd.readouterr()
    assert output.out.splitlines() == [
        "Wrote the tag model@v1.3.0 in this clone. To share it: git push origin model@v1.3.0",
        "Wrote the tag model#production#2 in this clone. To share it: git push origin 'model#production#2'",
        "Wrote the tag model@v1.1.0! in this clone. To share it: git push origin 'model@v1.1.0!'",
    ]
    assert output.err == ""


@pytest.mark.usefixtures("repository")
def test_commit_without_a_model_is_not_registered():
    Path("dvc.lock").unlink()
    git("commit", "--quiet", "--all", "--message", "Lose the lock")
    with pytest.raises(RefusedError, match=r"dvc.lock at HEAD names no out/model.onnx; run make pipeline"):
        register_version("model")
    assert list_tags() == ""


def test_person_without_a_name_in_git_is_told_so(repository):
    git("config", "--unset", "user.name")
    git("config", "--unset", "user.email")
    nobody = {"PATH": os.environ["PATH"], "HOME": str(repository.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    command = [sys.executable, "-m", "lifecycle.registry", "register"]
    done = subprocess.run(command, env=nobody, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "RefusedError: the tag was not written: Git user name and email must be configured\n"
    assert list_tags() == ""


@pytest.mark.usefixtures("repository")
def test_empty_registry_shows_the_next_command(capsys):
    main(["show"])
    assert capsys.readouterr().out == (
        "model: no version is registered yet. Next: python -m lifecycle.registry register\n"
    )


@pytest.mark.usefixtures("registry")
def test_versions_are_shown_in_80_columns(capsys):
    git("config", "user.name", "Ada " + "Lovelace" * 10)
    promote_version("model", "v1.2.0", "staging-of-another-team")
    register_version("model")
    main(["show"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["version", "state"],
        ["v1.3.0", git("rev-parse", "HEAD")[:7]],
        ["v1.2.0", "staging-of-another-team"],
        ["v1.1.0", "champion"],
        ["v1.0.0", "retired"],
    ]
    assert max(len(line) for line in lines) == 80


def test_champion_of_an_empty_registry_is_the_model_of_the_base(repository, capsys):
    commit = git("rev-parse", "main")
    git("checkout", "--quiet", "-b", "work")
    (repository / "dvc.lock").unlink()
    git("commit", "--quiet", "--all", "--message", "Lose the lock")
    md5 = find_hash(read_lock(commit), MODEL)
    assert find_champion("model") == Champion(f"model at {commit[:7]}", commit, None, md5)
    assert find_champion("model", "main~1").model_hash == find_hash(read_lock("main~1"), MODEL)
    main(["champion"])
    assert capsys.readouterr().out == f"model at {commit[:7]}, commit {commit[:7]}, model hash {md5}\n"


@pytest.mark.usefixtures("repository")
def test_without_a_model_on_the_base_there_is_no_champion(capsys):
    git("checkout", "--quiet", "--orphan", "bare")
    git("rm", "--quiet", "--cached", "dvc.lock")
    git("commit", "--quiet", "--message", "Start anew")
    assert find_champion("model", "HEAD") is None
    main(["champion", "--base", "HEAD"])
    assert capsys.readouterr().out == "There is no champion; the baseline stands in for it.\n"
    with pytest.raises(MisuseError, match="'v7' is no revision"):
        find_champion("model", "v7")


def test_repository_without_a_commit_has_no_champion(tmp_path, monkeypatch):
    git("init", "--quiet", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find_champion("model") is None
    assert list_versions("model") == []


def test_repository_born_from_a_template_can_register_and_promote(repository):
    shutil.rmtree(repository / ".git")
    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "Eve")
    git("config", "user.email", "eve@example.com")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Initial commit")
    assert find_champion("model").version is None
    register_version("model")
    promote_version("model", "v1.0.0")
    assert find_champion("model").name == "model@v1.0.0"


def test_shallow_clone_with_a_detached_head_can_register_and_promote(repository, tmp_path, monkeypatch):
    clone(repository, tmp_path / "shallow", "--depth=1")
    monkeypatch.chdir(tmp_path / "shallow")
    git("checkout", "--quiet", "--detach")
    assert find_champion("model").revision == git("rev-parse", "HEAD")
    register_version("model")
    promote_version("model", "v1.0.0")
    assert find_versions() == [("v1.0.0", False, ("production",))]


def test_second_model_in_a_subfolder_has_its_own_versions(repository, monkeypatch, capsys):
    register_version("model")
    monkeypatch.chdir(repository / "second")
    main(["show"])
    main(["register"])
    main(["promote", "v1.0.0"])
    assert capsys.readouterr().out.splitlines()[0].startswith("second: no version is registered yet.")
    assert find_champion("second").model_hash == find_hash(read_lock(None), MODEL)
    assert find_versions() == [("v1.0.0", False, ())]


def test_fetched_version_has_the_bytes_that_its_lock_names(registry, capsys):
    shutil.rmtree(registry / CACHE)
    main(["fetch", "v1.0.0"])
    assert capsys.readouterr().out == "out/fetched.onnx\n"
    assert Path("out/fetched.onnx").read_bytes() == find_blob(REMOTE, "HEAD~3").read_bytes()


@pytest.mark.usefixtures("registry")
def test_finding_the_champion_imports_neither_gto_nor_dvc():
    code = (
        "import sys; from lifecycle.registry import find_champion; print(find_champion('model').version, "
        "sorted({'gto', 'dvc', 'git'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "v1.1.0 []\n"
