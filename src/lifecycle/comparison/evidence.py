"""What the gate's decision is made of: both models' predictions, and what the challenger costs."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from lifecycle.comparison.champion import predict_champion
from lifecycle.comparison.paired import Pair
from lifecycle.data.rows import read_rows, read_train
from lifecycle.evaluate import predict_baseline, predict_rows
from lifecycle.metrics import Metric, load_metrics
from lifecycle.params import Params
from lifecycle.paths import ONNX, TEST
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.registry import Champion
from lifecycle.seam import Columns

# Single predictions timed, after as many to warm up.
LATENCY_CALLS = 300


@dataclass(frozen=True)
class Evidence:
    """All that a decision is made of."""

    pair: Pair
    champion_is_baseline: bool
    slices: Columns
    latency_ms: float
    size_mb: float


def measure_latency(predictor: Predictor, X: np.ndarray) -> float:
    """Measure the median time of one prediction at a time.

    Parameters
    ----------
    predictor : Predictor
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    float
        Milliseconds, on this machine.
    """
    times = []
    for call in range(2 * LATENCY_CALLS):
        row = X[call % len(X)][None, :]
        start = time.perf_counter()
        predictor.predict(row)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[LATENCY_CALLS:])


def gather_evidence(champion: Champion | None, params: Params) -> tuple[list[Metric], Evidence]:
    """Let out/model.onnx and the champion predict the test rows.

    Parameters
    ----------
    champion : Champion or None
        None: the challenger is compared with the baseline.
    params : Params

    Returns
    -------
    metrics : list of Metric
    evidence : Evidence
    """
    domain = params.load_domain()
    predictor, test = load_predictor(ONNX), read_rows(TEST)
    made = predict_rows(predictor, test)
    if champion:
        former = predict_champion(champion, test, TEST, params.domain)
    else:
        former = predict_baseline(read_train(params.train), test, predictor.classes)
    evidence = Evidence(
        pair=Pair(made, former),
        champion_is_baseline=champion is None,
        slices=domain.compute_slices(test.columns),
        latency_ms=measure_latency(predictor, test.X),
        size_mb=ONNX.stat().st_size / 1e6,
    )
    return load_metrics(params.evaluate.metrics, domain), evidence
