"""What a worker's process does: fit hyperparameters on one fold of the training set, and measure them."""

import multiprocessing
import os
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from sklearn.base import is_classifier
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from lifecycle.data.rows import Rows, Sample, read_rows
from lifecycle.metrics import Metric, Predictions, load_metrics
from lifecycle.params import Params, read_params
from lifecycle.paths import TRAIN
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


@cache
def load_setting() -> Setting:
    """Read the setting from the working folder, once in a process."""
    params = read_params()
    domain = params.load_domain()
    return Setting(
        params,
        domain,
        load_metrics(params.evaluate.metrics, domain)[0],
        read_rows(TRAIN, Sample(params.train.max_rows, params.train.seed)),
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


def measure_fold(values: Values, fold: int) -> tuple[float, float]:
    """Fit on the past and measure on what came next.

    Parameters
    ----------
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
    start, setting = time.perf_counter(), load_setting()
    rows = setting.rows
    past, next_ = list(TimeSeriesSplit(setting.params.train.folds).split(rows.X))[fold]
    known = Rows(rows.features, rows.X[past], rows.y[past], rows.time[past], {})
    fitted = fit_model(setting.build_model(values), known)
    classes = tuple(fitted.classes_.tolist()) if is_classifier(fitted) else None
    made = Predictions(rows.y[next_], predict_fitted(fitted, rows.X[next_]), classes)
    return setting.metric.measure(made), time.perf_counter() - start
