"""What Git and DVC know at a revision, seen on a small repository with a real cache and a real remote."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.repository import (
    describe_commit,
    fetch_at,
    find_base,
    find_entry,
    find_hash,
    list_folder,
    read_at,
    read_lock,
    resolve_revision,
)

MODEL = "out/model.onnx"
PARAMS = Path(__file__).parents[2] / "params.yaml"
CONFIG = "[core]\n    remote = store\n['remote \"store\"']\n    url = sample-store\n    verify = true\n"


def git(*arguments, cwd=None):
    """Run Git and give what it printed."""
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_model(folder, name, seed, data):
    """Write what a folder needs to make a model, whose bytes are its parameters and its data."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["registry"]["name"] = name
    params["train"]["seed"] = seed
    stage = {
        "cmd": f"mkdir -p out && cat params.yaml {data}/* > {MODEL}"
        f' && echo \'{{"some_error": {{"value": {seed}.5}}}}\' > out/metrics.json'
        ' && echo \'{"python": "3.11"}\' > out/environment.json',
        "deps": [data],
        "params": ["train"],
        "outs": [MODEL, {"out/metrics.json": {"cache": False}}, {"out/environment.json": {"cache": False}}],
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}), encoding="utf-8")


def reproduce_and_commit(folder, message):
    """Run the pipelines of the folder and those below it, push their bytes to the remote, and commit."""
    with Repo(str(folder)) as repo:
        repo.reproduce(targets=[str(folder)], recursive=True)
        repo.push()
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", message, cwd=folder)


def build_once(folder):
    """Build, once in a run of the tests: two commits on main, each with its model, and a second model's folder."""
    if folder.exists():
        return folder
    (folder / "data").mkdir(parents=True)
    (folder / "data/2024-01.csv").write_text("one\n", encoding="utf-8")
    (folder / "data/2024-02.csv").write_text("two, longer\n", encoding="utf-8")
    git("init", "--quiet", "--initial-branch=main", cwd=folder)
    git("config", "user.name", "Ada", cwd=folder)
    git("config", "user.email", "ada@example.com", cwd=folder)
    Repo.init(str(folder)).close()
    (folder / ".dvc/config").write_text(CONFIG, encoding="utf-8")
    (folder / ".dvcignore").write_text(".dvc/sample-store\n", encoding="utf-8")
    with Repo(str(folder)) as repo:
        repo.add(str(folder / "data"))
    write_model(folder, "model", 0, "data")
    reproduce_and_commit(folder, "Fit the first model")
    (folder / "second").mkdir()
    write_model(folder, "model", 1, "data")
    write_model(folder / "second", "second", 2, "../data")
    reproduce_and_commit(folder, "Fit two others")
    return folder


def copy_repository(factory, destination):
    """Copy the repository for a test to change."""
    return Path(shutil.copytree(build_once(factory.getbasetemp() / "built"), destination, symlinks=True))


def read_tree():
    """Read all files of the working folder but Git's and DVC's."""
    files = (path for path in Path().rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts))
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


def find_blob(store, revision="HEAD"):
    """Find the model's file in the cache or in the remote."""
    md5 = find_hash(read_lock(revision), MODEL)
    return Path(store, "files/md5", md5[:2], md5[2:])


CACHE, REMOTE = ".dvc/cache", ".dvc/sample-store"


def corrupt(blob):
    """Change the bytes of a blob."""
    blob.chmod(0o644)
    blob.write_bytes(b"something else")


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
