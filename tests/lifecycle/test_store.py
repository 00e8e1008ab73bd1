"""Bytes come from DVC's cache or its remote, whole or not at all, seen on a small repository with real ones."""

import shutil
from pathlib import Path

import pytest
from repositories import CACHE, CONFIG, MODEL, REMOTE, copy_repository, find_blob

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.repository import find_hash, read_lock
from lifecycle.store import fetch_at, list_absent, list_folder


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


def read_tree():
    """Read all files of the working folder but Git's and DVC's."""
    files = (path for path in Path().rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts))
    return {str(path): path.read_bytes() for path in files}


def corrupt(blob):
    """Change the bytes of a blob."""
    blob.chmod(0o644)
    blob.write_bytes(b"something else")


@pytest.mark.parametrize("gone", [CACHE, REMOTE])
def test_bytes_of_any_revision_come_from_the_cache_or_the_remote(repository, gone):
    shutil.rmtree(repository / gone)
    for revision, seed in (("HEAD~1", "seed: 0"), ("HEAD", "seed: 1")):
        fetched = fetch_at(revision, MODEL, repository / "new" / "model.onnx")
        assert seed in fetched.read_text(encoding="utf-8")


def test_bytes_that_are_nowhere_are_refused_and_leave_the_former_file(repository, capfd):
    find_blob(CACHE).unlink()
    find_blob(REMOTE).unlink()
    before = read_tree()
    md5 = find_hash(read_lock("HEAD"), MODEL)
    with pytest.raises(
        RefusedError, match=rf"{md5} cannot be had \(cache: missing; remote: missing\)\. Run dvc push"
    ):
        fetch_at("HEAD", MODEL, repository / "params.yaml")
    assert read_tree() == before
    assert capfd.readouterr() == ("", "")


def test_corrupted_bytes_are_refused_and_leave_the_former_file(repository, capfd):
    find_blob(CACHE).unlink()
    corrupt(find_blob(REMOTE))
    before = read_tree()
    with pytest.raises(
        RefusedError, match=r"cache: missing; remote: corrupted, with hash \w{32}; delete .*sample-store"
    ):
        fetch_at("HEAD", MODEL, repository / "params.yaml")
    assert read_tree() == before
    assert not find_blob(CACHE).exists()
    assert capfd.readouterr() == ("", "")


def test_corrupted_cache_gives_way_to_the_remote(repository):
    corrupt(find_blob(CACHE))
    assert fetch_at("HEAD", MODEL, repository / "fetched").read_bytes() == find_blob(REMOTE).read_bytes()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", r"cache: missing; DVC: .*no remote specified"),
        (CONFIG.replace("sample-store", "http://127.0.0.1:9/store"), r"cache: missing; remote: \w+Error .*127.0.0.1"),
    ],
)
def test_remote_that_cannot_be_asked_is_named(repository, config, said, capfd):
    find_blob(CACHE).unlink()
    (repository / ".dvc/config").write_text(config, encoding="utf-8")
    with pytest.raises(RefusedError, match=said) as refused:
        fetch_at("HEAD", MODEL, repository / "fetched")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_repository_without_a_remote_is_told_to_name_one(repository):
    (repository / ".dvc/config").write_text("", encoding="utf-8")

    with pytest.raises(RefusedError, match="no remote that can be opened; name one with: dvc remote add -d"):
        list_absent(read_lock("HEAD"))


def test_output_that_the_lock_does_not_name_is_refused(repository):
    with pytest.raises(RefusedError, match=r"dvc.lock at HEAD names no out/other.onnx"):
        fetch_at("HEAD", "out/other.onnx", repository / "fetched")


def test_destination_that_is_no_file_is_misuse(repository):
    for destination in (repository / "data", repository / "params.yaml" / "model.onnx"):
        with pytest.raises(MisuseError, match="cannot write"):
            fetch_at("HEAD", MODEL, destination)


def test_second_model_in_a_subfolder_has_its_own_lock_and_bytes(repository, monkeypatch):
    first = find_hash(read_lock("HEAD"), MODEL)
    monkeypatch.chdir(repository / "second")
    assert find_hash(read_lock("HEAD"), MODEL) not in (None, first)
    assert read_lock("HEAD") == read_lock(None)
    assert read_lock("HEAD~1") == {}
    assert "name: second" in fetch_at("HEAD", MODEL, Path("fetched")).read_text(encoding="utf-8")


@pytest.mark.usefixtures("repository")
def test_tracked_folder_is_listed_with_hashes_and_sizes():
    listing = list_folder(find_hash(read_lock("HEAD"), "data"))
    assert listing == [
        {"name": "2024-01.csv", "hash": "5bbf5a52328e7439ae6e719dfe712200", "size_bytes": 4},
        {"name": "2024-02.csv", "hash": "ddd55b573a1077c1eceab2f08c293158", "size_bytes": 12},
    ]


@pytest.mark.usefixtures("repository")
def test_tracked_file_that_is_nowhere_has_no_size():
    for store in (CACHE, REMOTE):
        Path(store, "files/md5/5b/bf5a52328e7439ae6e719dfe712200").unlink()
    listing = list_folder(find_hash(read_lock("HEAD"), "data"))
    assert [entry["size_bytes"] for entry in listing] == [None, 12]
