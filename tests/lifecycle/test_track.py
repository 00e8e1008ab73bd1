"""Runs are recorded where somebody wants to have them, and never wait for it: a server is a guest."""

import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import commit_all, run_git
from repositories import MODEL, copy_repository
from trackers import params_of, want_no_records
from waiting import wait_for

from lifecycle import track
from lifecycle.errors import MisuseError
from lifecycle.params import read_params
from lifecycle.paths import OUTBOX
from lifecycle.repository import hash_file
from lifecycle.tracking import dispatch, outbox, wandb_backend
from lifecycle.tracking.backend import run_backend
from lifecycle.tracking.record import FILES, MODELS, read_record, write_commit, write_run
from rehearsal.remote import change_params

THIRD = Path(__file__).parent / "json_lines.py"


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


def read_lines(path: Path) -> list[dict]:
    """Read the third backend's file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def put_names(*names: str, backend: str = "one") -> list[Path]:
    """Put empty records into the outbox."""
    return [outbox.put(lambda folder, name=name: (folder / "x").touch() or name, [backend]) for name in names]


@pytest.mark.usefixtures("workspace")
def test_nothing_is_recorded_where_nobody_wants_it() -> None:
    assert track.main([]) == 0

    assert not OUTBOX.exists()


@pytest.mark.usefixtures("workspace")
def test_who_asks_for_sending_and_names_no_server_is_told_how() -> None:
    with pytest.raises(MisuseError, match="set one of MLFLOW_TRACKING_URI, .*make tracking"):
        track.main(["send"])


@pytest.mark.usefixtures("third")
def test_run_that_has_no_figures_yet_is_misuse() -> None:
    Path("out/metrics.json").unlink()

    with pytest.raises(MisuseError, match="^out/metrics.json is missing, so there is no run to record; make one"):
        track.main([])

    assert not OUTBOX.exists()


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


def test_run_without_rows_or_model_is_recorded_with_what_there_is(repository: Path, tmp_path: Path) -> None:
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))
    lock["stages"]["train"]["outs"] = [one for one in lock["stages"]["train"]["outs"] if one["path"] != MODEL]
    Path("dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    Path(MODEL).unlink()

    run = write_run(tmp_path / "run", "model")
    commit_all(repository, "Make no model")
    record = write_commit(tmp_path / "commit", "model", "HEAD")

    for one in (run, record):
        assert (one.model_hash, one.list_figures(), one.slices) == (None, {"some_error": 1.5}, [])
    for folder in (tmp_path / "run", tmp_path / "commit"):
        assert {path.name for path in folder.iterdir()} == {"record.json", FILES}


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
    Path("dvc.lock").write_bytes(lock + b"# mine\n")
    params = Path("params.yaml").read_bytes()
    change_params(workspace, {"registry": {"name": "another"}})
    commit_all(workspace, "Make another model")
    Path("params.yaml").write_bytes(params)

    assert track.main(["rebuild"]) == 0
    assert track.main(["rebuild"]) == 0

    assert [line["commit"] for line in read_lines(third)] == [run_git(workspace, "rev-parse", "HEAD~2").strip()]
    assert "left out: dvc.lock at" in capfd.readouterr().out


def test_backend_says_what_its_registry_changed_and_ends_with_a_fault_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def follow() -> list[str]:
        if fails:
            raise OSError("no\nspace")
        return ["alias champion: moved", "alias best: taken"]

    monkeypatch.setattr(sys, "argv", ["one"])
    fails = False
    run_backend("one", lambda *_: "", follow)
    assert capsys.readouterr().out == "alias champion: moved\nalias best: taken\n"

    fails = True
    with pytest.raises(SystemExit, match="^OSError: no space$"):
        run_backend("one", lambda *_: "", follow)


def test_backend_ends_with_a_run_that_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # A signal of the test's own does what Ctrl-C does.
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGUSR1); time.sleep(600)"
    Path("sleeper.py").write_text(code, encoding="utf-8")
    (record,) = put_names("a", backend="sleeper")

    former = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            dispatch.send_waiting(params_of({"sleeper": ["X"]}), dict(os.environ, X="1"))
    finally:
        signal.signal(signal.SIGUSR1, former)

    wait_for(_is_outbox_free)
    assert outbox.list_waiting("sleeper") == [record]


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

    # What was left half done is made anew; a record need not hold a model.
    (tmp_path / "half" / FILES).mkdir(parents=True)
    shutil.copy(tmp_path / "record/record.json", tmp_path / "half")
    wandb_backend.send(replace(record, data=None), tmp_path / "half")
    where = Path(wandb_backend.send(record, tmp_path / "record"))

    assert read_record(where) == record
    assert len(list(where.parent.parent.glob("offline-run-*"))) == 1
    (path,) = where.parent.glob("*.wandb")
    names = [name.encode() for name in (*record.list_figures(), "5000.0")]
    # A process of its own writes it, and may do so a moment later.
    assert wait_for(lambda: all(name in join_blocks(path.read_bytes()) for name in names))
