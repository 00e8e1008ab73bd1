"""The decision itself, on made-up predictions."""

import numpy as np
import pytest

from lifecycle.comparison.decision import decide_promotion
from lifecycle.comparison.evidence import Evidence
from lifecycle.comparison.paired import Pair, compare, compare_slices
from lifecycle.comparison.verdict import Verdict
from lifecycle.metrics import Metric, Predictions, load_metrics
from lifecycle.params import EvaluateParams, GateParams, read_params

N = 2000
GATE = GateParams(tolerance=0.01, slice_tolerance=0.05, limits={}, max_latency_ms=1.0, max_size_mb=1.0)
EVALUATE = EvaluateParams(seed=0, metrics=["x"], confidence=0.95, resamples=100, min_slice_rows=50)


@pytest.fixture(name="metric", params=["neg_root_mean_squared_error", "r2"], scope="module")
def fixture_metric(request: pytest.FixtureRequest) -> Metric:
    """One metric of each direction."""
    return load_metrics([request.param], read_params().load_domain())[0]


def make_pair(challenger_noise: float, champion_noise: float, shared: float = 0.9) -> Pair:
    """Make two models' predictions with errors that have much in common."""
    rng = np.random.default_rng(1)
    target = rng.normal(10, 5, N)
    common, own, other = rng.normal(0, 1, (3, N))
    mix = np.sqrt(1 - shared**2)
    return Pair(
        Predictions(target, target + challenger_noise * (shared * common + mix * own)),
        Predictions(target, target + champion_noise * (shared * common + mix * other)),
    )


def decide(metric: Metric, pair: Pair, **changes: object) -> Verdict:
    """Decide with defaults for all that is not under test."""
    values = {"champion_is_baseline": False, "slices": {}, "latency_ms": 0.1, "size_mb": 0.1, **changes}
    gate = values.pop("gate", GATE)
    return decide_promotion([metric], Evidence(pair=pair, **values), gate, EVALUATE, "model@v1.0.0")


def test_worse_beyond_the_tolerance_is_refused(metric: Metric) -> None:
    verdict = decide(metric, make_pair(1.6, 1.0))
    assert verdict.outcome == "refuse"
    assert "worse" in verdict.reasons[0]


def test_better_passes(metric: Metric) -> None:
    verdict = decide(metric, make_pair(1.0, 1.6))
    assert verdict.outcome == "pass"
    assert "better" in verdict.notes[0]


def test_worse_within_the_tolerance_passes_as_good(metric: Metric) -> None:
    pair = make_pair(1.0, 1.0, shared=1.0)
    nearly = Predictions(pair.challenger.target, pair.challenger.prediction + 0.0001)
    verdict = decide(metric, Pair(nearly, pair.champion))
    assert verdict.outcome == "pass"
    assert "within the tolerance" in verdict.notes[0] or "better" in verdict.notes[0]


def test_gate_says_when_the_data_cannot_tell() -> None:
    metric = load_metrics(["neg_root_mean_squared_error"], read_params().load_domain())[0]
    pair = make_pair(1.01, 1.0, shared=0.0)
    verdict = decide(metric, pair)
    assert verdict.outcome == "pass"
    assert "cannot tell" in verdict.notes[0]


def test_slice_that_got_worse_is_refused_though_all_rows_got_better(metric: Metric) -> None:
    pair = make_pair(1.0, 1.3)
    group = np.where(np.arange(N) < 300, "few", "most")
    prediction = pair.challenger.prediction + np.where(group == "few", 1.5, 0.0)
    spoiled = Pair(Predictions(pair.challenger.target, prediction), pair.champion)
    verdict = decide(metric, spoiled, slices={"group": group})
    assert verdict.outcome == "refuse"
    assert len(verdict.reasons) == 1
    assert "group few" in verdict.reasons[0]


def test_slice_with_too_few_rows_is_not_judged(metric: Metric) -> None:
    pair = make_pair(1.0, 1.3)
    group = np.where(np.arange(N) < EVALUATE.min_slice_rows - 1, "few", "most")
    assert [found.where for found in compare_slices(metric, pair, {"group": group}, EVALUATE)] == ["group most"]


def test_many_equal_slices_raise_no_false_alarm(metric: Metric) -> None:
    """Twenty random groups, and models that are equally good."""
    pair = make_pair(1.0, 1.0, shared=0.5)
    groups = np.random.default_rng(2).integers(0, 20, N).astype(str)
    verdict = decide(metric, pair, slices={"group": groups})
    assert not [reason for reason in verdict.reasons if "group" in reason]


@pytest.mark.parametrize(
    ("cost", "word"), [({"latency_ms": 1.5}, "max_latency_ms"), ({"size_mb": 1.5}, "max_size_mb")]
)
def test_budgets_refuse_a_better_model(metric: Metric, cost: dict[str, float], word: str) -> None:
    verdict = decide(metric, make_pair(1.0, 1.6), **cost)
    assert verdict.outcome == "refuse"
    assert word in verdict.reasons[0]


def test_limit_refuses_by_the_direction_of_its_metric() -> None:
    error, score = load_metrics(["neg_root_mean_squared_error", "r2"], read_params().load_domain())
    pair = make_pair(1.0, 1.6)
    for metric, passed, refused in ((error, 2.0, 0.5), (score, 0.5, 0.999)):
        assert decide(metric, pair, gate=limit(metric, passed)).outcome == "pass"
        assert decide(metric, pair, gate=limit(metric, refused)).outcome == "refuse"


def limit(metric: Metric, value: float) -> GateParams:
    """Make a gate with one limit."""
    return GATE.model_copy(update={"limits": {metric.name: value}})


def test_bounds_hold_the_true_gap(metric: Metric) -> None:
    """A large sample's gap lies between the bounds of a small one."""
    pair = make_pair(1.3, 1.0)
    whole = compare(metric, pair, "all", np.arange(N), 0.95, EVALUATE)
    part = compare(metric, pair, "part", np.arange(200), 0.999, EVALUATE)
    assert part.low < whole.worse_by < part.high
    assert part.high - part.low > whole.high - whole.low
