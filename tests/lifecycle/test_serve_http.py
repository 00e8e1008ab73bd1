"""The server that speaks HTTP: what it offers and refuses, how connections live, how it starts and ends."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import ROW, Running, read_sent, serve_folder, start_server

from lifecycle import serve
from lifecycle.errors import MisuseError, RefusedError


@pytest.fixture(name="server", scope="module")
def fixture_server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve the second task's model."""
    with serve_folder(trained, tmp_path_factory.mktemp("serve") / "log") as running:
        yield running


@pytest.fixture(name="inside")
def fixture_inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the second task's model."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", sys.path[:])


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/", 404, "expected one of /predict, /health, /version, /openapi.json."),
        ("GET", "/predict/../../etc/passwd", 404, "there is no such path"),
        ("GET", "/predict", 405, "the path answers POST alone."),
        ("DELETE", "/predict", 405, "the path answers POST alone."),
        ("POST", "/health", 405, "the path answers GET alone."),
        ("BREW", "/predict", 405, "the path answers POST alone."),
    ],
)
def test_server_refuses_what_it_does_not_offer(
    server: Running, method: str, path: str, status: int, said: str
) -> None:
    found, headers, answer = server.ask(method, path)

    assert (found, headers["content-type"]) == (status, "application/json")
    assert said in answer["error"] and answer["request_id"] == headers["x-request-id"]
    assert (status != 405) or headers["allow"] in said


def test_head_is_answered_without_a_body(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 405 ") and answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: x", 400),
        ("Content-Length: -1", 400),
        (f"Content-Length: {'9' * 30}", 413),
        ("x" * 70_000 + ": 1", 431),
    ],
    ids=lambda value: str(value)[:24],
)
def test_server_answers_broken_http_in_json_and_ends_the_connection(
    server: Running, header: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            answer = file.read()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head.lower() and json.loads(body)["error"]


def test_client_that_waits_for_leave_to_send_gets_it_at_once(server: Running) -> None:
    body = json.dumps(ROW).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        leave = connection.recv(1000)
        connection.sendall(body)
        answer = connection.recv(100)

    assert leave.startswith(b"HTTP/1.1 100 ") and answer.startswith(b"HTTP/1.1 200 ")


def test_connection_stays_open_for_more_requests(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses = []
    for body in (json.dumps(ROW), "{", json.dumps(ROW)):
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        statuses.append((response.status, connection.sock is not None))
        response.read()
    connection.close()

    assert statuses == [(200, True), (400, True), (200, True)]


def test_client_that_goes_away_leaves_no_traceback(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")

    status, _, _ = server.ask("GET", "/health")

    assert status == 200


@pytest.mark.parametrize("port", ["x", "70000", "-1", "８０"])
def test_port_that_is_none_is_misuse(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("PORT", port)

    with pytest.raises(MisuseError, match="expected a number from 0 to 65535"):
        serve.main()


@pytest.mark.usefixtures("inside")
def test_port_that_is_taken_is_refused(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(server.port))

    with pytest.raises(RefusedError, match=f"port {server.port} cannot be used: Address already in use"):
        serve.main()


@pytest.mark.usefixtures("inside")
def test_address_that_the_machine_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kept for documentation: no machine has it.
    monkeypatch.setenv("HOST", "192.0.2.1")

    with pytest.raises(
        RefusedError, match="192.0.2.1, port 8080 cannot be used: .*; name another one in HOST or PORT"
    ):
        serve.main()


def test_server_that_is_told_to_end_first_answers_what_was_asked(trained: Path) -> None:
    with start_server(trained, subprocess.DEVNULL, HOST="0.0.0.0") as (address, process):
        port = int(address.removeprefix("http://0.0.0.0:"))
        idle, asking = (http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(2))
        for connection in (idle, asking):
            connection.request("GET", "/health")
            connection.getresponse().read()
        asking.request("POST", "/predict", json.dumps({"rows": read_sent(trained, 200)}))
        process.terminate()
        answer = json.loads(asking.getresponse().read())
        # A client that asks nothing more does not hold it up.
        code = process.wait(timeout=serve.IDLE_SECONDS / 2)
        for connection in (idle, asking):
            connection.close()

    assert (len(answer["predictions"]), code) == (200, 0)


def test_folder_without_a_model_is_refused_in_one_line(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((trained / "params.yaml").read_bytes())

    done = subprocess.run(
        [sys.executable, "-m", "lifecycle.serve"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(trained / "src"), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("RefusedError: the model cannot be described: ")
    assert len(done.stderr.splitlines()) == 1
