"""Serve AWS on loopback: moto in this process, with functions that run, alarms that go off and access control."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto import awslambda_simple
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.models import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

from rehearsal.cloud.access import Guard
from rehearsal.cloud.alarms import Watch
from rehearsal.cloud.events import Bus, Sent
from rehearsal.cloud.front import make_front
from rehearsal.cloud.functions import Fleet, FunctionBackend
from rehearsal.cloud.monitoring import Delivery, Invocation, Monitor
from rehearsal.cloud.process import Outcome

ACCOUNT = "123456789012"
REGION = "eu-central-1"
TICK_SECONDS = 0.2


@dataclass(frozen=True)
class Cloud:
    """A cloud that is served.

    Attributes
    ----------
    environment : mapping of str to str
        With which boto3, Terraform and DVC find it.
    front : str
        Where functions answer HTTP: ``{front}/{function}/{alias}/{path}``.
    guard : Guard
        Whether the account's own keys may do everything, and what was refused.
    """

    environment: Mapping[str, str]
    front: str
    guard: Guard
    _monitor: Monitor
    _watch: Watch
    _bus: Bus

    @property
    def invocations(self) -> list[Invocation]:
        """List the invocations so far."""
        return list(self._monitor.invocations)

    @property
    def sent(self) -> list[Sent]:
        """List what rules sent to the world outside, because an alarm changed."""
        return list(self._bus.sent)

    def evaluate_alarms(self) -> dict[str, str]:
        """Set the alarms' states from the metrics until now, and give them by name."""
        return self._watch.evaluate()

    def deliver_predictions(self) -> None:
        """Write the predictions since the last delivery to their bucket."""
        self._monitor.deliver()


class _Handler(MotoRequestHandler):
    """Send answers at once."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Keep the terminal quiet."""


class _Server(ThreadedMotoServer):
    """Moto's server, behind a guard."""

    def __init__(self, guard: Guard) -> None:
        super().__init__("127.0.0.1", 0, verbose=False)
        self._guard = guard

    def _server_entry(self) -> None:
        application = self._guard.wrap(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(self._ip_address, self._port, application, True, request_handler=_Handler)
        self._server_ready_event.set()
        self._server.serve_forever(TICK_SECONDS / 2)


@contextmanager
def _replace_functions(backend: type[FunctionBackend]) -> Iterator[Callable[[], FunctionBackend]]:
    """Let moto keep its functions in a backend of ours, and tell where that is."""
    former, chosen = awslambda_simple.models.lambda_simple_backends, default_user_config.get("lambda")
    functions = BackendDict(backend, "lambda")
    awslambda_simple.models.lambda_simple_backends = functions  # type: ignore[assignment]
    default_user_config["lambda"] = {"use_docker": False}
    _reset()
    try:
        # Looked for each time, since clients may reset moto.
        yield lambda: functions[ACCOUNT][REGION]
    finally:
        _reset()
        awslambda_simple.models.lambda_simple_backends = former
        del default_user_config["lambda"]
        if chosen is not None:
            default_user_config["lambda"] = chosen


@contextmanager
def _serve_moto(guard: Guard) -> Iterator[str]:
    """Serve moto behind a guard, and tell its address."""
    server = _Server(guard)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    finally:
        server.stop()


@contextmanager
def _serve_front(find_functions: Callable[[], FunctionBackend], guard: Guard, monitor: Monitor) -> Iterator[str]:
    """Serve the functions' own addresses, and tell where they begin."""

    def call(function: str, qualifier: str, payload: bytes) -> tuple[str, Outcome]:
        return find_functions().call(function, qualifier, payload)

    def refuse(function: str, qualifier: str, headers: Mapping[str, str]) -> str | None:
        return guard.refuse_address(find_functions(), function, qualifier, headers)

    front = make_front(call, refuse, monitor.count_request)
    threading.Thread(target=front.serve_forever, args=(TICK_SECONDS / 2,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{front.server_address[1]}"
    finally:
        front.shutdown()
        front.server_close()


@contextmanager
def _tick(cloud: Cloud) -> Iterator[None]:
    """Do again and again what AWS does by the clock."""
    stopped = threading.Event()

    def tick() -> None:
        while not stopped.wait(TICK_SECONDS):
            cloud.evaluate_alarms()
            cloud.deliver_predictions()

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        stopped.set()
        ticking.join()


# Each is a switch of its own; a record for them would be a second name for each.
@contextmanager
def serve_cloud(  # pylint: disable=too-many-arguments
    folder: Path,
    *,
    minute_seconds: float = 60,
    seed: int | None = None,
    delivery: Delivery | None = None,
    hosts: Mapping[str, str] | None = None,
    root_allowed: bool = True,
    in_background: bool = True,
) -> Iterator[Cloud]:
    """Serve AWS on loopback; what it holds is gone afterwards.

    Parameters
    ----------
    folder : Path
        Where functions are unpacked.
    minute_seconds : float
        How long a minute of an alarm's period takes.
    seed : int or None
        Of the draw between an alias's versions.
    delivery : Delivery or None
        Where predictions go; without it, where a log group's subscription says.
    hosts : mapping of str to str or None
        Where hosts of the world outside are on loopback, for what rules send when an alarm changes.
    root_allowed : bool
        Whether keys that are no role's may do everything, and AWS's own services too; else these keys may do nothing
        but assume a role, and services what the role allows that they were given.
    in_background : bool
        Whether alarms are evaluated and predictions delivered every 0.2 s, besides on demand.

    Yields
    ------
    Cloud
    """
    guard = Guard(ACCOUNT, REGION, root_allowed)
    monitor = Monitor(ACCOUNT, REGION, delivery, guard.refuse_service)
    bus = Bus(ACCOUNT, REGION, hosts or {}, guard.refuse_service)
    watch = Watch(lambda: monitor.cloudwatch, minute_seconds, bus.announce)
    backend = type("Functions", (FunctionBackend,), {})
    with (
        _replace_functions(backend) as find_functions,
        _serve_moto(guard) as endpoint,
        _serve_front(find_functions, guard, monitor) as front,
    ):
        backend.fleet, backend.front = Fleet(folder, monitor, endpoint, seed), front
        cloud = Cloud(make_environment(endpoint), front, guard, monitor, watch, bus)
        try:
            with _tick(cloud) if in_background else nullcontext():
                yield cloud
        finally:
            backend.fleet.stop()


def make_environment(endpoint: str) -> dict[str, str]:
    """Make the environment with which clients find the cloud, with keys that open nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "testing",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _reset() -> None:
    """Forget all that moto holds."""
    BackendDict.reset()
    reset_model_data()
