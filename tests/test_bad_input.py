"""Bad input and sudden death: one line each, and nothing changed; the same command again ends well."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import run_git, run_python

from lifecycle.data.contract import Contract, read_contract
from lifecycle.data.months import file_name, match_columns
from lifecycle.params import Params, read_params
from rehearsal.remote import change_params

STORE = Path(".dvc/sample-store")
ROWS = 600
# Kills its own process group at an event of the interpreter, as a machine that is switched off would.
KILLER = """
import os, signal, sys

def kill(event, arguments):
    if {condition}:
        os.killpg(0, signal.SIGKILL)

sys.addaudithook(kill)
"""
BEFORE_ADD = "event == 'subprocess.Popen' and 'add' in map(str, arguments[1])"
BEFORE_COUNTS = "event == 'open' and str(arguments[0]).endswith('rows.json') and 'w' in str(arguments[1])"


@pytest.fixture(autouse=True)
def fixture_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget from where a test imported the domain."""
    monkeypatch.setattr(sys, "path", sys.path[:])


def record(folder: Path) -> dict[str, str]:
    """Record the hashes of what bad input must not touch, and what Git sees of the rest."""
    paths = [folder / "data.dvc", *(folder / "data").rglob("*"), *(folder / STORE).rglob("*")]
    hashes = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}
    return hashes | {"git": run_git(folder, "status", "--porcelain")}


def expect_one_line(done: subprocess.CompletedProcess[str], name: str, code: int) -> str:
    """Expect one line that begins with the error's name, and its exit code; give the line."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{name}: ")
    assert done.returncode == code
    return lines[0]


def find_next_month(params: Params) -> str:
    """Find the month after the sample."""
    return str(np.datetime64(max(params.sample.months), "M") + 1)


def write_month(
    folder: Path, params: Params, spoil: Callable[[pa.Table, dict[str, str], Contract], pa.Table]
) -> Path:
    """Write the month after the sample into a folder, spoiled."""
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    month = find_next_month(params)
    table = domain.generate_month(month, ROWS, params.sample.seed)
    spelled = match_columns(contract, table.schema, "the sample")
    folder.mkdir(exist_ok=True)
    path = folder / file_name(params.ingest.source).format(month=month)
    pq.write_table(spoil(table, spelled, contract), path)
    return path


def keep(table: pa.Table, _spelled: dict[str, str], _contract: Contract) -> pa.Table:
    """Leave a month as it is."""
    return table


def drop_time(table: pa.Table, spelled: dict[str, str], contract: Contract) -> pa.Table:
    """Leave a column out."""
    return table.drop_columns(spelled[contract.time])


def write_out_numbers(table: pa.Table, spelled: dict[str, str], contract: Contract) -> pa.Table:
    """Turn a column of numbers into text."""
    name = next(spelled[column.name] for column in contract.columns if column.type == "number")
    return table.set_column(table.schema.names.index(name), name, table[name].cast(pa.string()))


def drop_rows(table: pa.Table, _spelled: dict[str, str], _contract: Contract) -> pa.Table:
    """Leave no row."""
    return table.slice(0, 0)


def break_half(table: pa.Table, spelled: dict[str, str], contract: Contract) -> pa.Table:
    """Move every second row out of its month."""
    name = spelled[contract.time]
    times = table[name].to_numpy().copy()
    times[::2] += np.timedelta64(400, "D")
    return table.set_column(table.schema.names.index(name), name, pa.array(times))


@pytest.mark.parametrize(
    ("spoil", "bytes_kept", "message"),
    [
        (keep, 9000, "(9,000 bytes) is no complete parquet file; it is empty, cut off or of another kind."),
        (keep, 0, "(0 bytes) is no complete parquet file; it is empty, cut off or of another kind."),
        (drop_time, None, "has no column "),
        (write_out_numbers, None, "holds string; the contract expects a number"),
        (drop_rows, None, "has no rows; expected a month of data."),
        (break_half, None, "of 600 rows (50.0%), mostly by '"),
    ],
    ids=["truncated", "empty", "no column", "text", "no rows", "half broken"],
)
def test_bad_month_is_one_line_and_changes_nothing(workspace, tmp_path, spoil, bytes_kept, message) -> None:
    params = read_params()
    path = write_month(tmp_path / "source", params, spoil)
    path.write_bytes(path.read_bytes()[:bytes_kept])
    before = record(workspace)
    arguments = ("--months", find_next_month(params), "--source", str(path.parent))

    done = run_python(workspace, "lifecycle.ingest", *arguments, check=False)

    line = expect_one_line(done, "ContractError", 1)
    assert line.startswith(f"ContractError: {path.name}")
    assert message in line
    assert record(workspace) == before


def test_month_that_does_not_exist_is_one_line_and_changes_nothing(workspace, tmp_path) -> None:
    before = record(workspace)

    done = run_python(workspace, "lifecycle.ingest", "--months", "2030-01", "--source", str(tmp_path), check=False)

    assert "_2030-01.parquet does not exist at the source." in expect_one_line(done, "AbsentError", 1)
    assert record(workspace) == before


def test_malformed_month_is_one_line_and_changes_nothing(workspace) -> None:
    before = record(workspace)

    done = run_python(workspace, "lifecycle.ingest", "--months", "january", check=False)

    assert "'january' is no month" in expect_one_line(done, "MisuseError", 2)
    assert record(workspace) == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("keep_month", 3, "ingest.keep_month is unknown; remove it, or correct its spelling."),
        ("keep_months", "three", "ingest.keep_months is 'three'; expected: input should be a valid integer."),
    ],
)
def test_bad_parameter_is_one_line_and_changes_nothing(workspace, key, value, message) -> None:
    change_params(workspace, {"ingest": {key: value}})
    before = record(workspace)

    for command in (("lifecycle.params",), ("lifecycle.ingest", "--months", "2030-01"), ("lifecycle.prepare",)):
        done = run_python(workspace, *command, check=False)

        assert expect_one_line(done, "MisuseError", 2) == f"MisuseError: params.yaml: {message}"
    assert record(workspace) == before


def test_corrupted_blob_of_the_store_never_reaches_data(workspace) -> None:
    entry = yaml.safe_load(Path("data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    blobs = STORE / "files" / "md5"
    month = json.loads((blobs / entry[:2] / entry[2:]).read_text(encoding="utf-8"))[0]
    blob = blobs / month["md5"][:2] / month["md5"][2:]
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 0xFF
    blob.chmod(0o644)
    blob.write_bytes(content)
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("data")

    pulled = run_python(workspace, "lifecycle.pull", check=False)

    assert pulled.returncode == 1
    assert pulled.stderr.count("\n") == 1
    assert pulled.stderr.startswith(f"RefusedError: the bytes with hash {month['md5']} cannot be had")
    assert "corrupted" in pulled.stderr
    assert not Path("data", month["relpath"]).exists()
    assert not Path(".dvc/cache/files/md5", month["md5"][:2], month["md5"][2:]).exists()


class SlowHandler(BaseHTTPRequestHandler):
    """Sends half of a month, and the rest once it is allowed."""

    def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is the library's
        """Send the month."""
        content = self.server.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.server.allowed.wait(30)
        self.wfile.write(content[len(content) // 2 :])

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class SlowServer(ThreadingHTTPServer):
    """A web server on loopback that gets stuck in the middle of its answer."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), SlowHandler)
        self.content, self.allowed = content, threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/{{month}}.parquet"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


def start_python(folder: Path, *arguments: str, condition: str = "False") -> subprocess.Popen[bytes]:
    """Start a module in a process group of its own, which is killed where the condition holds."""
    killer = folder.parent / "killer"
    killer.mkdir(exist_ok=True)
    (killer / "sitecustomize.py").write_text(KILLER.format(condition=condition), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    source = f"{killer}{os.pathsep}{folder / 'src'}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": source, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)


def expect_kill(process: subprocess.Popen[bytes]) -> None:
    """Expect that a process was killed before it came to its end."""
    assert process.wait(60) == -signal.SIGKILL


def hash_folder(folder: Path) -> dict[str, str]:
    """Hash the files of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.acceptance
def test_ingest_that_is_killed_changes_nothing_and_ends_well_the_next_time(workspace, trained, tmp_path) -> None:
    params = read_params()
    path = write_month(tmp_path / "source", params, keep)
    server = SlowServer(path.read_bytes())
    arguments = ("lifecycle.ingest", "--months", find_next_month(params))
    before = record(workspace)

    # While half of the month has arrived.
    downloading = start_python(workspace, *arguments, "--source", server.address)
    while not any(arrived.stat().st_size for arrived in Path("out/incoming").rglob("*.parquet")):
        assert downloading.poll() is None
    os.killpg(downloading.pid, signal.SIGKILL)
    expect_kill(downloading)
    assert record(workspace) == before
    server.allowed.set()

    # When the month lies in place, and DVC has not been told.
    expect_kill(start_python(workspace, *arguments, "--source", server.address, condition=BEFORE_ADD))
    assert hash_folder(Path("data")) == hash_folder(path.parent)
    # What comes first in `make data`: it puts data/ in order, where it might complain of a file without a copy.
    run_python(workspace, "dvc", "pull", "data.dvc")
    assert record(workspace) == before

    run_python(workspace, *arguments, "--source", server.address)
    server.shutdown()

    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(trained, undisturbed, symlinks=True)
    run_python(undisturbed, *arguments, "--source", str(path.parent))
    assert Path("data.dvc").read_bytes() == (undisturbed / "data.dvc").read_bytes()
    assert hash_folder(Path("data")) == hash_folder(path.parent)
    assert not list(Path("out/incoming").iterdir())


@pytest.mark.acceptance
def test_prepare_that_is_killed_ends_well_the_next_time(workspace) -> None:
    before = {name: hash_folder(Path("out", name)) for name in ("train", "test")}
    force = ("dvc", "repro", "--force", "--single-item", "prepare")

    expect_kill(start_python(workspace, *force, condition=BEFORE_COUNTS))
    assert not Path("out/rows.json").exists()
    # As a kill in the middle of writing leaves it.
    os.truncate(next(Path("out/train").iterdir()), 1000)
    run_python(workspace, *force[:2], "--single-item", "prepare")

    assert {name: hash_folder(Path("out", name)) for name in ("train", "test")} == before
    assert run_git(workspace, "status", "--porcelain") == ""

    expect_kill(start_python(workspace, *force, condition=BEFORE_COUNTS))
    run_python(workspace, *force)

    assert {name: hash_folder(Path("out", name)) for name in ("train", "test")} == before
    assert run_git(workspace, "status", "--porcelain") == ""
