"""What workers of a cluster add: speed on the cores of this machine, against one of them and against no cluster."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from distributed import LocalCluster

from lifecycle.cluster import ADDRESS
from lifecycle.data.contract import read_contract
from lifecycle.data.months import file_name
from lifecycle.metrics import Predictions, bootstrap_metrics, load_metrics
from lifecycle.params import Params
from lifecycle.prepare import prepare_months
from tests.bench.line import Line
from tests.bench.preparing import ROWS, measure_seconds, write_month

# Three row groups each.
MONTHS = 3
PREDICTIONS = 100_000
RESAMPLES = 100
ROUNDS = 3


def measure_on(workers: int, action: Callable[[], object]) -> float:
    """Time an action on a cluster of some processes, each of one thread; without a cluster if there are none."""
    if not workers:
        return min(measure_seconds(action) for _ in range(ROUNDS))
    with LocalCluster(
        workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        os.environ[ADDRESS] = cluster.scheduler_address
        try:
            # At first, workers import what they need.
            action()
            return min(measure_seconds(action) for _ in range(ROUNDS))
        finally:
            del os.environ[ADDRESS]


def measure_cluster(folder: Path, params: Params) -> Iterator[Line]:
    """Prepare months, and bootstrap metrics, on two workers, on one, and without a cluster."""
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    name = file_name(params.ingest.source)
    months = {f"2020-0{month}": folder / name.format(month=f"2020-0{month}") for month in range(1, MONTHS + 1)}
    for month, path in months.items():
        write_month(path, month, ROWS, params)
    parts = dict.fromkeys(months, "train")
    yield from compare("prepare", f"{MONTHS} months", lambda: list(prepare_months(months, parts, contract, domain)))

    rng = np.random.default_rng(0)
    target = rng.normal(size=PREDICTIONS).astype(np.float32)
    made = Predictions(target, target + rng.normal(size=PREDICTIONS).astype(np.float32))
    metrics = load_metrics(["neg_root_mean_squared_error", "neg_median_absolute_error", "r2"], domain)
    what = f"bootstrap of {PREDICTIONS:,} rows"
    yield from compare("evaluate", what, lambda: bootstrap_metrics(metrics, made, 0.95, RESAMPLES, 0))


def compare(stage: str, what: str, action: Callable[[], object]) -> Iterator[Line]:
    """Compare two workers with one, and with no cluster."""
    alone, one, two = (measure_on(workers, action) for workers in (0, 1, 2))
    note = f"{what}; {alone:.2f} s here, {one:.2f} s on one worker, {two:.2f} s on two"
    yield Line(f"{stage}: two workers of a cluster, in times of one", one / two, note=note)
    yield Line(f"{stage}: two workers of a cluster, in times of no cluster", alone / two, note=note)
