"""A server in a process of its own, and what clients send it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lifecycle.data.rows import read_rows
from lifecycle.paths import TEST

ROW = {
    "inspected_at": "2025-03-01T08:30:00",
    "site": "mill",
    "age_days": 120,
    "temperature_celsius": 61.5,
    "vibration_mm_per_s": 2.5,
}


@dataclass(frozen=True)
class Running:
    """A server in a process of its own, and where its log goes."""

    process: int
    port: int
    log: Path

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any], Any]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, sent, {key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, dict(response.headers), json.loads(content) if content else None

    def read_log(self, request_id: str) -> list[dict[str, Any]]:
        """Read the lines of a request."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["request_id"] == request_id]


@contextmanager
def start_server(
    folder: Path, log: TextIO | int, **environment: str
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Serve a folder's model on a free port; give the address that the server names."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PORT": "0", **environment}
    command = [sys.executable, "-m", "lifecycle.serve"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            said = process.stderr.readline()
            assert said.startswith("address="), said + process.stderr.read()
            yield said.split()[0].removeprefix("address="), process
        finally:
            process.terminate()


@contextmanager
def serve_folder(folder: Path, log: Path) -> Iterator[Running]:
    """Serve a folder's model on loopback, with a log."""
    with log.open("w", encoding="utf-8") as file, start_server(folder, file, VARIANT="canary") as (address, process):
        assert address.startswith("http://127.0.0.1:")
        yield Running(process.pid, int(address.rpartition(":")[2]), log)


def make_event(body: str, path: str = "/predict", method: str = "POST") -> dict[str, Any]:
    """Make an event of a function URL."""
    context = {"http": {"method": method, "path": path}, "stage": "$default"}
    return {
        "version": "2.0",
        "rawPath": path,
        "requestContext": context,
        "headers": {},
        "body": body,
        "isBase64Encoded": False,
    }


def read_sent(folder: Path, n: int) -> list[dict[str, Any]]:
    """Turn the first prepared test rows into the rows that a client would send."""
    columns = {name: values[:n] for name, values in read_rows(folder / TEST).columns.items() if name in ROW}
    assert set(columns) == set(ROW)
    return [{name: to_json(values[row]) for name, values in columns.items()} for row in range(n)]


def to_json(value: Any) -> Any:
    """Turn a prepared value into JSON's."""
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[us]"))
    return value if isinstance(value, str) else None if np.isnan(value) else float(value)


def list_probabilities(answer: dict[str, Any]) -> list[list[float]]:
    """List the probabilities of an answer, of shape (n_rows, n_classes)."""
    return [list(one["probabilities"].values()) for one in answer["predictions"]]
