"""Answer requests: ``handle`` on AWS Lambda, and the same handler behind an HTTP server."""

import base64
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter
from typing import Any

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.serving.challenge import choose_model, predict_beside
from lifecycle.serving.journal import write_fault, write_metrics, write_predictions
from lifecycle.serving.openapi import describe_service
from lifecycle.serving.request import MAX_BODY_BYTES, RequestError, choose_id, read_event, read_rows, refuse_large
from lifecycle.serving.service import SHADOW, Service, load_service

HOST, PORT = "127.0.0.1", 8080
# A client that says nothing for this long is let go.
IDLE_SECONDS = 30
# How much of a body that is too large is read before the connection ends, and how much at a time.
MAX_DISCARDED_BYTES, CHUNK_BYTES = 8 * MAX_BODY_BYTES, 65_536
# More of a number is not read.
DIGITS = 18
PREDICT = "/predict"

# One model a process: loaded once, by the first who asks.
get_service = cache(load_service)


def _get_health(service: Service) -> dict[str, Any]:
    """Say that the model is loaded."""
    return {"status": "ok", "model_version": service.manifest["version"]}


def _get_version(service: Service) -> dict[str, Any]:
    """Give the manifest."""
    return service.manifest


# Path of a page that is only read -> what makes it.
PAGES: dict[str, Callable[[Service], dict[str, Any]]] = {
    "/health": _get_health,
    "/version": _get_version,
    "/openapi.json": describe_service,
}


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Answer one request.

    Parameters
    ----------
    event : mapping
        Of a Lambda function URL or an HTTP API, payload 2.0.
    context : object or None
        Lambda's.

    Returns
    -------
    dict
        ``statusCode``, ``headers`` and ``body`` (JSON), as Lambda wants them.
    """
    request_id = choose_id(event, context)
    try:
        return _respond(200, _answer(event, request_id), request_id)
    except RequestError as error:
        return _refuse(error, request_id)
    # Whatever it is, the caller gets an answer, and the log the reason.
    except Exception as error:  # pylint: disable=broad-exception-caught
        write_fault({"request_id": request_id}, error)
        return _refuse(RequestError(500, "an unexpected fault; the log has it under the request id."), request_id)


def _answer(event: Any, request_id: str) -> dict[str, Any]:
    """Find who answers, and let them."""
    started = perf_counter()
    request = read_event(event)
    if request.path not in (PREDICT, *PAGES):
        raise RequestError(404, f"there is no such path; expected one of {', '.join((PREDICT, *PAGES))}.")
    allowed = "POST" if request.path == PREDICT else "GET"
    if request.method != allowed:
        raise RequestError(405, f"the path answers {allowed} alone.", headers={"allow": allowed})
    service = get_service()
    if request.path in PAGES:
        return PAGES[request.path](service)
    return _predict(choose_model(service, event, request_id), request.body, request_id, started)


def _predict(service: Service, body: bytes, request_id: str, started: float) -> dict[str, Any]:
    """Predict the rows of a body, and write down what came of it."""
    about = service.describe(request_id)
    status, predictions = 500, []
    try:
        rows, many = read_rows(body)
        features, predictions = service.predict(rows, many)
        write_predictions(about, features, predictions, _measure_ms(started))
        status = 200
    except RequestError as error:
        status = error.status
        raise
    finally:
        count = len(predictions) if status == 200 else 0
        write_metrics(about, service.namespace, status, count, _measure_ms(started))
    if service.challenger and service.challenger.variant == SHADOW:
        predict_beside(service.challenger, rows, many, request_id)
    return {"predictions": predictions, **{key: about[key] for key in ("model_version", "model_hash", "request_id")}}


def _measure_ms(started: float) -> float:
    """Measure the milliseconds since a moment of ``perf_counter``."""
    return (perf_counter() - started) * 1000


def _respond(
    status: int, content: dict[str, Any], request_id: str, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Make a response."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "x-request-id": request_id, **(headers or {})},
        "body": json.dumps(content),
        "isBase64Encoded": False,
    }


def _refuse(error: RequestError, request_id: str) -> dict[str, Any]:
    """Make the response to a request that cannot be answered."""
    content = {"error": str(error), **error.details, "request_id": request_id}
    return _respond(error.status, content, request_id, error.headers)


class _Server(ThreadingHTTPServer):
    """An HTTP server that lets a burst of clients wait, and answers what it took before it ends."""

    request_queue_size = 128
    # Closing waits for them.
    daemon_threads = False

    def __init__(self, host: str, port: int) -> None:
        self._connections: set[Any] = set()
        super().__init__((host, port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a connection that begins."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Read no further request, and wait for the answers to those that were read."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line that a connection broke; what the handler meets, it answers itself."""
        logging.warning("connection=lost reason=%s", type(sys.exc_info()[1]).__name__)


class _Connection(BaseHTTPRequestHandler):
    """A connection: turns HTTP into the handler's events, and back."""

    protocol_version = "HTTP/1.1"
    # A small answer must not wait for more to send, and goes out in one piece.
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Leave every method to the handler, which knows which ones there are."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        """Answer one request."""
        try:
            body = self._read_body()
        except RequestError as error:
            return self._hang_up(error, choose_id({"headers": dict(self.headers)}, None))
        event = {
            "version": "2.0",
            "rawPath": self.path.partition("?")[0],
            "requestContext": {"http": {"method": self.command}},
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        return self._send(handle(event, None))

    def _read_body(self) -> bytes:
        """Read the body, or say why not."""
        if "transfer-encoding" in self.headers:
            raise RequestError(411, "the body's length is not given; expected the header content-length.")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise RequestError(400, "the header content-length is no number of bytes.")
        # Compared as digits too: Python reads no number of thousands of them.
        if len(length.lstrip("0")) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES:
            self._discard(int(length.lstrip("0")[:DIGITS]))
            raise refuse_large(int(length.lstrip("0")[:DIGITS]))
        return self.rfile.read(int(length))

    def _discard(self, size_bytes: int) -> None:
        """Read what nobody wants: a client that still sends would take the answer for a broken connection."""
        left = min(size_bytes, MAX_DISCARDED_BYTES)
        while left > 0 and (chunk := self.rfile.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)

    def _send(self, response: dict[str, Any]) -> None:
        """Send a response."""
        content = response["body"].encode()
        self.send_response(response["statusCode"])
        for name, value in response["headers"].items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP in JSON as well."""
        self._hang_up(RequestError(code, f"{HTTPStatus(code).phrase}."), choose_id(None, None))

    def _hang_up(self, error: RequestError, request_id: str) -> None:
        """Refuse a request after which nothing can be understood, and end the connection."""
        self.close_connection = True
        error.headers["connection"] = "close"
        self._send(_refuse(error, request_id))

    def handle_expect_100(self) -> bool:
        """Tell a client that waits for it to send its body, at once."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def version_string(self) -> str:
        """Name the server, and not the Python behind it."""
        return "lifecycle"

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Keep what a client sent out of the log."""


def open_server(host: str, port: int) -> ThreadingHTTPServer:
    """Open the server, with the model loaded.

    Parameters
    ----------
    host : str
        Address that it listens on; 0.0.0.0 are all that the machine has.
    port : int
        0 takes any that is free.

    Returns
    -------
    ThreadingHTTPServer

    Raises
    ------
    RefusedError
        If there is no model, the port is taken, or the machine has no such address.
    """
    get_service()
    try:
        return _Server(host, port)
    except OSError as error:
        said = f"{host}, port {port} cannot be used: {error.strerror}; name another one in HOST or PORT."
        raise RefusedError(said) from error


def main(_argv: Sequence[str] | None = None) -> None:
    """Serve on the address that HOST names, which is loopback unless it says otherwise, and on the port in PORT."""
    # The first process of a container would not hear it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host = os.environ.get("HOST") or HOST
    named = os.environ.get("PORT") or str(PORT)
    if not (named.isascii() and named.isdecimal() and int(named) < 65536):
        raise MisuseError(f"PORT is {named!r}; expected a number from 0 to 65535.")
    with open_server(host, int(named)) as server:
        logging.info("address=http://%s:%s version=%s", host, server.server_port, get_service().manifest["version"])
        server.serve_forever()


# Lambda gives more of a processor before the first request than in it.
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    get_service()

if __name__ == "__main__":
    run(main)
