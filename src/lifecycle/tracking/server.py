"""An MLflow server on loopback, in an environment of its own: its libraries and the model's do not fit together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import TrackParams
from lifecycle.paths import TRACKING, TRACKING_STORE
from lifecycle.tracking.dispatch import follow_registry

HOST = "127.0.0.1"
# The first start brings the server's libraries.
START_SECONDS = 300


def serve(params: TrackParams) -> None:
    """Serve until Ctrl-C; runs find the server by the file that names its address.

    Raises
    ------
    MisuseError
        If the port cannot be used.
    RefusedError
        If the server does not start.
    """
    address = f"http://{HOST}:{_take_port(params.port)}"
    # As Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start_server(params.server, address, TRACKING_STORE) as process:
        try:
            wait_for_server(process, address)
            TRACKING.write_text(json.dumps({"address": address}) + "\n", encoding="utf-8")
            print(f"MLflow: {address}  (runs are recorded there; Ctrl-C ends it)", flush=True)
            follow_registry(params)
            process.wait()
        except KeyboardInterrupt:
            # Whoever stops it wants no records; only a server that died is waited for.
            TRACKING.unlink(missing_ok=True)
            return
        finally:
            _stop(process)
    raise RefusedError(f"the server ended with {process.returncode}; its log is {TRACKING_STORE / 'server.log'}.")


def start_server(server: str, address: str, store: Path) -> subprocess.Popen[bytes]:
    """Start an MLflow server that keeps all in a folder: a SQLite database, and files."""
    store = store.resolve()
    store.mkdir(parents=True, exist_ok=True)
    host, _, port = address.removeprefix("http://").partition(":")
    command = [
        *(shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv", "tool", "run", "-q", "--from", server),
        *("mlflow", "server", "--host", host, "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"),
        *("--artifacts-destination", (store / "files").as_uri()),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    # The code of the project is not the server's.
    environment = {key: value for key, value in environment.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with (store / "server.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait_for_server(process: subprocess.Popen[bytes], address: str) -> None:
    """Wait until a server answers.

    Raises
    ------
    RefusedError
        If it ends, or never answers.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with closing(opener.open(f"{address}/health", timeout=5)):
                return
        except OSError:
            time.sleep(0.3)
    raise RefusedError(
        f"the MLflow server did not start; its log is {TRACKING_STORE / 'server.log'}. The first start needs the "
        "network, for the server's libraries."
    )


def _take_port(port: int) -> int:
    """Find out whether a port is free; 0 takes any."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
        except OSError as error:
            raise MisuseError(
                f"port {port} cannot be used: {error.strerror}. Does `make tracking` run already? If not, name "
                "another port in params.yaml, track.port."
            ) from error
        return int(taken.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
