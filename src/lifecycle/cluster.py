"""Tasks, here or on the Dask cluster that the environment variable DASK_SCHEDULER_ADDRESS names; same results.

A task is pure and gives its results back; files are written by the caller alone. So a task whose worker died runs
again on another one, as often as the scheduler's ``allowed-failures`` says.

Workers and scheduler run in this project's environment, and workers see this folder under the same path: they are on
this machine, or share a file system. What tasks have in common lies in a file of the folder, and a task carries its
path. A worker that does not see it, or holds other code or libraries, says so instead of giving another result.

Whoever reaches the scheduler can run code on its workers: keep it in a network of your own, or use a tls:// address.
"""

import asyncio
import hashlib
import logging
import os
import pickle
import platform
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.paths import OUT

Item = TypeVar("Item")
Result = TypeVar("Result")

# Dask's own name for it.
ADDRESS = "DASK_SCHEDULER_ADDRESS"
WAIT_SECONDS = 10
# Their versions may show in a result's bytes.
LIBRARIES = ("duckdb", "numpy", "onnxruntime", "pyarrow", "scikit-learn", "scipy")
# Enough that no core waits while results come in, few enough that they fit any memory.
SPARE_TASKS = 2

log = logging.getLogger(__name__)
# The print of the code that this worker's process has loaded.
_loaded: dict[str, str] = {}


def map_tasks(function: Callable[[Sequence[Item]], Iterator[Result]], items: Sequence[Item]) -> Iterator[Result]:
    """Give the results of a function of some items, in the items' order.

    Parameters
    ----------
    function : callable
        Takes items and yields any number of results for each, one item after the other. It is called once with all
        items here, or on a cluster once for each, in any order and on any worker.
    items : sequence
        A task each.

    Yields
    ------
    What ``function`` does.

    Raises
    ------
    MisuseError
        If the cluster's address is none, or Dask is not installed.
    RefusedError
        If the cluster cannot do the tasks; also whatever ``function`` raises.
    """
    if not is_distributed():
        yield from function(items)
        return
    with open_cluster(lambda item: list(function([item]))) as cluster:
        pending: deque[Future[list[Result]]] = deque()
        for item in items:
            pending.append(cluster.submit(item))
            if len(pending) >= cluster.cores + SPARE_TASKS:
                yield from cluster.read(pending.popleft())
        while pending:
            yield from cluster.read(pending.popleft())


def is_distributed() -> bool:
    """Tell whether a cluster is named."""
    return bool(os.environ.get(ADDRESS))


def count_threads() -> int:
    """Count the threads that may work on one task: all cores here, and one on a worker, which has other tasks."""
    return 1 if _loaded else os.cpu_count() or 1


@dataclass(frozen=True)
class Cluster:
    """A scheduler that was reached, and the function that its workers know."""

    executor: Any
    client: Any
    cores: int
    common: tuple[str, str, str]

    def submit(self, *arguments: Any) -> Future[Any]:
        """Begin a task."""
        return self.executor.submit(_run_task, self.common, arguments)  # type: ignore[no-any-return]

    def wait_first(self, pending: Iterable[Future[Result]]) -> set[Future[Result]]:
        """Wait until some tasks have ended, as long as there are workers.

        Raises
        ------
        RefusedError
            If all workers are gone, or as many as are allowed to died at the same task.
        """
        while not (done := wait(pending, WAIT_SECONDS, FIRST_COMPLETED).done):
            self.check_workers()
        for future in done:
            _check_lost(future)
        return done

    def read(self, future: Future[Result]) -> Result:
        """Wait for a task's result; raises what `wait_first` does, and what the task did."""
        self.wait_first([future])
        return future.result()

    def check_workers(self) -> None:
        """Refuse to wait for workers that are all gone."""
        if not self.client.nthreads():
            raise RefusedError(
                f"the workers of {os.environ[ADDRESS]} are all gone; start some, and run the same again."
            )


def _check_lost(future: Future[Any]) -> None:
    """Tell what became of a task that ended without having failed by itself."""
    # pylint: disable-next=import-outside-toplevel
    from distributed.scheduler import KilledWorker

    if future.cancelled():
        raise RefusedError("the scheduler was lost; start it anew, and run the same again.")
    if isinstance(error := future.exception(), KilledWorker):
        raise RefusedError(
            "a task was given up, because each worker that it ran on died, perhaps for want of memory. "
            "Give workers more of it, or start fewer on a machine."
        ) from error


@contextmanager
def open_cluster(function: Callable[..., Any]) -> Iterator[Cluster]:
    """Make a function known to the workers of the cluster that is named; see `map_tasks` for what it raises."""
    address = os.environ[ADDRESS]
    try:
        # Only those who name a cluster need it.
        # pylint: disable=import-outside-toplevel
        import cloudpickle
        from distributed import Client
    except ImportError as error:
        raise MisuseError(
            f"{ADDRESS} is {address!r}, and Dask is not installed; install the project's extra 'cluster', "
            "or run: make install"
        ) from error
    # A failure comes out as an error as well.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    cores = count_cores(address)
    folder = Path.cwd()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder / OUT, prefix="tasks-") as shared:
        path = Path(shared) / "function"
        path.write_bytes(cloudpickle.dumps(function))
        with Client(address, timeout=WAIT_SECONDS, set_as_default=False) as client:
            log.info("cluster address=%s cores=%d", address, cores)
            # The same call is a task of its own each time: what it reads may have changed.
            executor = client.get_executor(pure=False)
            try:
                yield Cluster(executor, client, cores, (str(folder), str(path), print_code(folder)))
            finally:
                # Nobody waits for what is still under way.
                executor.shutdown(wait=False)


def count_cores(address: str) -> int:
    """Ask a scheduler for the number of its workers' threads.

    Raises
    ------
    MisuseError
        If no scheduler answers there.
    RefusedError
        If it has no worker.
    """
    try:
        found = asyncio.run(asyncio.wait_for(_identify(address), WAIT_SECONDS))
        workers = found["workers"]
    # What does not speak Dask's language may answer anything.
    except Exception as error:  # pylint: disable=broad-exception-caught
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(" :.")
        raise MisuseError(
            f"{ADDRESS} is {address!r}, where no Dask scheduler answered within {WAIT_SECONDS} s ({reason}); "
            "expected an address such as tcp://10.0.0.5:8786. Start one with: dask scheduler"
        ) from error
    cores = sum(worker["nthreads"] for worker in workers.values())
    if not cores:
        raise RefusedError(f"the scheduler at {address} has no worker; start some with: dask worker {address}")
    return cores


async def _identify(address: str) -> dict[str, Any]:
    """Ask a scheduler what it is; a client would try on in the background after a failure."""
    # pylint: disable-next=import-outside-toplevel
    from distributed import Security, rpc

    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        return await scheduler.identity()  # type: ignore[no-any-return]


def print_code(folder: Path) -> str:
    """Take the fingerprint of all that decides a task's result: the code of a folder and of this package, libraries.

    Parameters
    ----------
    folder : Path
        The domain lies in its ``src``.

    Returns
    -------
    str
        SHA-256, in hexadecimal.
    """
    found = hashlib.sha256(platform.python_version().encode())
    for library in LIBRARIES:
        found.update(f"{library}=={version(library)}\n".encode())
    for root in (Path(__file__).parent, folder / "src"):
        for path in sorted(root.rglob("*.py")):
            found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def _run_task(common: tuple[str, str, str], arguments: tuple[Any, ...]) -> Any:
    """Run a task in a worker's process."""
    folder, path, code = common
    if not Path(path).is_file():
        raise RefusedError(
            f"a worker on {platform.node()} does not see {folder}; workers must run on this machine, or share its "
            "file system under the same path."
        )
    # Before anything of it is imported, and once: what is imported stays, whatever becomes of the files.
    if not _loaded:
        _loaded["code"] = print_code(Path(folder))
    if _loaded["code"] != code:
        raise RefusedError(
            f"a worker on {platform.node()} runs other code or libraries than {folder} holds; start the workers "
            "anew, in this project's environment."
        )
    return _load_function(folder, path)(*arguments)


@lru_cache(maxsize=2)
def _load_function(folder: str, path: str) -> Callable[..., Any]:
    """Load what tasks have in common, once in a process; each of these files has a name of its own."""
    source = str(Path(folder) / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    return pickle.loads(Path(path).read_bytes())  # type: ignore[no-any-return]
