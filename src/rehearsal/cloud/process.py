"""A process that runs one version of a function, and the Runtime API on loopback that hands it its events."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import files
from pathlib import Path
from typing import Any

# Real Lambda gives 10 s; a machine that also builds and tests may need longer.
INIT_SECONDS = 60
# What AWS's own runtime brings besides the standard library.
RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")


@dataclass(frozen=True)
class Event:
    """An event on its way to a function; ``timeout`` in seconds."""

    request_id: str
    payload: bytes
    arn: str
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """What came of an event: ``error`` is the error's type, None if the function answered."""

    payload: bytes
    error: str | None
    milliseconds: float


def link_runtime(folder: Path) -> None:
    """Make a folder of links to AWS's Python runtime, for functions to find nothing else of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in RUNTIME:
        for file in files(package) or []:
            name = file.parts[0]
            if name != ".." and not name.endswith(".dist-info") and not (folder / name).is_symlink():
                (folder / name).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / name)


def unpack(content: bytes, folder: Path) -> None:
    """Unpack a function's zip file where it cannot be written to, as under /var/task."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def make_failure(error: str, request_id: str, said: str) -> bytes:
    """Make the payload with which Lambda itself tells that a function failed."""
    return json.dumps({"errorType": error, "errorMessage": f"RequestId: {request_id} Error: {said}"}).encode()


def describe_exit(code: int) -> str:
    """Tell how a process ended in Lambda's words."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"Runtime exited with error: exit status {code}"


class _Api(BaseHTTPRequestHandler):
    """Lambda's Runtime API, version 2018-06-01, for one process."""

    protocol_version = "HTTP/1.1"
    # Otherwise each call waits 44 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    process: "Process"

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        """Hand over the next event, when there is one."""
        self.process.report("ready")
        event = self.process.events.get()
        if event is None:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event.payload)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", event.request_id)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + event.timeout) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", event.arn)
        self.end_headers()
        self.wfile.write(event.payload)

    def do_POST(self) -> None:  # pylint: disable=invalid-name
        """Take an answer, or an error."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.process.report("answer" if self.path.endswith("/response") else "error", content)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Keep the terminal quiet."""


class _Server(ThreadingHTTPServer):
    """The API's server; a process that is killed breaks its connection, and that is no fault."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless it is the connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Process:
    """A process that takes one event after the other.

    Parameters
    ----------
    folder : Path
        The unpacked zip file.
    runtime : Path
        Filled by `link_runtime`.
    handler : str
    environment : mapping of str to str
        All of it: nothing of this machine's is added but the search path.
    write : callable
        Takes each line that the process prints.
    """

    def __init__(
        self, folder: Path, runtime: Path, handler: str, environment: Mapping[str, str], write: Callable[[str], None]
    ) -> None:
        self.events: queue.Queue[Event | None] = queue.Queue()
        self._outcomes: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._ready = False
        self._write = write
        self._server = _Server(("127.0.0.1", 0), type("Api", (_Api,), {"process": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        own = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "LAMBDA_TASK_ROOT": str(folder),
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(runtime),
            "TZ": ":UTC",
        }
        # It lives as long as this object does; -S leaves out what is installed on this machine.
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [sys.executable, "-S", "-m", "awslambdaric", handler],
            cwd=folder,
            env={**environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it can take an event."""
        return self._process.poll() is None

    def report(self, kind: str, content: bytes = b"") -> None:
        """Note what the process told the Runtime API; that it is ready only once."""
        if kind != "ready" or not self._ready:
            self._ready = self._ready or kind == "ready"
            self._outcomes.put((kind, content))

    def run(self, event: Event) -> Outcome:
        """Hand an event to the process and wait for what comes of it; a process that failed is not used again."""
        if not self._ready or not self._outcomes.empty():
            kind, content = self._wait(INIT_SECONDS)
            if kind != "ready":
                return self._fail(kind, content, event, 0)
        started = time.perf_counter()
        self.events.put(event)
        kind, content = self._wait(event.timeout)
        milliseconds = (time.perf_counter() - started) * 1000
        if kind == "answer":
            return Outcome(content, None, milliseconds)
        return self._fail(kind, content, event, milliseconds)

    def stop(self) -> None:
        """End the process, and all that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._reader.join(5)
        self.events.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _wait(self, seconds: float) -> tuple[str, Any]:
        """Wait for the next thing that the process does."""
        try:
            return self._outcomes.get(timeout=seconds)
        except queue.Empty:
            return "timeout", seconds

    def _fail(self, kind: str, content: Any, event: Event, milliseconds: float) -> Outcome:
        """Make the outcome of a failure."""
        if kind == "error":
            told = json.loads(content)
            # An error before the first event does not know which one it met.
            told["requestId"] = told.get("requestId") or event.request_id
            return Outcome(json.dumps(told).encode(), str(told.get("errorType")), milliseconds)
        error, said = "Runtime.ExitError", ""
        if kind == "timeout":
            error, said = "Sandbox.Timedout", f"Task timed out after {content:.2f} seconds"
            self.stop()
        else:
            said = describe_exit(content)
        self._write(f"RequestId: {event.request_id} Error: {said}")
        return Outcome(make_failure(error, event.request_id, said), error, milliseconds)

    def _read(self) -> None:
        """Pass on what the process prints, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._write(line.rstrip("\n"))
        self._outcomes.put(("exit", self._process.wait()))
