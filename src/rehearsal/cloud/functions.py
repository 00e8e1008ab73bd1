"""Functions that run: each version's zip file in a process of its own, kept warm, chosen by version or by alias."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import request
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.s3.models import s3_backends
from moto.sts.models import sts_backends

from rehearsal.cloud.monitoring import Invocation, Monitor
from rehearsal.cloud.process import Event, Outcome, Process, link_runtime, unpack
from rehearsal.cloud.versions import Function, InvalidParameterValueException, Versions, read_weights

# Where the fleet's folder holds AWS's own runtime.
RUNTIME = "runtime"


class TooManyRequestsError(LambdaClientError):
    """The function may not run now."""

    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")


@dataclass
class _Place:
    """Where one version of a function runs."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    process: Process | None = None
    # What the process was started with.
    content: Any = None


class Fleet:
    """The processes of all functions.

    Parameters
    ----------
    folder : Path
        Where zip files are unpacked.
    monitor : Monitor
        Takes log lines and invocations.
    endpoint : str
        Where functions find AWS.
    seed : int or None
        Of the draw between an alias's versions.
    """

    def __init__(self, folder: Path, monitor: Monitor, endpoint: str, seed: int | None) -> None:
        self._folder = folder
        link_runtime(folder / RUNTIME)
        self._monitor = monitor
        self._endpoint = endpoint
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._stopped = False

    def choose(self, weights: dict[str, float], version: str) -> str:
        """Draw one of an alias's versions."""
        with self._lock:
            drawn = self._draw.random()
        for other, weight in weights.items():
            drawn -= weight
            if drawn < 0:
                return other
        return version

    def run(self, function: LambdaFunction, qualifier: str | None, payload: bytes) -> Outcome:
        """Run a version of a function on an event, after those that came before."""
        key = f"{function.function_name}:{function.version}"
        with self._lock:
            place = self._places.setdefault(key, _Place())
        base = function.function_arn.removesuffix(f":{function.version}")
        arn = f"{base}:{qualifier}" if qualifier else base
        event = Event(str(uuid4()), payload or b"{}", arn, float(function.timeout))
        with place.lock:
            process = self._provide(place, function)
            outcome = process.run(event)
        self._monitor.count(
            Invocation(function.function_name, qualifier, str(function.version), outcome.error, outcome.milliseconds)
        )
        return outcome

    def stop(self) -> None:
        """End all processes, and let their folders be deleted."""
        self._stopped = True
        for place in list(self._places.values()):
            if place.process:
                place.process.stop()
        for path in self._folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)

    def _provide(self, place: _Place, function: LambdaFunction) -> Process:
        """Give the version's process; start it if there is none, it has ended, or the code is another one."""
        content = (function.code_sha_256, function.handler, dict(function.environment_vars), function.role)
        if place.process and (content != place.content or not place.process.alive):
            place.process.stop()
            place.process = None
        if self._stopped:
            raise LambdaClientError("ServiceException", "The cloud on loopback is no longer served.")
        if place.process is None:
            place.content = content
            place.process = self._start(function)
        return place.process

    def _start(self, function: LambdaFunction) -> Process:
        """Start a process."""
        folder = self._folder / function.function_name / function.code_digest
        if not folder.is_dir():
            unpack(function.code_bytes, folder)
        scratch = self._folder / "tmp" / uuid4().hex
        scratch.mkdir(parents=True)
        stream = self._monitor.open_stream(function.function_name, str(function.version), function.role)
        credentials = sts_backends[function.account_id][function.partition].assume_role(
            function.region, function.function_name, function.role, "", 3600, ""
        )
        environment = {
            **function.environment_vars,
            "_HANDLER": function.handler or "",
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.logs_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_REGION": function.region,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
            "TMPDIR": str(scratch),
        }

        def write(line: str) -> None:
            self._monitor.write(function.function_name, stream, line, function.role)

        return Process(folder, self._folder / RUNTIME, function.handler or "", environment, write)


class FunctionBackend(LambdaSimpleBackend):
    """Moto's functions, with versions and aliases that are checked, and invocations that run."""

    fleet: Fleet
    # Where the functions' own addresses are answered.
    front: str

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lambdas: Versions = Versions(region_name, account_id)

    def create_function(self, spec: dict[str, Any]) -> LambdaFunction:
        """Create a function, and a version if one is asked for."""
        self._check_source(spec["Code"])
        function = Function(self.account_id, spec, self.region_name, "$LATEST")
        self._lambdas.put_function(function)
        return self._lambdas.publish(function.function_name) if spec.get("Publish") else function

    def update_function_code(self, function_name: str, qualifier: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Change a function's code, and publish a version if one is asked for."""
        function = self.get_function(function_name, qualifier)
        self._check_source(body)
        described = function.update_function_code({**body, "Publish": False})
        if body.get("Publish"):
            described = self._lambdas.publish(function_name).get_configuration()
        return described

    def create_function_url_config(self, name_or_arn: str, config: dict[str, Any]) -> Any:
        """Give a function an address, which is one of the front's."""
        created = super().create_function_url_config(name_or_arn, config)
        qualifier = request.args.get("Qualifier") or "$LATEST"
        created.url = f"{self.front}/{created.function.function_name}/{qualifier}/"
        return created

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> bytes:
        """Answer Invoke; moto looks for the qualifier under another name than clients send."""
        qualifier = request.args.get("Qualifier") or qualifier
        payload = body.encode() if isinstance(body, str) else body or b""
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            self.get_function(function_name, qualifier)
            return b""
        if kind == "Event":
            self.get_function(function_name, qualifier)
            threading.Thread(target=self.call, args=(function_name, qualifier, payload), daemon=True).start()
            return b""
        version, outcome = self.call(function_name, qualifier, payload)
        response_headers["X-Amz-Executed-Version"] = version
        if outcome.error:
            response_headers["X-Amz-Function-Error"] = "Unhandled"
        return outcome.payload

    def call(self, function_name: str, qualifier: str | None, payload: bytes) -> tuple[str, Outcome]:
        """Run a function on an event.

        Parameters
        ----------
        function_name : str
            Name or ARN, which may hold the qualifier.
        qualifier : str or None
            Version, alias, $LATEST or None.
        payload : bytes

        Returns
        -------
        str
            The version that ran.
        Outcome
        """
        name = function_name.partition(":function:")[2] or function_name
        name, _, named = name.partition(":")
        qualifier = named or qualifier
        function = self.get_function(name, qualifier)
        aliases = {alias.name: alias for alias in self.list_aliases(name)}
        if qualifier in aliases:
            alias = aliases[qualifier]
            version = self.fleet.choose(read_weights(alias.routing_config), alias.function_version)
            function = self.get_function(name, version)
        if self.get_function(name).reserved_concurrency == 0:
            raise TooManyRequestsError
        return str(function.version), self.fleet.run(function, qualifier, payload)

    def _check_source(self, code: dict[str, Any]) -> None:
        """Refuse code that is said to be in a bucket and is not there."""
        if "S3Bucket" not in code:
            return
        buckets = s3_backends[self.account_id][self.partition].buckets
        missing = "NoSuchBucket. S3 Error Message: The specified bucket does not exist"
        if code["S3Bucket"] in buckets:
            missing = "NoSuchKey. S3 Error Message: The specified key does not exist."
            if code["S3Key"] in buckets[code["S3Bucket"]].keys:
                return
        raise InvalidParameterValueException(f"Error occurred while GetObject. S3 Error Code: {missing}")
