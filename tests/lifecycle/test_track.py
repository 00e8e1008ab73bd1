"""Runs are recorded where somebody wants to have them, and never wait for it: a server is a guest."""

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
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from conftest import ROOT, commit_all, run_git
from mlflow import MlflowClient
from mlflow.entities import Run
from waiting import wait_for

from lifecycle import registry, track
from lifecycle.data.rows import read_rows
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import TrackParams, read_params
from lifecycle.paths import OUTBOX
from lifecycle.predictor import load_predictor
from lifecycle.registry import Version
from lifecycle.repository import hash_file
from lifecycle.tracking import dispatch, mlflow_backend, outbox, wandb_backend
from lifecycle.tracking.mlflow_registry import follow_registry, list_aliases
from lifecycle.tracking.record import FILES, MODELS, read_record, write_commit, write_run
from lifecycle.tracking.server import serve, start_server, wait_for_server
from rehearsal.remote import change_params

HERE = Path(__file__).parent
THIRD = HERE / "json_lines.py"
VARIABLES = ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE", "JSON_LINES", "GITHUB_ACTOR", "GITHUB_REF")


@pytest.fixture(autouse=True)
def fixture_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody want records, and forget from where a test imported the domain."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "path", sys.path[:])


@pytest.fixture(name="third")
def fixture_third(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a third backend want records; give the file that it writes."""
    shutil.copy(THIRD, workspace)
    change_params(workspace, {"track": {"backends": {"json_lines": ["JSON_LINES"]}}})
    monkeypatch.setenv("JSON_LINES", str(workspace / "out/lines.jsonl"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(workspace), str(workspace / "src")]))
    return workspace / "out/lines.jsonl"


@pytest.fixture(name="silent_address")
def fixture_silent_address() -> Iterator[str]:
    """Give the address of a server that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in taken:
            connection.close()


def params_of(backends: dict[str, list[str]], seconds: float = 60) -> TrackParams:
    """Make parameters."""
    return TrackParams(
        backends=backends, answer_seconds=1.0, send_seconds=float(seconds), server="mlflow==1.0", port=0
    )


def read_lines(path: Path) -> list[dict]:
    """Read the third backend's file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def put_names(*names: str, backend: str = "one") -> list[Path]:
    """Put empty records into the outbox."""
    return [outbox.put(lambda folder, name=name: (folder / "x").touch() or name, [backend]) for name in names]


def make_version(name: str, *stages: str, retired: bool = False) -> Version:
    """Make a version."""
    return Version(name, "c" * 40, "Ada <ada@example.com>", "2026-01-01T00:00:00+00:00", retired, stages)


@pytest.mark.usefixtures("workspace")
def test_nothing_is_recorded_where_nobody_wants_it() -> None:
    assert track.main([]) == 0

    assert not OUTBOX.exists()


@pytest.mark.usefixtures("workspace")
def test_who_asks_for_sending_and_names_no_server_is_told_how() -> None:
    with pytest.raises(MisuseError, match="set one of MLFLOW_TRACKING_URI, .*make tracking"):
        track.main(["send"])


def test_record_says_what_the_run_was(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "grace")
    monkeypatch.setenv("GITHUB_REF", "refs/pull/7/merge")

    record = write_run(tmp_path / "record", read_params().registry.name)

    metrics = json.loads((workspace / "out/metrics.json").read_text(encoding="utf-8"))
    first, measured = next(iter(metrics.items()))
    figures, slices = record.list_figures(), json.loads(Path("out/plots/slices.json").read_text(encoding="utf-8"))
    assert [figures[first], figures[f"{first}_low"], figures[f"{first}_high"]] == [
        measured[part] for part in ("value", "low", "high")
    ]
    assert [value for name, value in figures.items() if name.startswith("slice/")] == [one["error"] for one in slices]
    assert (record.who, record.pull_request, record.commit) == (
        "grace",
        "#7",
        run_git(workspace, "rev-parse", "HEAD")[:-1],
    )
    assert record.lock_hash == hash_file(Path("dvc.lock"))
    assert record.model_hash == hash_file(tmp_path / "record" / MODELS / "model.onnx")
    assert record.data and record.data["hash"].endswith(".dir")
    assert not record.uncommitted
    assert record.list_params()["train.penalty"] == "5000.0"
    assert {"model_card.md", "plots", "metrics.json", "dvc.lock"} <= {
        path.name for path in (tmp_path / "record" / FILES).iterdir()
    }
    assert read_record(tmp_path / "record") == record


@pytest.mark.usefixtures("workspace")
def test_verdict_of_a_former_run_is_left_out(tmp_path: Path) -> None:
    Path("out/verdict.json").write_text('{"outcome": "refuse"}', encoding="utf-8")
    assert write_run(tmp_path / "new", "model").list_facts()["gate"] == "refuse"

    os.utime("out/verdict.json", (0, 0))

    assert "gate" not in write_run(tmp_path / "old", "model").list_facts()


def test_commit_has_the_record_that_its_run_had(workspace: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "model")
    Path("params.yaml").write_text("changed since", encoding="utf-8")
    Path("dvc.lock").unlink()

    record = write_commit(tmp_path / "commit", "model", "HEAD")

    assert record.is_history and not run.is_history
    assert (record.list_figures(), record.list_params()) == (run.list_figures(), run.list_params())
    assert (record.lock_hash, record.model_hash, record.data) == (run.lock_hash, run.model_hash, run.data)
    assert hash_file(tmp_path / "commit" / MODELS / "model.onnx") == record.model_hash
    # Pickles of the past are not opened again.
    assert not (tmp_path / "commit" / MODELS / "model.joblib").exists()
    assert run_git(workspace, "show", "HEAD:params.yaml") == (tmp_path / "commit/files/params.yaml").read_text(
        "utf-8"
    )


def test_record_is_in_the_outbox_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def write(folder: Path) -> str:
        (folder / "half").touch()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        outbox.put(write, ["one"])

    assert not list(OUTBOX.iterdir())


def test_record_leaves_the_outbox_when_nobody_lacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = outbox.put(lambda _: "a", ["one", "two"])
    put_names("c", "b")

    outbox.mark_sent(folder, "one")
    assert [path.name for path in outbox.list_waiting("one")] == ["b", "c"]
    assert outbox.list_waiting("two") == [folder]
    outbox.mark_sent(folder, "two")

    assert not folder.exists()


def test_two_processes_do_not_send_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with outbox.hold() as first, outbox.hold() as second:
        assert first is not None and second is None
        assert "another process" in dispatch.send_waiting(params_of({"one": ["X"]}), {"X": "1"})[0]


def test_backend_is_called_for_by_its_variables() -> None:
    params = params_of({"one": ["A"], "two": ["B", "C"]})

    assert dispatch.choose_backends(params, {"A": "1", "C": "x"}) == ["one", "two"]
    assert not dispatch.choose_backends(params, {"A": "", "B": "key", "C": "disabled"})


def test_server_that_make_tracking_started_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    assert "MLFLOW_TRACKING_URI" not in dispatch.read_environment()
    Path("out/tracking.json").write_text('{"address": "http://127.0.0.1:9"}', encoding="utf-8")
    assert dispatch.read_environment()["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.com")

    assert dispatch.read_environment()["MLFLOW_TRACKING_URI"] == "https://tracking.example.com"


def test_third_backend_is_one_short_file(third: Path) -> None:
    assert len(THIRD.read_text(encoding="utf-8").splitlines()) <= 40

    assert track.main([]) == 0
    assert track.main([]) == 0

    lines = read_lines(third)
    assert len({line["id"] for line in lines}) == 2
    assert lines[0]["model_hash"] == hash_file(Path("out/model.onnx"))
    assert not outbox.list_waiting("json_lines")


def test_what_was_not_taken_waits_and_arrives_in_order(third: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third.mkdir()
    assert [track.main([]), track.main([])] == [0, 0]
    said = capsys.readouterr().err.splitlines()
    assert "Is a directory" in said[0] and "1 record in out/outbox waiting" in said[0]
    assert len(said) == 2 and "2 records in out/outbox waiting" in said[1]
    assert track.main(["send"]) == 1
    waiting = [path.name for path in outbox.list_waiting("json_lines")]

    third.rmdir()
    assert track.main(["send"]) == 0

    assert [line["id"] for line in read_lines(third)] == waiting
    assert not outbox.list_waiting("json_lines")


def test_record_that_is_refused_holds_no_other_one_up(third: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = outbox.put(lambda folder: (folder / "record.json").write_text("{}") and "0-bad", ["json_lines"])

    assert track.main([]) == 0

    assert len(read_lines(third)) == 1
    assert outbox.list_waiting("json_lines") == [bad]
    assert "0-bad: TypeError: " in capsys.readouterr().err


def test_rebuild_sends_what_history_says(third: Path, workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = Path("dvc.lock").read_bytes()
    Path("dvc.lock").write_bytes(b"<<<<<<< HEAD\n")
    commit_all(workspace, "Break the lock")
    Path("dvc.lock").write_bytes(lock)

    assert track.main(["rebuild"]) == 0
    assert track.main(["rebuild"]) == 0

    assert [line["commit"] for line in read_lines(third)] == [run_git(workspace, "rev-parse", "HEAD~1").strip()]
    assert "left out: dvc.lock at" in capfd.readouterr().out


def test_backend_that_hangs_is_stopped_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    put_names("a", backend="sleeper")
    Path("sleeper.py").write_text("import os, time; os.fork(); time.sleep(600)", encoding="utf-8")

    faults = dispatch.send_waiting(params_of({"sleeper": ["X"]}, 1), dict(os.environ, X="1"))

    assert faults == ["sleeper: not done after 1 s (1 record in out/outbox waiting)"]
    # Both processes hold the outbox as long as they live; the second one is nobody's to wait for.
    wait_for(_is_outbox_free)


def _is_outbox_free() -> bool:
    with outbox.hold() as lock:
        return lock is not None


@pytest.mark.usefixtures("workspace")
def test_server_that_never_answers_costs_a_run_one_line(
    silent_address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_address.replace("//", "//ada:secret@"))
    change_params(Path(), {"track": {"answer_seconds": 0.5}})

    assert track.main([]) == 0

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"no answer from {silent_address}: timed out (1 record in out/outbox waiting)" in said
    assert "secret" not in said


def test_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        params = params_of({}).model_copy(update={"port": taken.getsockname()[1]})

        with pytest.raises(MisuseError, match=f"port {params.port} cannot be used: .*track.port"):
            serve(params)


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
    # A version that is registered has this run, and no second one.
    tag = registry.register_version(name)
    assert f"registered: {tag} is version 1" in mlflow_backend.follow()
    assert str(client.get_model_version(name, "1").run_id) == run.info.run_id
    # Neither where the project lies on this machine nor where its remote is.
    told = json.dumps([run.to_dictionary(), *(dict(model.tags) for model in models)])
    assert str(workspace / "src") not in told and "repoURL" not in told


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


def join_blocks(content: bytes) -> bytes:
    """Join what a log holds: records in blocks of 32 KiB, each part after a header of seven bytes with its length."""
    parts, at, header = [], 7, 7
    while at + header <= len(content):
        if (left := 2**15 - at % 2**15) < header:
            at += left
            continue
        end = at + header + int.from_bytes(content[at + 4 : at + 6], "little")
        parts.append(content[at + header : end])
        at = end
    return b"".join(parts)


@pytest.mark.usefixtures("workspace")
def test_weights_and_biases_offline_keeps_the_figures_in_the_folder_of_the_run(tmp_path: Path) -> None:
    record = write_run(tmp_path / "record", "model")

    wandb_backend.send(record, tmp_path / "record")
    where = Path(wandb_backend.send(record, tmp_path / "record"))

    assert read_record(where) == record
    assert len(list(where.parent.parent.glob("offline-run-*"))) == 1
    kept = join_blocks(next(where.parent.glob("*.wandb")).read_bytes())
    assert all(name.encode() in kept for name in record.list_figures())
    assert b"5000.0" in kept
