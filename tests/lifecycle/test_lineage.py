"""A lineage leads from a version to its source files, and says so where the way is broken."""

import json
from hashlib import md5, sha256
from pathlib import Path

import pytest
import yaml
from repositories import CACHE, MODEL, REMOTE, copy_repository, find_blob, git
from test_registry import write_tag

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.lineage import describe_lineage, format_lineage, main
from lifecycle.repository import find_hash, read_lock

ONE, TWO = b"one\n", b"two, longer\n"
ADA = "Ada <ada@example.com>"


def date(day):
    """Write the date of a tag as Git does."""
    return f"2026-01-0{day}T00:00:00+00:00"


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository: its first commit was champion until its second became it."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    for day, (tag, revision) in enumerate(
        [
            ("model@v1.0.0", "main~1"),
            ("model@v1.1.0", "main"),
            ("model#production#1", "main~1"),
            ("model#production#2", "main"),
            ("model#production#3", "main~1"),
            ("model#staging#4", "main~1"),
            ("model#production#5", "main"),
            ("model#staging!#6", "main"),
            ("model#staging!#7", "main~1"),
        ],
        start=1,
    ):
        monkeypatch.setenv("GIT_COMMITTER_DATE", date(day))
        write_tag(tag, revision)
    return folder


@pytest.mark.usefixtures("repository")
def test_hash_of_an_answer_leads_to_the_version_and_the_pull_request():
    answered = sha256(find_blob(REMOTE, "main~1").read_bytes()).hexdigest()
    git("commit", "--quiet", "--allow-empty", "--message", "Shorten the learning (#12)")
    write_tag("model@v1.2.0", "HEAD")

    assert describe_lineage("model", answered)["version"] == "v1.0.0"
    assert describe_lineage("model", "v1.2.0")["pull_request"] == "#12"
    with pytest.raises(MisuseError, match="no registered version and not HEAD has a model with the hash 000"):
        describe_lineage("model", "0" * 64)


@pytest.mark.usefixtures("repository")
def test_hash_of_an_answer_is_found_beside_a_version_whose_bytes_are_gone(caplog):
    caplog.set_level("INFO")
    answered = sha256(find_blob(REMOTE, "main~1").read_bytes()).hexdigest()
    lost = find_hash(read_lock("main"), MODEL)
    for store in (CACHE, REMOTE):
        find_blob(store, "main").unlink()
    Path("dvc.lock").unlink()
    git("commit", "--quiet", "--all", "--message", "Lose the lock")

    assert describe_lineage("model", answered)["version"] == "v1.0.0"
    assert f"lineage model={lost} skipped=the bytes with hash {lost} cannot be had" in caplog.text


@pytest.mark.usefixtures("repository")
def test_lineage_leads_from_the_version_to_the_source_files():
    commit = git("rev-parse", "main~1")
    params = yaml.safe_load(git("show", "main~1:params.yaml"))
    assert describe_lineage("model", "v1.0.0") == {
        "name": "model",
        "version": "v1.0.0",
        "registered": {"by": ADA, "at": date(1), "retired": False},
        "stages": [
            {"stage": "production", "from": date(3), "until": date(4), "by": ADA},
            {"stage": "production", "from": date(5), "until": date(7), "by": ADA},
            {"stage": "staging", "from": date(6), "until": date(9), "by": ADA},
        ],
        "decisions": [],
        "model": {
            "path": MODEL,
            "hash": md5(find_blob(CACHE, "main~1").read_bytes()).hexdigest(),
            "size_bytes": find_blob(CACHE, "main~1").stat().st_size,
        },
        "commit": {
            "hash": commit,
            "author": ADA,
            "date": git("show", "-s", "--format=%aI", commit),
            "subject": "Fit the first model",
        },
        "pull_request": None,
        "params": {"train": params["train"]},
        "data": {
            "path": "data",
            "hash": find_hash(read_lock("HEAD"), "data"),
            "size_bytes": 16,
            "sources": [
                {"name": "2024-01.csv", "hash": md5(ONE).hexdigest(), "size_bytes": 4},
                {"name": "2024-02.csv", "hash": md5(TWO).hexdigest(), "size_bytes": 12},
            ],
            "missing": None,
        },
        "metrics": {"some_error": {"value": 0.5}},
        "environment": {"python": "3.11"},
    }


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("revision", "version", "commit"),
    [
        (None, "v1.1.0", "main"),
        ("v1.0.0", "v1.0.0", "main~1"),
        ("model@v1.0.0", "v1.0.0", "main~1"),
        ("main~1", "v1.0.0", "main~1"),
        ("HEAD", None, "HEAD"),
    ],
)
def test_versions_revisions_and_the_champion_can_be_asked_for(revision, version, commit):
    git("checkout", "--quiet", "-b", "work")
    git("commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    lineage = describe_lineage("model", revision)
    assert lineage["version"] == version
    assert lineage["commit"]["hash"] == git("rev-parse", commit)


@pytest.mark.usefixtures("repository")
def test_without_a_champion_the_lineage_is_that_of_head():
    git("tag", "--delete", *git("tag").split())
    git("checkout", "--quiet", "--detach", "HEAD~1")
    lineage = describe_lineage("model")
    assert lineage["commit"]["subject"] == "Fit the first model"
    assert (lineage["version"], lineage["registered"], lineage["stages"]) == (None, None, [])


@pytest.mark.usefixtures("repository")
def test_unknown_version_is_misuse_and_the_known_ones_are_named():
    with pytest.raises(MisuseError, match=r"'v7.0.0' is no version and no Git revision here; .*: v1.1.0, v1.0.0\."):
        describe_lineage("model", "v7.0.0")


@pytest.mark.usefixtures("repository")
def test_data_are_those_that_the_model_was_made_of_and_not_newer_ones_beside_it():
    newer = {"outs": [{"path": "data", "md5": "0" * 32 + ".dir", "size": 1}]}
    Path("data.dvc").write_text(yaml.safe_dump(newer), encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", "Bring data without a model")
    assert describe_lineage("model", "HEAD")["data"]["hash"] == find_hash(read_lock("HEAD"), "data")
    Path("dvc.lock").unlink()
    git("commit", "--quiet", "--all", "--message", "Lose the lock")
    assert describe_lineage("model", "HEAD")["data"]["hash"] == "0" * 32 + ".dir"


@pytest.mark.usefixtures("repository")
def test_source_files_whose_listing_is_nowhere_are_said_to_be_missing(capfd):
    listing = find_hash(read_lock("HEAD"), "data")
    for store in (CACHE, REMOTE):
        Path(store, "files/md5", listing[:2], listing[2:]).unlink()
    data = describe_lineage("model", "v1.0.0")["data"]
    assert data["sources"] is None
    assert data["missing"].startswith(
        f"the bytes with hash {listing} cannot be had (cache: missing; remote: missing)"
    )
    main(["v1.0.0"])
    output = capfd.readouterr()
    assert "sources (name, hash, bytes): the bytes with hash" in output.out
    assert output.err == ""


@pytest.mark.usefixtures("repository")
def test_commit_without_a_model_has_a_lineage_that_says_so():
    for name in ("dvc.lock", "data.dvc", "out/metrics.json"):
        Path(name).unlink()
    git("commit", "--quiet", "--all", "--message", "Lose everything")
    lineage = describe_lineage("model", "HEAD")
    assert (lineage["model"], lineage["data"], lineage["metrics"], lineage["params"]) == (None, None, None, {})
    assert "\nmodel: -\n" in format_lineage(lineage)


@pytest.mark.usefixtures("repository")
def test_metrics_that_are_no_json_are_refused_in_one_line():
    Path("out/metrics.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", "Forget a conflict")
    with pytest.raises(RefusedError, match=r"out/metrics.json at [0-9a-f]{7} is no JSON: .*; name another revision"):
        describe_lineage("model", "HEAD")


@pytest.mark.usefixtures("repository")
def test_lineage_is_readable_in_80_columns(capsys):
    main(["v1.0.0"])
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\nversion: v1.0.0\n" in text
    assert f"\n    - 2024-01.csv  {md5(ONE).hexdigest()}  4\n" in text
    assert "\n  - staging from 2026-01-06T00:00:00+00:00 until 2026-01-09T00:00:00+00:00, by\n" in text
    assert "\nmetrics:\n  some_error: value 0.5\n" in text


@pytest.mark.usefixtures("repository")
def test_lineage_is_given_to_machines_as_json(capsys):
    main(["v1.0.0", "--json"])
    assert json.loads(capsys.readouterr().out) == describe_lineage("model", "v1.0.0")


def test_second_model_in_a_subfolder_has_its_own_lineage(repository, monkeypatch):
    monkeypatch.chdir(repository / "second")
    lineage = describe_lineage("second")
    assert lineage["model"]["hash"] == find_hash(read_lock(None), MODEL)
    assert lineage["metrics"] == {"some_error": {"value": 2.5}}


def test_shallow_clone_without_a_cache_finds_the_source_files(repository, tmp_path, monkeypatch):
    git("clone", "--quiet", "--depth=1", f"file://{repository}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    lineage = describe_lineage("model")
    assert lineage["version"] == "v1.1.0"
    assert [source["size_bytes"] for source in lineage["data"]["sources"]] == [4, 12]
