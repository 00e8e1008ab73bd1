"""Tasks on a cluster: the same results as here, whoever computed them, and whoever died meanwhile."""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import PACKAGE, run_python
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from logs import make_week, watch, write_log
from waiting import wait_for

from lifecycle import cluster, evaluate, prepare
from lifecycle.cluster import ADDRESS, Cluster, map_tasks, open_cluster
from lifecycle.errors import ContractError, MisuseError, RefusedError
from lifecycle.paths import CARD, METRICS, OUT, PLOTS, PROFILE, ROWS, TEST, TRAIN, TUNE, TUNE_JOURNAL

# Written into the domain of a copy: while there is a folder hold, a task says who does it, and waits to be let go.
HOLD = """
import os
import time
from pathlib import Path

HOLD = Path({folder!r})


def hold():
    if HOLD.exists():
        (HOLD / str(os.getpid())).touch()
        while not (HOLD / "go").exists():
            time.sleep(0.02)


"""
LOOPBACK = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
PREPARED = (ROWS, TEST, TRAIN)
EVALUATED = (METRICS, PROFILE, CARD, PLOTS)


def repeat_items(items: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give as many results for an item as the item says, and how many items were given."""
    for item in items:
        yield from [(item, len(items))] * item


def refuse_items(_: Sequence[int]) -> Iterator[int]:
    """Refuse all items."""
    raise ContractError("broken")
    yield  # pylint: disable=unreachable  # makes it a generator


def take_hashes(folder: Path, names: Sequence[Path]) -> dict[str, str]:
    """Take the hashes of all files under some names."""
    found = [path for name in names for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}


def remove(folder: Path, names: Sequence[Path]) -> None:
    """Remove what a stage wrote, as DVC does before it runs."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True)


@pytest.fixture(name="work")
def fixture_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="small", scope="module")
def fixture_small() -> Iterator[str]:
    """The address of a cluster of one worker, a thread of this process."""
    with LocalCluster(1, processes=False, **LOOPBACK) as small:
        yield small.scheduler_address


@pytest.fixture(name="copy", scope="module")
def fixture_copy(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained copy whose features and metrics can be held."""
    folder = tmp_path_factory.mktemp("cluster") / "copy"
    shutil.copytree(trained, folder, symlinks=True)
    domain = folder / "src" / PACKAGE
    (domain / "hold.py").write_text(HOLD.format(folder=str(folder / "hold")), encoding="utf-8")
    for name, function in (("features", "def compute_features("), ("metrics", "def ")):
        path = domain / f"{name}.py"
        before, found, after = path.read_text(encoding="utf-8").partition(function)
        head, colon, body = after.partition(":\n")
        held = f"from {PACKAGE}.hold import hold\n\n\n{before}{found}{head}{colon}    hold()\n{body}"
        path.write_text(held, encoding="utf-8")
    return folder


@pytest.fixture(name="workers", scope="module")
def fixture_workers() -> Iterator[LocalCluster]:
    """A cluster of two worker processes, each of which is started anew when it dies."""
    with LocalCluster(2, threads_per_worker=1, **LOOPBACK) as workers:
        yield workers


@pytest.fixture(name="started")
def fixture_started(copy: Path, workers: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the copy, with the cluster."""
    monkeypatch.chdir(copy)
    monkeypatch.setenv(ADDRESS, workers.scheduler_address)
    return copy


def kill_worker_during(main: Callable[[], None], folder: Path, address: str) -> int:
    """Run a stage, kill the first worker that says that it does a task of it, and let the others go on."""
    with Client(address, set_as_default=False) as client:
        workers = {str(pid) for pid in client.run(os.getpid).values()}
    (folder / "hold").mkdir()
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(main)
            until = time.monotonic() + 120
            while not (begun := workers & {path.name for path in (folder / "hold").iterdir()}):
                assert not running.done() and time.monotonic() < until, running
                time.sleep(0.02)
            killed = int(begun.pop())
            os.kill(killed, signal.SIGKILL)
            (folder / "hold/go").touch()
            running.result(180)
    finally:
        (folder / "hold/go").touch()
        shutil.rmtree(folder / "hold")
    return killed


def test_function_gets_all_items_at_once_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)

    assert list(map_tasks(repeat_items, [2, 0, 1])) == [(2, 3), (2, 3), (1, 3)]


def test_one_machine_needs_no_dask() -> None:
    code = "import sys, lifecycle.prepare; print({'dask', 'distributed'} & {*sys.modules})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_function_gets_each_item_alone_on_a_cluster_and_the_order_stays(
    work: Path, small: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ADDRESS, small)
    items = [2, 0, *[1] * 200, 3]

    with caplog.at_level(logging.INFO):
        found = list(map_tasks(repeat_items, items))

    assert found == [(item, 1) for item in items for _ in range(item)]
    assert f"cluster address={small} cores=" in caplog.text
    assert not list((work / OUT).iterdir())


@pytest.mark.usefixtures("work")
def test_refusal_of_a_task_is_the_callers(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, small)

    with pytest.raises(ContractError, match="^broken$"):
        list(map_tasks(refuse_items, [1]))


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:80", "tcp://127.0.0.1:x"])
def test_address_that_is_none_is_misuse(address: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, address)

    with pytest.raises(MisuseError, match=f"^{ADDRESS} is '{address}', where no Dask scheduler answered .* expected"):
        list(map_tasks(repeat_items, [1]))
    assert not (work / OUT).exists()


@pytest.mark.usefixtures("work")
def test_scheduler_that_does_not_answer_is_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.2)

    with pytest.raises(MisuseError, match=r"no Dask scheduler answered within 0\.2 s"):
        list(map_tasks(repeat_items, [1]))


@pytest.mark.usefixtures("work")
def test_missing_dask_is_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:8786")
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(
        MisuseError, match="Dask is not installed; install the project's extra 'cluster', or run: make"
    ):
        list(map_tasks(repeat_items, [1]))


@pytest.mark.usefixtures("work")
def test_scheduler_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalCluster(1, processes=False, **LOOPBACK) as emptied:
        monkeypatch.setenv(ADDRESS, emptied.scheduler_address)
        emptied.scale(0)
        while emptied.scheduler.workers:
            time.sleep(0.02)

        with pytest.raises(RefusedError, match="has no worker; start some with: dask worker tcp://"):
            list(map_tasks(repeat_items, [1]))


def test_slow_task_is_waited_for_while_there_are_workers(
    work: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, small)

    def wait_for_file(item: int) -> int:
        wait_for((work / "go").exists)
        return item

    with open_cluster(wait_for_file) as opened:
        monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.1)
        slow = opened.submit(7)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(opened.read, slow)
            with pytest.raises(TimeoutError):
                # It looks at the workers meanwhile, and waits on.
                reading.result(0.5)
            (work / "go").touch()

            assert reading.result(10) == 7


@pytest.mark.usefixtures("work")
def test_workers_that_are_all_gone_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalCluster(1, processes=False, **LOOPBACK) as emptied:
        monkeypatch.setenv(ADDRESS, emptied.scheduler_address)
        with open_cluster(abs) as opened:
            monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.1)
            emptied.scale(0)
            wait_for(lambda: not emptied.scheduler.workers)
            left = opened.submit(-1)

            with pytest.raises(RefusedError, match="are all gone; start some, and run the same again"):
                opened.read(left)


@pytest.mark.usefixtures("work")
def test_scheduler_that_is_lost_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalCluster(1, processes=False, **LOOPBACK) as lost:
        monkeypatch.setenv(ADDRESS, lost.scheduler_address)
        with open_cluster(abs) as opened:
            lost.scale(0)
            wait_for(lambda: not lost.scheduler.workers)
            left = opened.submit(-1)
            lost.close()

            with pytest.raises(RefusedError, match="^the scheduler was lost; start it anew"):
                opened.read(left)


def test_task_that_no_worker_survives_is_given_up() -> None:
    opened, given_up = Cluster(None, None, 1, ("", "", "")), Future[int]()
    given_up.set_exception(KilledWorker("task", None, 3))

    with pytest.raises(RefusedError, match="each worker that it ran on died, perhaps for want of memory"):
        opened.read(given_up)


def test_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"does not see {tmp_path}; workers must run on this machine, or share"):
        cluster._run_task((str(tmp_path), str(tmp_path / "function"), ""), ())  # pylint: disable=protected-access


def test_worker_with_other_code_says_so(small: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, small)
    assert list(map_tasks(repeat_items, [1])) == [(1, 1)]
    (work / "src").mkdir()
    (work / "src/new.py").touch()

    with pytest.raises(RefusedError, match=f"runs other code or libraries than {work} holds; start the workers anew"):
        list(map_tasks(repeat_items, [1]))


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "a file cut off"])
def test_monitor_says_the_same_on_a_cluster(
    damaged: bool, tmp_path: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, labels = make_week(400, drift=20)
    for name, part in (("a.gz", slice(0, 200)), ("b.jsonl", slice(150, 400))):
        write_log(tmp_path / "predictions", lines[part], name=name)
        write_log(tmp_path / "labels", labels[part], name=name)
    if damaged:
        path = tmp_path / "predictions/day=2026-11-02/c.gz"
        path.write_bytes((path.parent / "a.gz").read_bytes()[:-60])

    here = watch(tmp_path / "predictions", tmp_path / "labels")
    monkeypatch.setenv(ADDRESS, small)
    there = watch(tmp_path / "predictions", tmp_path / "labels")

    assert here["drift"] and here["versions"][0]["predictions"] == 400
    assert here["left_out"].get("file cannot be read", 0) == damaged
    assert there == here


@pytest.mark.drill
def test_prepare_writes_the_same_bytes_on_a_cluster(started: Path, trained: Path) -> None:
    remove(started, PREPARED)

    told = run_python(started, "lifecycle.prepare").stderr

    assert "cores=2" in told
    assert take_hashes(started, PREPARED) == take_hashes(trained, PREPARED)


@pytest.mark.drill
def test_prepare_writes_the_same_bytes_when_a_worker_is_killed(
    started: Path, trained: Path, workers: LocalCluster
) -> None:
    remove(started, PREPARED)

    kill_worker_during(prepare.main, started, workers.scheduler_address)

    assert take_hashes(started, PREPARED) == take_hashes(trained, PREPARED)


@pytest.mark.drill
@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "a worker killed"])
def test_evaluate_writes_the_same_bytes_on_a_cluster(
    killed: bool, started: Path, trained: Path, workers: LocalCluster
) -> None:
    expected = take_hashes(trained, EVALUATED)
    remove(started, EVALUATED)

    if killed:
        kill_worker_during(evaluate.main, started, workers.scheduler_address)
    else:
        evaluate.main()

    assert len(expected) == 11
    assert take_hashes(started, EVALUATED) == expected


@pytest.mark.drill
def test_month_that_a_worker_cannot_read_is_told_in_one_line(started: Path) -> None:
    path = max((started / "data").glob("*.parquet"))
    whole = path.read_bytes()
    path.unlink()
    # The pages' headers, and not the footer.
    path.write_bytes(whole[:4] + b"\xff" * (len(whole) // 2) + whole[4 + len(whole) // 2 :])
    try:
        done = run_python(started, "lifecycle.prepare", check=False)
    finally:
        path.write_bytes(whole)

    assert done.returncode == 1
    assert f"ContractError: {path.name} breaks off: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.drill
def test_trial_that_is_fitted_on_a_cluster_has_the_figures_that_it_has_here(started: Path) -> None:
    found = {}
    for where in ("cluster", "here"):
        with pytest.MonkeyPatch.context() as patch:
            if where == "here":
                patch.delenv(ADDRESS)
            (started / TUNE_JOURNAL).unlink(missing_ok=True)
            run_python(started, "lifecycle.tune", "--trials", "1")
        found[where] = json.loads((started / TUNE).read_text(encoding="utf-8"))

    assert found["cluster"]["trials"][0]["folds"] == found["here"]["trials"][0]["folds"]
    assert found["cluster"]["test"] == found["here"]["test"]
