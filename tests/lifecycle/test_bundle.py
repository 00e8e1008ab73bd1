"""The bundle: the same bytes twice, enough by itself, true about itself, and small enough."""

import json
import marshal
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PACKAGE, replace_text, run_git, run_here, run_python
from servers import make_event, read_sent

from lifecycle.bundle import HANDLER
from lifecycle.delivery.answers import ROWS, read_answers
from lifecycle.errors import RefusedError
from lifecycle.paths import BUNDLE, BUNDLE_FACTS, BUNDLE_MATERIALS, CHALLENGER, ENVIRONMENT, METRICS, ONNX, VERDICT
from lifecycle.repository import find_hash, hash_file, read_lock
from lifecycle.serving.archive import (
    MAX_UNZIPPED_BYTES,
    MAX_ZIPPED_BYTES,
    compile_modules,
    hash_files,
    hash_tree,
    write_archive,
)
from lifecycle.serving.manifest import hash_bytes
from lifecycle.serving.packages import PACKAGES, filter_lock
from lifecycle.serving.service import MANIFEST

# Started with no library but the standard one and what the bundle holds, from a folder that is not the bundle's.
START = """
import json, sys
sys.path.insert(0, sys.argv[1])
from lifecycle.serve import handle
events = json.load(sys.stdin)
answers = [json.loads(handle(event, None)["body"]) for event in events]
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps({"answers": answers, "files": files}), file=sys.stderr)
"""


@dataclass(frozen=True)
class Bundle:
    """A built bundle: the repository that it comes from, what was printed, and where it was unpacked."""

    folder: Path
    printed: str
    unpacked: Path


@pytest.fixture(name="build", scope="module")
def fixture_build(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str]]:
    """Build the bundle in a copy of the repository, in a folder of the name's length."""
    require_platform()

    def build(name: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("bundle") / name
        shutil.copytree(trained, folder, symlinks=True)
        return folder, run_python(folder, "lifecycle.bundle").stdout

    return build


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(build: Callable[[str], tuple[Path, str]], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Build the bundle once, and unpack it."""
    folder, printed = build("first")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(folder / BUNDLE) as file:
        file.extractall(unpacked)
    return Bundle(folder, printed, unpacked)


def require_platform() -> None:
    """Skip where the libraries of AWS Lambda cannot run; fail in CI, where nothing may go untested."""
    if sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc":
        return
    said = f"the bundle is for Linux on x86_64, and this is {sys.platform} on {platform.machine()}"
    if os.environ.get("CI"):
        pytest.fail(f"{said}, and CI must run every test")
    pytest.skip(said)


def read_json(path: Path) -> Any:
    """Read a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def make_events(trained: Path, n: int) -> list[dict[str, Any]]:
    """Make requests of the first prepared test rows: each alone, then all together."""
    sent = read_sent(trained, n)
    return [make_event(json.dumps(body)) for body in (*sent, {"rows": sent})]


def start(path: Path, folder: Path, events: list[dict[str, Any]], *options: str) -> dict[str, Any]:
    """Let the handler that lies under a path answer events, in a process that begins in a folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    # As on Lambda, where the model is loaded before the first event comes.
    environment["AWS_LAMBDA_FUNCTION_NAME"] = "served"
    done = subprocess.run(
        [sys.executable, *options, "-c", START, str(path)],
        input=json.dumps(events),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stderr)
    return answered


def test_two_builds_in_two_folders_have_the_same_bytes(
    bundle: Bundle, build: Callable[[str], tuple[Path, str]]
) -> None:
    second, _ = build("a-second-folder-with-a-longer-name")

    assert hash_file(second / BUNDLE) == hash_file(bundle.folder / BUNDLE)
    for path in (BUNDLE_FACTS, BUNDLE_MATERIALS):
        assert (second / path).read_bytes() == (bundle.folder / path).read_bytes()


def test_bundle_alone_answers_as_the_repository_does(bundle: Bundle, tmp_path: Path) -> None:
    events = make_events(bundle.folder, 25)
    before = hash_files(bundle.unpacked)

    alone = start(bundle.unpacked, tmp_path, events, "-I", "-S")

    repository = start(bundle.folder / "src", bundle.folder, events)
    assert [answer["predictions"] for answer in alone["answers"]] == [
        answer["predictions"] for answer in repository["answers"]
    ]
    assert len(alone["answers"][-1]["predictions"]) == 25
    for key in ("model_version", "model_hash"):
        assert {answer[key] for answer in alone["answers"]} == {answer[key] for answer in repository["answers"]}
    # What was packed is compiled, so that nothing was left to write.
    assert hash_files(bundle.unpacked) == before


def test_bundle_alone_loads_nothing_from_elsewhere(bundle: Bundle, tmp_path: Path) -> None:
    files = start(bundle.unpacked, tmp_path, make_events(bundle.folder, 1), "-I", "-S")["files"]

    packed = {name.partition(".")[0] for name, path in files.items() if str(path).startswith(str(bundle.unpacked))}
    elsewhere = {name.partition(".")[0] for name, path in files.items() if path} - packed
    assert packed == {"lifecycle", "numpy", "onnxruntime", PACKAGE}
    assert elsewhere <= sys.stdlib_module_names


def test_each_module_is_compiled_and_trusted_wherever_it_is_unpacked(bundle: Bundle) -> None:
    modules = list(bundle.unpacked.rglob("*.py"))

    for path in modules:
        content = Path(cache_from_source(str(path))).read_bytes()
        # Flags: hash-based, and never held against its source.
        assert int.from_bytes(content[4:8], "little") == 1
        assert marshal.loads(content[16:]).co_filename == f"/var/task/{path.relative_to(bundle.unpacked)}"
    assert len(modules) > 100


def test_bundle_holds_no_file_that_serving_never_loads(bundle: Bundle) -> None:
    names = set(hash_files(bundle.unpacked))

    assert {MANIFEST, ONNX.name, "lifecycle/serve.py", f"{PACKAGE}/contract.py"} <= names
    assert not [name for name in names if "/tests/" in name or name.endswith((".h", ".a", ".pyi", "RECORD"))]
    assert not [name for name in names if name.startswith(("lifecycle/train", "onnxruntime/quantization", "bin/"))]
    # What the licences ask for stays.
    assert any(name.startswith("numpy-") and "/licenses/" in name for name in names)


def test_bundle_names_no_folder_of_the_machine(bundle: Bundle) -> None:
    folders = [str(bundle.folder).encode(), str(Path.home()).encode() + b"/", b"/tmp/bundle-"]

    found = [
        path.name
        for path in bundle.unpacked.rglob("*")
        # What the libraries' makers compiled names folders of theirs.
        if path.is_file() and ".so" not in path.name and any(folder in path.read_bytes() for folder in folders)
    ]

    assert not found


def test_entries_of_the_bundle_are_sorted_and_have_one_time_and_mode(bundle: Bundle) -> None:
    with zipfile.ZipFile(bundle.folder / BUNDLE) as file:
        entries = file.infolist()

    names = [entry.filename for entry in entries]
    assert names == sorted(names) and len(names) == len(set(names))
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {(entry.create_system, entry.external_attr >> 16) for entry in entries} == {(3, 0o644)}


def test_manifest_is_true(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.folder)
    manifest = read_json(bundle.unpacked / MANIFEST)

    lock, commit = read_lock(None), run_git(bundle.folder, "rev-parse", "HEAD").strip()
    assert (manifest["commit"], manifest["version"], manifest["changed"]) == (commit, commit[:7], False)
    assert manifest["model"]["md5"] == find_hash(lock, "out/model.onnx") == hash_file(bundle.unpacked / "model.onnx")
    assert manifest["model"]["sha256"] == hash_bytes((bundle.unpacked / "model.onnx").read_bytes())
    assert manifest["data"]["md5"] == find_hash(lock, "data")
    assert manifest["locks"] == {name: hash_bytes(Path(name).read_bytes()) for name in manifest["locks"]}
    assert set(manifest["locks"]) == {"dvc.lock", "requirements.lock"}
    assert manifest["metrics"] == read_json(METRICS)
    assert manifest["python"] == read_json(ENVIRONMENT)["python"]
    assert manifest["domain"] == PACKAGE
    # Without a challenger there is no word of one.
    assert not {"challenger", "serve", "code"} & set(manifest) and not (bundle.unpacked / CHALLENGER.name).exists()
    assert manifest["files_sha256"] == hash_tree(bundle.unpacked, MANIFEST)


def test_tree_hash_is_that_of_sha256sum(bundle: Bundle) -> None:
    command = (
        f"find . -type f ! -path ./{MANIFEST} -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    )

    done = subprocess.run(command, shell=True, cwd=bundle.unpacked, capture_output=True, text=True, check=True)

    assert done.stdout.split()[0] == read_json(bundle.unpacked / MANIFEST)["files_sha256"]


def test_command_says_what_it_made(bundle: Bundle) -> None:
    facts = read_json(bundle.folder / BUNDLE_FACTS)

    content = (bundle.folder / BUNDLE).read_bytes()
    with zipfile.ZipFile(bundle.folder / BUNDLE) as file:
        sizes = [entry.file_size for entry in file.infolist()]
    assert facts["path"] == str(BUNDLE) and facts["handler"] == HANDLER
    assert facts["sha256"] == hash_bytes(content) and facts["size_bytes"] == len(content) < MAX_ZIPPED_BYTES
    assert facts["unzipped_bytes"] == sum(sizes) < MAX_UNZIPPED_BYTES
    assert bundle.printed.startswith("out/bundle.zip  part-failure ")
    assert bundle.printed.splitlines()[1] == f"sha256 {facts['sha256']}"


def test_bill_of_materials_names_what_is_in_the_bundle(bundle: Bundle) -> None:
    bill = read_json(bundle.folder / BUNDLE_MATERIALS)

    found = {path.name.removesuffix(".dist-info") for path in bundle.unpacked.glob("*.dist-info")}
    libraries = [one for one in bill["components"] if one["type"] == "library"]
    lock = (bundle.folder / "requirements.lock").read_text(encoding="utf-8")
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert {f"{one['name']}-{one['version']}" for one in libraries} == found
    assert {one["purl"] for one in libraries} == {f"pkg:pypi/{one.replace('-', '@')}" for one in found}
    assert all(one["hashes"] for one in libraries)
    assert all(f"--hash=sha256:{sha['content']}" in lock for one in libraries for sha in one["hashes"])
    (model,) = [one for one in bill["components"] if one["type"] == "machine-learning-model"]
    assert {"alg": "SHA-256", "content": hash_bytes((bundle.unpacked / "model.onnx").read_bytes())} in model["hashes"]
    # Neither of the two would be the same twice.
    assert "serialNumber" not in bill and "timestamp" not in bill["metadata"]
    references = [one["bom-ref"] for one in (bill["metadata"]["component"], *bill["components"])]
    assert len(references) == len(set(references))
    assert {*bill["dependencies"][0]["dependsOn"], bill["dependencies"][0]["ref"]} == set(references)


def test_version_is_the_registered_one_until_something_changes(workspace: Path) -> None:
    run_here(workspace, "lifecycle.registry", "register")
    (workspace / VERDICT).write_text('{"outcome": "pass", "champion": "x", "reasons": [], "figures": {"a": 1}}')
    registered = json.loads(run_here(workspace, "lifecycle.serving.manifest").stdout)
    replace_text(workspace / "src" / PACKAGE / "features.py", "float32", "float64")
    changed = json.loads(run_here(workspace, "lifecycle.serving.manifest").stdout)

    assert (registered["version"], registered["changed"]) == ("v1.0.0", False)
    assert registered["verdict"] == {"outcome": "pass", "champion": "x", "reasons": []}
    assert (changed["version"], changed["changed"]) == (f"{changed['commit'][:7]}+changed", True)


def test_model_that_the_lock_does_not_name_is_refused(workspace: Path) -> None:
    with (workspace / ONNX).open("ab") as file:
        file.write(b" ")

    done = run_here(workspace, "lifecycle.bundle")

    assert done.returncode == 1 and not (workspace / BUNDLE).exists()
    assert "RefusedError: out/model.onnx has the hash" in done.stderr and "make pipeline" in done.stderr


def test_another_python_than_the_models_is_refused(workspace: Path) -> None:
    versions = read_json(workspace / ENVIRONMENT) | {"python": "3.99"}
    (workspace / ENVIRONMENT).write_text(json.dumps(versions), encoding="utf-8")

    done = run_here(workspace, "lifecycle.bundle")

    assert done.returncode == 1
    assert "the model was made with Python 3.99" in done.stderr and "PYTHON=python3.99" in done.stderr


def test_lock_without_a_hash_that_fits_is_refused(workspace: Path) -> None:
    require_platform()
    lock = workspace / "requirements.lock"
    lines = lock.read_text(encoding="utf-8").splitlines()
    broken = [line.replace("--hash=sha256:", "--hash=sha256:0000")[: len(line)] for line in lines]
    lock.write_text("\n".join(broken), encoding="utf-8")

    done = run_here(workspace, "lifecycle.bundle")

    assert done.returncode == 1 and not (workspace / BUNDLE).exists()
    assert "RefusedError: the bundle's libraries cannot be installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_lock_without_a_library_is_refused(package: str) -> None:
    lock = "numpy==2 ; python_version < '4' \\\n    --hash=sha256:aa\n    # via x\nonnxruntime==1\nonnx==3 # no\n"
    kept = "\n".join(line for line in lock.splitlines() if not line.startswith(f"{package}=="))

    assert "onnx==" not in filter_lock(lock) and "--hash=sha256:aa" in filter_lock(lock)
    with pytest.raises(RefusedError, match=f"requirements.lock names no {package}, which serving needs"):
        filter_lock(kept)


@pytest.mark.parametrize(("state", "size"), [("unzipped", MAX_UNZIPPED_BYTES), ("zipped", MAX_ZIPPED_BYTES)])
def test_bundle_that_is_too_large_is_refused(tmp_path: Path, state: str, size: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (folder / "weights.bin").open("wb") as file:
        if state == "unzipped":
            file.truncate(size + 1)
        else:
            file.write(os.urandom(size))
    destination = tmp_path / "bundle.zip"
    destination.write_bytes(b"former")

    with pytest.raises(RefusedError, match=rf"MB {state}; AWS Lambda allows {size // 10**6}\. Largest: weights.bin"):
        write_archive(folder, destination)

    assert destination.read_bytes() == b"former" and len(list(tmp_path.iterdir())) == 2


def test_known_answers_are_what_the_bundles_model_predicts(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.folder)
    monkeypatch.syspath_prepend(str(bundle.folder / "src"))

    answers = read_answers(BUNDLE)

    (predicted,) = answers.predictions
    assert len(answers.rows) == len(predicted) == ROWS
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)


def test_module_that_cannot_be_compiled_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def :\n", encoding="utf-8")

    with pytest.raises(RefusedError, match=r"the bundle's modules cannot be compiled: .*broken\.py"):
        compile_modules(tmp_path)
