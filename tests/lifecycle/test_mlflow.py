"""MLflow shows runs and the registry as Git has them; its server is started on loopback, and leaves nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from conftest import ROOT, run_git
from mlflow import MlflowClient
from mlflow.entities import Run
from repositories import CACHE, MODEL, REMOTE, copy_repository, find_blob, git
from small_models import write_sum
from trackers import params_of, want_no_records

from lifecycle import registry, track
from lifecycle.data.rows import read_rows
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import read_params
from lifecycle.predictor import load_predictor
from lifecycle.registry import Version
from lifecycle.repository import hash_file
from lifecycle.tracking import dispatch, mlflow_backend, outbox
from lifecycle.tracking.mlflow_registry import follow_registry, list_aliases
from lifecycle.tracking.record import write_commit, write_run
from lifecycle.tracking.server import serve, start_server, wait_for_server
from rehearsal.remote import change_params

# In place of uv: a server that says that it is well. It waits until runs can find it, and a registry has followed.
SERVER = """
import os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

port = int(sys.argv[sys.argv.index("--port") + 1])
server = HTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not Path("out/followed").exists():
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def fixture_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody want records."""
    want_no_records(monkeypatch)


@pytest.fixture(name="repository")
def fixture_repository(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Work in a small repository, whose model is none that could be opened."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


def make_version(name: str, *stages: str, retired: bool = False) -> Version:
    """Make a version."""
    return Version(name, "c" * 40, "Ada <ada@example.com>", "2026-01-01T00:00:00+00:00", retired, stages)


@pytest.mark.usefixtures("readings_folder")
def test_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        change_params(Path(), {"track": {"port": port}})

        with pytest.raises(MisuseError, match=f"port {port} cannot be used: .*track.port"):
            track.main(["serve"])

    assert not Path("out").exists()


@pytest.fixture(name="stand_in")
def fixture_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let programs of the test's own stand in for uv, with the server that it starts, and a backend; give uv's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    program = tmp_path / "bin/uv"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{SERVER}", encoding="utf-8")
    (tmp_path / "bin/python").write_text('#!/bin/sh\nexec touch "out/followed"\n', encoding="utf-8")
    for path in program.parent.iterdir():
        path.chmod(0o755)
    # Both are looked for where the interpreter lies.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setenv("FOLLOWS", "1")
    former = signal.getsignal(signal.SIGTERM)
    yield program
    signal.signal(signal.SIGTERM, former)


def test_server_that_is_stopped_leaves_neither_its_address_nor_a_process(
    stand_in: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with stand_in.open("a", encoding="utf-8") as file:
        file.write("os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(600)\n")

    serve(params_of({"backend": ["FOLLOWS"]}))

    address = capfd.readouterr().out.removeprefix("MLflow: ").split()[0]
    assert not Path("out/tracking.json").exists()
    host, _, port = address.removeprefix("http://").partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_server_that_dies_is_told_with_its_log(stand_in: Path) -> None:
    with stand_in.open("a", encoding="utf-8") as file:
        file.write("sys.exit('no space left')\n")

    with pytest.raises(RefusedError, match="^the server ended with 1; its log is out/tracking/server.log"):
        serve(params_of({"backend": ["FOLLOWS"]}))

    assert "no space left" in Path("out/tracking/server.log").read_text(encoding="utf-8")


def test_server_that_ends_at_once_is_said() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        with pytest.raises(RefusedError, match="did not start; its log is out/tracking/server.log"):
            wait_for_server(process, "http://127.0.0.1:9")


@pytest.mark.drill
def test_server_of_make_tracking_is_found_and_leaves_nothing_behind(workspace: Path) -> None:
    change_params(workspace, {"track": {"port": 0}})
    command = [sys.executable, "-m", "lifecycle.track", "serve"]
    environment = {**os.environ, "PYTHONPATH": str(workspace / "src")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.readline() if process.stdout else ""
        if not said:
            pytest.skip("uv cannot start MLflow's server, which needs its libraries")

        address = dispatch.read_environment()["MLFLOW_TRACKING_URI"]
        process.terminate()

        assert address in said
        assert process.wait() == 0
    assert not Path("out/tracking.json").exists()
    host, _, port = address.removeprefix("http://").partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], {}),
        ([make_version("v1.0.0")], {"v1-0-0": "v1.0.0", "challenger": "v1.0.0"}),
        (
            [make_version("v1.1.0"), make_version("v1.0.0", "production")],
            {"v1-1-0": "v1.1.0", "v1-0-0": "v1.0.0", "challenger": "v1.1.0", "champion": "v1.0.0"},
        ),
        (
            [make_version("v1.1.0", retired=True), make_version("v1.0.0", "production")],
            {"v1-1-0": "v1.1.0", "v1-0-0": "v1.0.0", "champion": "v1.0.0"},
        ),
        (
            [make_version("v1.1.0", "production"), make_version("v1.0.0")],
            {"v1-1-0": "v1.1.0", "v1-0-0": "v1.0.0", "champion": "v1.1.0"},
        ),
    ],
)
def test_aliases_are_those_that_git_gives(versions: list[Version], expected: dict[str, str]) -> None:
    assert list_aliases(versions) == expected


@pytest.fixture(name="client", scope="module")
def fixture_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """Keep runs in a database, with the client alone and no server."""
    folder = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow_backend.open_client.cache_clear()
        mlflow.set_tracking_uri(address)
        with pytest.MonkeyPatch.context() as moved:
            # It keeps files where it is opened.
            moved.chdir(folder)
            client = MlflowClient(address)
            client.search_experiments()
        yield client
    mlflow_backend.open_client.cache_clear()
    mlflow.set_tracking_uri(None)


def test_registry_says_what_git_says(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = client.create_experiment("versions")
    runs = {name: client.create_run(experiment).info.run_id for name in ("v1.0.0", "v1.1.0")}

    def follow(*versions: Version) -> list[str]:
        return follow_registry(client, "versions", versions, lambda version: (runs[version.name], None))

    assert not follow()
    first = make_version("v1.0.0")
    assert "registered: versions@v1.0.0 is version 1" in follow(first)
    assert not follow(first)
    promoted = make_version("v1.0.0", "production")
    assert "alias champion: given to version 1, as Git says" in follow(promoted)
    assert "alias challenger: given to version 2, as Git says" in follow(make_version("v1.1.0"), promoted)

    # By hand: another champion, a name of one's own, and a version that claims to be another one.
    client.set_registered_model_alias("versions", "champion", "2")
    client.set_registered_model_alias("versions", "best", "2")
    client.set_model_version_tag("versions", "2", "state", "production")
    client.create_model_version("versions", "file:///elsewhere", tags={"version": "v1.0.0"})
    said = follow(make_version("v1.1.0"), promoted)

    assert said == [
        "not in Git: version 3 of versions at MLflow; to be rid of it, delete it there.",
        "alias best: taken from version 2, since Git gives it to none",
        "alias champion: moved from version 2 to 1, as Git says",
    ]
    assert client.get_model_version("versions", "3").tags["not_in_git"] == "true"
    assert client.get_model_version("versions", "2").tags["state"] == "registered"
    # Its mark is its own: a version that Git knows loses it, and one that it does not keeps it.
    client.set_model_version_tag("versions", "2", "not_in_git", "true")
    assert follow(make_version("v1.1.0"), promoted) == said[:1]
    marks = [client.get_model_version("versions", number).tags.get("not_in_git") for number in "123"]
    assert marks == [None, None, "true"]
    assert list_given(client, "versions") == {
        "champion": "1",
        "challenger": "2",
        "v1-0-0": "1",
        "v1-1-0": "2",
    }


def test_record_is_sent_once_and_what_was_left_half_done_is_made_anew(
    client: MlflowClient, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    name = read_params().registry.name
    record = write_run(tmp_path / "record", name)
    half = client.create_run(client.create_experiment(name), tags={"record": record.id})

    mlflow_backend.send(record, tmp_path / "record")
    mlflow_backend.send(record, tmp_path / "record")
    (run,) = list_runs(client, name)

    assert run.info.run_id != half.info.run_id
    assert run.data.metrics == pytest.approx(record.list_figures())
    assert run.data.params == record.list_params()
    assert run.inputs.dataset_inputs[0].dataset.digest == (record.data or {})["hash"]
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    assert {model.name for model in models} == {"model", "model-scikit-learn"}
    served = next(Path(model.artifact_location) for model in models if model.name == "model")
    assert hash_file(served / "model.onnx") == record.model_hash
    # Git's history has this run, and no second one.
    mlflow_backend.send(write_commit(tmp_path / "history", name, "HEAD"), tmp_path / "history")
    assert len(list_runs(client, name)) == 1
    # A version that is registered has it too.
    tag = registry.register_version(name)
    assert f"registered: {tag} is version 1" in mlflow_backend.follow()
    assert str(client.get_model_version(name, "1").run_id) == run.info.run_id
    # Neither where the project lies on this machine nor where its remote is.
    told = json.dumps([run.to_dictionary(), *(dict(model.tags) for model in models)])
    assert str(workspace / "src") not in told and "repoURL" not in told


@pytest.mark.usefixtures("repository")
def test_record_is_sent_with_as_little_as_it_holds_and_a_deleted_experiment_comes_back(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    Path(MODEL).unlink()
    bare = replace(write_run(tmp_path / "bare", "little"), data=None)
    Path(MODEL).write_bytes(write_sum(1))
    served = write_run(tmp_path / "served", "little")

    mlflow_backend.send(bare, tmp_path / "bare")
    experiment = client.get_experiment_by_name("little").experiment_id
    client.delete_experiment(experiment)
    said = mlflow_backend.send(served, tmp_path / "served")

    runs = {run.data.tags["record"]: run for run in list_runs(client, "little")}
    assert {*runs} == {bare.id, served.id}
    assert said.endswith(f", run {runs[served.id].info.run_id}")
    assert [len(runs[one.id].inputs.dataset_inputs) for one in (bare, served)] == [0, 1]
    assert [run.data.metrics for run in runs.values()] == [{"some_error": 1.5}] * 2
    (model,) = client.search_logged_models([experiment])
    assert (model.name, model.source_run_id) == ("model", runs[served.id].info.run_id)
    assert client.get_experiment(experiment).lifecycle_stage == "active"


@pytest.mark.usefixtures("repository")
def test_version_whose_run_is_not_there_gets_one_from_git_though_its_bytes_are_gone(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    tag = registry.register_version("model")
    for store in (CACHE, REMOTE):
        find_blob(store).unlink()

    said = mlflow_backend.follow()

    assert said[0] == f"registered: {tag} is version 1"
    (run,) = list_runs(client, "model")
    assert (run.data.tags["commit"], run.info.status) == (git("rev-parse", "HEAD"), "FINISHED")
    assert client.get_model_version("model", "1").run_id == run.info.run_id
    assert not client.search_logged_models([run.info.experiment_id])


@pytest.fixture(name="server", scope="module")
def fixture_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Run a real server; without one there is nothing to show."""
    server = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
    except RefusedError as error:
        pytest.skip(f"uv cannot start {server.package}, which needs its libraries: {error}")
    yield server
    server.kill()


class Server:
    """An MLflow server on loopback that can be killed and started again with what it knew."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.package = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["track"]["server"]
        self._folder, self._process = folder, None

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        self._process = start_server(self.package, self.address, self._folder)
        wait_for_server(self._process, self.address)

    def kill(self) -> None:
        """Kill it with all its workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.mark.drill
def test_server_shows_the_run_and_follows_the_registry(
    server: "Server", workspace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("PYTHONPATH", str(workspace / "src"))
    name, client = read_params().registry.name, MlflowClient(server.address)

    # Killed as soon as the run is there: the pipeline's run ends well, and its record waits.
    sending = threading.Thread(target=track.main, args=([],))
    sending.start()
    while not list_runs(client, name):
        assert sending.is_alive()
        time.sleep(0.05)
    server.kill()
    sending.join()
    assert len(outbox.list_waiting("lifecycle.tracking.mlflow_backend")) == 1
    assert "1 record in out/outbox waiting" in capfd.readouterr().err

    # The record arrives afterwards, once, and the registry's command brings it.
    server.start()
    registry.main(["register"])
    registry.main(["promote", "v1.0.0"])

    (run,) = list_runs(client, name)
    record = write_run(workspace / "out/again", name)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == pytest.approx(record.list_figures())
    assert run.data.params == record.list_params()
    assert run.data.tags["model_hash"] == record.model_hash
    assert run.inputs.dataset_inputs[0].dataset.digest == record.data["hash"]
    version = client.get_model_version_by_alias(name, "champion")
    assert (version.version, version.tags["version"], version.run_id) == ("1", "v1.0.0", run.info.run_id)
    expect_same_predictions(server.address, f"models:/{name}@champion")

    # What somebody moved there by hand is put back, and what Git does not know has no alias.
    client.create_model_version(name, run.info.artifact_uri, run.info.run_id, tags={"version": "v2.0.0"})
    for alias in ("champion", "best"):
        client.set_registered_model_alias(name, alias, "2")
    capfd.readouterr()
    assert track.main(["send"]) == 0
    said = capfd.readouterr().out
    assert "alias best: taken from version 2" in said
    assert "alias champion: moved from version 2 to 1, as Git says" in said
    assert "not in Git: version 2" in said
    assert list_given(client, name) == {"champion": "1", "v1-0-0": "1"}


def list_given(client: MlflowClient, name: str) -> dict[str, str]:
    """List the aliases there; a server gives texts for numbers, and a database numbers."""
    return {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}


def list_runs(client: MlflowClient, name: str) -> list[Run]:
    """List the runs of a model."""
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def expect_same_predictions(address: str, model: str) -> None:
    """Expect a model from the server to predict what the working folder's does."""
    mlflow.set_tracking_uri(address)
    rows, predictor = read_rows(Path("out/test")), load_predictor(Path("out/model.onnx"))
    loaded = mlflow.pyfunc.load_model(model)
    predicted = loaded.predict(rows.X[:100])
    np.testing.assert_array_equal(list(predicted.values())[-1], predictor.predict(rows.X[:100]))
    assert loaded.metadata.signature is not None
    np.testing.assert_array_equal(loaded.input_example, rows.X[:5])


@pytest.mark.drill
def test_empty_server_is_filled_from_git(
    rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(rivals, folder, symlinks=True)
    monkeypatch.chdir(folder)
    # The client alone, with a database in place of a server; it keeps files in the working folder.
    address = f"sqlite:///{tmp_path}/empty.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    # Also for the registry: whatever a test before this one set.
    mlflow.set_tracking_uri(address)
    monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
    name = read_params().registry.name

    assert track.main(["rebuild"]) == 0, capfd.readouterr().err
    assert track.main(["rebuild"]) == 0
    client = MlflowClient(address)

    versions = {str(one.version): one.tags["version"] for one in client.search_model_versions(f"name = '{name}'")}
    assert versions == {"1": "v1.0.0", "2": "v1.1.0"}
    assert list_given(client, name) == {
        "champion": "1",
        "challenger": "2",
        "v1-0-0": "1",
        "v1-1-0": "2",
    }
    runs = {run.data.tags["commit"]: run for run in list_runs(client, name)}
    assert {*runs} == {*run_git(folder, "log", "--format=%H", "--", "dvc.lock").split()}
    newest = runs[run_git(folder, "rev-parse", "HEAD").strip()]
    assert newest.data.metrics == pytest.approx(write_run(tmp_path / "run", name).list_figures())
