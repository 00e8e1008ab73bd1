"""What workers do, on this machine or a cluster: fit hyperparameters on a fold of the training set, and measure."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

from sklearn.base import is_classifier
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from lifecycle.cluster import is_distributed, open_cluster
from lifecycle.data.rows import Rows, read_train
from lifecycle.metrics import Metric, Predictions, load_metrics
from lifecycle.params import Params, read_params
from lifecycle.seam import Domain
from lifecycle.train import fit_model, predict_fitted
from lifecycle.tuning.space import Values


@dataclass(frozen=True)
class Setting:
    """What every trial has in common."""

    params: Params
    domain: Domain
    metric: Metric
    rows: Rows

    def build_model(self, values: Values) -> Any:
        """Build the model that hyperparameters describe."""
        hyperparameters = self.domain.Hyperparameters(**values)
        return self.domain.build_model(self.rows.features, hyperparameters, self.params.train.seed)


@dataclass(frozen=True)
class Pool:
    """What fits folds: how many at the same time, how one begins, and what waits for the first of some to end."""

    size: int
    submit: Callable[[Values, int], Future[tuple[float, float]]]
    wait: Callable[[Iterable[Future[tuple[float, float]]]], set[Future[tuple[float, float]]]]


@contextmanager
def open_pool(setting: Setting) -> Iterator[Pool]:
    """Open processes on this machine, or the cluster that is named, to fit folds."""
    workers = setting.params.tune.workers
    if is_distributed():
        with open_cluster(partial(measure_fold, setting)) as cluster:
            yield Pool(workers or cluster.cores, cluster.submit, cluster.wait_first)
        return
    size = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(size, mp_context=get_context("spawn"), initializer=start_worker) as pool:
        yield Pool(size, partial(pool.submit, measure_here), wait_first)


def wait_first(pending: Iterable[Future[tuple[float, float]]]) -> set[Future[tuple[float, float]]]:
    """Wait until some have ended."""
    return wait(pending, return_when=FIRST_COMPLETED).done


@cache
def load_setting() -> Setting:
    """Read the setting from the working folder, once in a process."""
    params = read_params()
    domain = params.load_domain()
    return Setting(
        params,
        domain,
        load_metrics(params.evaluate.metrics, domain)[0],
        read_train(params.train),
    )


def start_worker() -> None:
    """Prepare a worker: one core, and an end with its parent, also where that is killed."""
    # Trials share the cores; the threads of one fit would only be in the way of the next.
    threadpool_limits(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when its parent has ended."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def measure_here(values: Values, fold: int) -> tuple[float, float]:
    """Do what `measure_fold` does in a process of this folder's own, which reads the setting itself."""
    return measure_fold(load_setting(), values, fold)


def measure_fold(setting: Setting, values: Values, fold: int) -> tuple[float, float]:
    """Fit on the past and measure on what came next.

    Parameters
    ----------
    setting : Setting
    values : dict of str to value
        Of every hyperparameter.
    fold : int
        From 0; the first ones have the fewest rows.

    Returns
    -------
    error : float
        The first metric.
    seconds : float
    """
    start = time.perf_counter()
    rows = setting.rows
    past, next_ = list(TimeSeriesSplit(setting.params.train.folds).split(rows.X))[fold]
    known = Rows(rows.features, rows.X[past], rows.y[past], rows.time[past], {})
    fitted = fit_model(setting.build_model(values), known)
    classes = tuple(fitted.classes_.tolist()) if is_classifier(fitted) else None
    made = Predictions(rows.y[next_], predict_fitted(fitted, rows.X[next_]), classes)
    return setting.metric.measure(made), time.perf_counter() - start
