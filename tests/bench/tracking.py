"""What it costs a run of the pipeline to be recorded: by an MLflow server on loopback, and by one that is down."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from lifecycle.errors import RefusedError
from lifecycle.params import Params
from lifecycle.tracking.server import start_server, wait_for_server
from tests.bench.line import Line
from tests.bench.reviewing import make_clone

VARIABLES = ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE")


def measure_tracking(folder: Path, params: Params) -> Iterator[Line]:
    """Time a run that trains, and its recording, as a ratio of the run with to the run without."""
    clone = make_clone(folder / "clone")
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment["PYTHONPATH"] = str(clone / "src")
    # A gate that refuses ends with 1, and has done its work.
    plain = measure_module(clone, "reproduce", environment) + measure_module(clone, "gate", environment)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    environment["MLFLOW_TRACKING_URI"] = address
    down = measure_module(clone, "track", environment)
    yield Line("pipeline recorded by a server that is down, against not recorded", 1 + down / plain, ceiling=1.2)
    process = start_server(params.track.server, address, folder / "store")
    try:
        wait_for_server(process, address)
        # What waited goes along, and then the run's own record.
        measure_module(clone, "track", environment, "send")
        sent = measure_module(clone, "track", environment)
    except RefusedError as error:
        yield Line("pipeline recorded by MLflow: not measured", 0, note=str(error))
        return
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    note = f"run {plain:.0f} s, recording {sent:.0f} s"
    yield Line("pipeline recorded by MLflow, against not recorded", 1 + sent / plain, ceiling=1.5, note=note)


def measure_module(folder: Path, module: str, environment: Mapping[str, str], *arguments: str) -> float:
    """Time one of the lifecycle's commands."""
    command = [sys.executable, "-m", f"lifecycle.{module}", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return time.perf_counter() - start
