"""Ten thousand requests that nobody thought of: each is answered or refused, and nothing leaks.

They are drawn without chance, so that every run sends the same ones.
"""

import base64
import gc
import json
import math
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
import readings
from fuzz_checks import LEAKS
from fuzzing import CANARY, CONTEXTS, draw_events
from hypothesis import HealthCheck, given, settings
from servers import ROW, serve_folder
from small_models import make_regression
from waiting import wait_for

from lifecycle import serve
from lifecycle.data.contract import read_contract
from lifecycle.serving.request import MAX_ROWS, SAFE_ID
from lifecycle.serving.service import Service

pytestmark = pytest.mark.acceptance

# Together 10,000: half of the events for each of two tasks, three of them a drawn body; the requests over HTTP.
EVENTS, REQUESTS = 9000, 1000
EXAMPLES = 900
# Every so many events are kept, and sent again while the memory is watched.
KEPT = 10
GROWTH_BYTES, SERVER_GROWTH_BYTES = 100_000, 64_000_000
STATUSES = {200, 400, 404, 405}
LINES = {
    "prediction": {"row", "time", "features", "prediction", "latency_ms"},
    "request": {"_aws", "status", "Latency", "Predictions", "Errors"},
}
COMMON = {"kind", "request_id", "model_version", "model_hash", "variant"}


@pytest.fixture(name="service", params=["own", "smallest"])
def fixture_service(request: pytest.FixtureRequest, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service of the second task, or one of a task with a nullable text, which answers in its place."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", sys.path[:])
    own = serve.get_service()
    if request.param == "own":
        return own
    contract = read_contract(readings.CONTRACT)
    smallest = Service(own.manifest, make_regression(), contract, readings.compute_features, "champion")
    monkeypatch.setattr(serve, "get_service", lambda: smallest)
    return smallest


def check_answer(answer: dict[str, Any], event: Any) -> None:
    """Check that an answer is one of the service's, and tells nothing of the machine but what was sent itself."""
    body = json.loads(answer["body"], parse_constant=pytest.fail)
    assert answer["statusCode"] in STATUSES
    assert (answer["statusCode"] == 200) == ("error" not in body)
    assert SAFE_ID.fullmatch(answer["headers"]["x-request-id"])
    leak = LEAKS.search(answer["body"])
    assert leak is None or leak[0] in read_sent_text(event)


def read_sent_text(event: Any) -> str:
    """Read all text of an event, that of an encoded body decoded."""
    body = event.get("body") if isinstance(event, dict) and event.get("isBase64Encoded") else None
    try:
        decoded = base64.b64decode(body or "").decode(errors="replace")
    except (TypeError, ValueError):
        decoded = ""
    return f"{event!r}{decoded}"


def check_log(log: str) -> None:
    """Check that the log holds what the journal writes, nothing else, and no text that was sent."""
    assert CANARY not in log
    for line in map(json.loads, log.splitlines()):
        assert set(line) == COMMON | LINES[line["kind"]]
        assert all(
            value is None or isinstance(value, float) and math.isfinite(value)
            for value in line.get("features", {}).values()
        )


def test_event_of_any_kind_is_answered_and_leaves_nothing_behind(service: Service) -> None:
    kept: list[tuple[Any, Any]] = []
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=EVENTS // 6,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(draw_events(service.contract), CONTEXTS)
    def send(events: list[Any], context: Any) -> None:
        for event in events:
            with redirect_stdout(StringIO()) as log:
                answer = serve.handle(event, context)
            check_answer(answer, event)
            check_log(log.getvalue())
            statuses[answer["statusCode"]] += 1
            if statuses.total() % KEPT == 0:
                kept.append((event, context))

    # Hypothesis gives them.
    send()  # pylint: disable=no-value-for-parameter

    assert statuses.total() >= EVENTS // 2
    assert set(statuses) == STATUSES and min(statuses.values()) > EVENTS / 100
    grown, held, before = measure_growth(kept)
    assert grown < GROWTH_BYTES and held == before


def measure_growth(kept: list[tuple[Any, Any]]) -> tuple[int, Any, Any]:
    """Send events again; return the bytes by which the memory grew, and what is open after and before."""
    tracemalloc.start()
    figures = []
    # The first time fills caches.
    for _ in range(3):
        with redirect_stdout(StringIO()):
            for event, context in kept:
                serve.handle(event, context)
        gc.collect()
        figures.append((tracemalloc.get_traced_memory()[0], count_held(os.getpid())))
    tracemalloc.stop()
    return figures[2][0] - figures[1][0], figures[2][1], figures[1][1]


def count_held(process: int) -> tuple[int, int]:
    """Count the open files and the threads of a process."""
    observed = psutil.Process(process)
    return observed.num_fds(), observed.num_threads()


def test_server_is_what_its_openapi_document_says(trained: Path, tmp_path: Path) -> None:
    with serve_folder(trained, tmp_path / "log") as server:
        # As large a request as there is, so that what it takes is not counted as growth.
        assert server.ask("POST", "/predict", {"rows": [ROW] * MAX_ROWS})[0] == 200
        observed = psutil.Process(server.process)
        before, held = observed.memory_info().rss, count_held(server.process)

        said = run_schemathesis(f"http://127.0.0.1:{server.port}/openapi.json", tmp_path)

        # What ended a moment ago may still have been counted before.
        wait_for(lambda: all(now <= then for now, then in zip(count_held(server.process), held, strict=True)))
        assert observed.memory_info().rss - before < SERVER_GROWTH_BYTES
    log = (tmp_path / "log").read_text(encoding="utf-8")
    check_log(log)
    assert "3 selected / 3 total" in said
    assert log.count('"kind": "request"') > REQUESTS


def run_schemathesis(address: str, folder: Path) -> str:
    """Send what an OpenAPI document allows, and what it does not; return what schemathesis says."""
    command = [Path(sys.executable).with_name("schemathesis"), "run", address, "--no-color", "--continue-on-failure"]
    options = ["--phases", "examples,coverage,fuzzing", "--checks", "all"]
    options += ["--generation-deterministic", "--max-examples", str(EXAMPLES)]
    options += ["--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "fuzz_checks"}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
