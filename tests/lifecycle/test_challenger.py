"""Champion and challenger in one bundle: what they must share, and how it serves, deploys and describes them."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from conftest import NAME, PACKAGE, commit_all, put_model, replace_text, run_git, run_here, run_python
from rivals import list_models
from servers import Running, list_probabilities, read_sent, start_server
from test_bundle import read_json, require_platform
from test_challenge import load_champion, put_beside

from lifecycle import serve
from lifecycle.data.rows import read_rows
from lifecycle.delivery.answers import KnownAnswers, read_answers
from lifecycle.deploy import read_release
from lifecycle.errors import RefusedError
from lifecycle.params import read_params
from lifecycle.paths import BUNDLE, BUNDLE_FACTS, BUNDLE_MATERIALS, CHALLENGER, CHAMPION, ONNX, TEST
from lifecycle.predictor import load_predictor
from lifecycle.repository import find_hash, hash_content, read_lock
from lifecycle.serving.archive import hash_tree
from lifecycle.serving.contenders import describe_challenge
from lifecycle.serving.manifest import hash_bytes
from lifecycle.serving.service import MANIFEST
from rehearsal.remote import change_params


@pytest.fixture(name="bundled", scope="module")
def fixture_bundled(rivals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the two versions in which the bundle of both was built."""
    require_platform()
    folder = tmp_path_factory.mktemp("challenger") / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    said = run_python(folder, "lifecycle.bundle", "--challenger", "v1.1.0").stdout
    assert said.startswith("out/bundle.zip  part-failure v1.0.0 with the challenger v1.1.0 (shadow)  ")
    return folder


@pytest.fixture(name="unpacked", scope="module")
def fixture_unpacked(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle of both was unpacked."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(bundled / BUNDLE) as file:
        file.extractall(unpacked)
    return unpacked


@pytest.fixture(name="server", scope="module")
def fixture_server(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the unpacked bundle on loopback."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with (
        log.open("w", encoding="utf-8") as file,
        start_server(unpacked, file, PYTHONPATH=str(unpacked)) as (address, process),
    ):
        yield Running(process.pid, int(address.rpartition(":")[2]), log)


@pytest.mark.acceptance
def test_bundle_of_both_says_the_truth_about_both(
    bundled: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundled)
    manifest, facts = read_json(unpacked / MANIFEST), read_json(BUNDLE_FACTS)

    champion, challenger = (
        run_git(bundled, "rev-parse", f"part-failure@{one}^{{commit}}").strip() for one in ("v1.0.0", "v1.1.0")
    )
    for described, commit, version, name in (
        (manifest, champion, "v1.0.0", ONNX.name),
        (manifest["challenger"], challenger, "v1.1.0", CHALLENGER.name),
    ):
        content = (unpacked / name).read_bytes()
        assert (described["version"], described["commit"]) == (version, commit)
        assert described["model"] == {
            "md5": find_hash(read_lock(commit), str(ONNX)),
            "sha256": hash_bytes(content),
            "size_bytes": len(content),
        }
        assert described["model"]["md5"] == hash_content(content)
        assert described["metrics"] == json.loads(run_git(bundled, "show", f"{commit}:out/metrics.json"))
    assert manifest["changed"] is False and manifest["code"] == challenger
    assert manifest["serve"] == yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["serve"]
    assert manifest["files_sha256"] == hash_tree(unpacked, MANIFEST)
    assert facts["challenger"] == "v1.1.0 (shadow)" and facts["version"] == "v1.0.0"
    bill = read_json(BUNDLE_MATERIALS)
    models = [one for one in bill["components"] if one["type"] == "machine-learning-model"]
    assert [one["version"] for one in models] == ["v1.0.0", "v1.1.0"]


@pytest.mark.acceptance
def test_bundle_of_both_serves_both_over_http(server: Running, rivals: Path) -> None:
    sent, X = read_sent(rivals, 10), read_rows(rivals / TEST).X[:10]

    _, _, shown = server.ask("GET", "/version")
    status, _, answer = server.ask("POST", "/predict", {"rows": sent}, x_request_id="order-7")
    server.ask("GET", "/health")

    champion, challenger = (load_predictor(path) for path in list_models(rivals))
    logged = [line for line in server.read_log("order-7") if line["kind"] == "prediction"]
    assert (shown["version"], shown["challenger"]["version"]) == ("v1.0.0", "v1.1.0")
    assert status == 200 and list_probabilities(answer) == champion.predict(X).tolist()
    assert [line["variant"] for line in logged] == ["champion"] * 10 + ["shadow"] * 10
    assert [list(line["prediction"]["probabilities"].values()) for line in logged[10:]] == challenger.predict(
        X
    ).tolist()


class Answering:
    """Stands where a deployed function does, and lets the handler answer."""

    def invoke(self, version: str, event: dict[str, Any]) -> dict[str, Any]:
        """Answer an event."""
        assert version
        return serve.handle(event, None)


def pack_split(bundle: Path, path: Path) -> Path:
    """Pack the same models for a split."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(path, "w") as target:
        for name in (ONNX.name, CHALLENGER.name):
            target.writestr(name, source.read(name))
        manifest = json.loads(source.read(MANIFEST))
        target.writestr(MANIFEST, json.dumps({**manifest, "serve": {**manifest["serve"], "mode": "split"}}))
    return path


@pytest.mark.acceptance
def test_deploy_knows_the_answers_of_each_model_that_answers(
    bundled: Path, rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundled)
    split = put_beside(load_champion(rivals), load_predictor(rivals / ONNX), mode="split")
    monkeypatch.setattr(serve, "get_service", lambda: split)
    service: Any = Answering()

    release = read_release()
    both = read_answers(pack_split(release.path, tmp_path / "split.zip"))

    assert len(read_answers(release.path).predictions) == 1 and release.name == "part-failure@v1.0.0"
    for _ in range(20):
        both.check(service, "1")
    third = KnownAnswers(both.rows, tuple(own + 0.1 for own in both.predictions))
    with pytest.raises(RefusedError, match="predicts otherwise than the model that was approved"):
        third.check(service, "1")


def change_domain(folder: Path) -> None:
    """Change the code of the task since the champion."""
    replace_text(folder / "src" / PACKAGE / "features.py", "float32", "float64")
    commit_all(folder, "Change a feature")


def end_production(folder: Path) -> None:
    """Leave no version in production."""
    run_git(folder, "tag", "--delete", "part-failure#production#1")


def retire(folder: Path) -> None:
    """Take the challenger out of use."""
    run_git(folder, "tag", "--annotate", "--message", "Retire", f"{NAME}@v1.1.0!")


def promote(folder: Path) -> None:
    """Make the challenger the champion."""
    run_git(folder, "tag", "--annotate", "--message", "Promote", f"{NAME}#production#2")


def bring_other_features(folder: Path) -> None:
    """Register a version whose model takes other features, though the code is the same."""
    model = onnx.load(folder / ONNX)
    described = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps(described | {"features": described["features"][::-1]})
    put_model(folder, model.SerializeToString())
    commit_all(folder, "Bring a model of other features")
    run_git(folder, "tag", "--force", "--annotate", "--message", "Register", f"{NAME}@v1.1.0")


@pytest.mark.parametrize(
    ("prepare", "version", "said"),
    [
        (end_production, "v1.1.0", "RefusedError: no version is in production, so there is nobody to challenge."),
        (retire, "v1.1.0", "RefusedError: part-failure@v1.1.0 is retired; name another version."),
        (promote, "v1.1.0", "RefusedError: part-failure@v1.1.0 is the champion's model itself"),
        (change_domain, "v1.1.0", "RefusedError: src/parts is not what it was when v1.0.0 was made"),
        (bring_other_features, "v1.1.0", "RefusedError: v1.1.0 has the features "),
        (lambda folder: None, "v7.0.0", "MisuseError: part-failure@v7.0.0 is not registered"),
    ],
    ids=["no champion", "retired", "itself", "other code", "other features", "unknown"],
)
def test_challenger_that_cannot_share_a_bundle_is_refused_and_the_former_bundle_stays(
    rivals: Path, tmp_path: Path, prepare: Callable[[Path], None], version: str, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    prepare(folder)
    (folder / BUNDLE).write_bytes(b"former")

    done = run_here(folder, "lifecycle.bundle", "--challenger", version)

    assert done.returncode in (1, 2) and done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (folder / BUNDLE).read_bytes() == b"former" and not (folder / BUNDLE_FACTS).exists()


def test_share_and_mode_of_params_go_into_the_manifest(
    rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(rivals, tmp_path / "copy", symlinks=True))
    change_params(Path(), {"serve": {"mode": "split", "share": 0.25}})
    commit_all(Path.cwd(), "Split")

    manifest = describe_challenge(read_params(), "v1.1.0")

    assert (manifest["serve"]["mode"], manifest["serve"]["share"]) == ("split", 0.25)
    assert manifest["version"] == "v1.0.0"
    assert CHAMPION.read_bytes() != CHALLENGER.read_bytes() == ONNX.read_bytes()
