"""The decision on live labels: rarely wrong, and made in time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readings import write_params
from rivals import NAMES, make_frame, make_pairs

from lifecycle.compare import choose_loss, compare
from lifecycle.comparison.pairs import measure_losses
from lifecycle.comparison.sequential import Rule, compare_paired, compare_split
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import read_params

RULE = Rule(alpha=0.05, min_requests=500, max_requests=5000, min_gain=0)
STREAMS = 500
Draw = Callable[[np.random.Generator, int], np.ndarray]
# Losses of a request: squared errors with light and with heavy tails, and such as have hardly a variance.
LOSSES: dict[str, Draw] = {
    "light": lambda rng, n: rng.normal(size=n) ** 2,
    "heavy": lambda rng, n: rng.lognormal(0, 1.5, n),
    "heaviest": lambda rng, n: rng.pareto(2.5, n),
}


def count_promotions(make: Callable[[np.random.Generator], str]) -> int:
    """Count in how many streams the challenger is promoted."""
    rng = np.random.default_rng(0)
    return sum(make(rng) == "promote" for _ in range(STREAMS))


@pytest.mark.parametrize("draw", LOSSES.values(), ids=LOSSES)
def test_shadow_that_is_no_better_is_promoted_in_at_most_5_percent_of_500_streams(draw: Draw) -> None:
    promoted = count_promotions(lambda rng: compare_paired(draw(rng, 5000), draw(rng, 5000), RULE).outcome)

    assert promoted <= 0.05 * STREAMS


@pytest.mark.parametrize("draw", LOSSES.values(), ids=LOSSES)
def test_split_that_is_no_better_is_promoted_in_at_most_5_percent_of_500_streams(draw: Draw) -> None:
    promoted = count_promotions(lambda rng: compare_split(draw(rng, 20_000), rng.random(20_000) < 0.25, RULE).outcome)

    assert promoted <= 0.05 * STREAMS


def test_fixed_interval_that_is_looked_at_again_and_again_would_promote_far_more_often() -> None:
    def look(rng: np.random.Generator) -> str:
        gains = rng.normal(size=5000)
        low = np.cumsum(gains) / np.arange(1, 5001) - 1.96 / np.sqrt(np.arange(1, 5001))
        return "promote" if (low[RULE.min_requests :] > 0).any() else "keep"

    assert count_promotions(look) > 0.1 * STREAMS


def test_models_of_equal_loss_on_real_rows_are_rarely_told_apart(rivals: Path) -> None:
    former, better = measure_rivals(rivals)

    def swap(rng: np.random.Generator) -> str:
        # Who made which loss is drawn anew for each request: then neither is better, and the tails are real.
        swapped = rng.random(len(former)) < 0.5
        return compare_paired(np.where(swapped, better, former), np.where(swapped, former, better), RULE).outcome

    assert count_promotions(swap) <= 0.05 * STREAMS


def test_true_difference_is_decided_within_the_declared_maximum(rivals: Path) -> None:
    former, better = measure_rivals(rivals)
    rng = np.random.default_rng(0)
    promoted = {"shadow": 0, "split": 0}

    for _ in range(100):
        drawn = rng.integers(0, len(former), 4 * RULE.max_requests)
        decision = compare_paired(former[drawn], better[drawn], RULE)
        assert decision.outcome in ("promote", "undecided") and decision.requests <= RULE.max_requests
        promoted["shadow"] += decision.outcome == "promote"
        dealt = rng.random(len(drawn)) < 0.25
        decision = compare_split(np.where(dealt, better[drawn], former[drawn]), dealt, RULE)
        promoted["split"] += decision.outcome == "promote"
        assert compare_paired(better[drawn], former[drawn], RULE).outcome == "keep"

    assert promoted == {"shadow": 100, "split": 100}


def measure_rivals(rivals: Path) -> tuple[np.ndarray, np.ndarray]:
    """Compute the losses of champion and challenger on the prepared test rows, as the comparison does."""
    losses = measure_losses(make_frame(make_pairs(rivals)), "squared_error")
    assert losses.loss == "log_loss"
    return losses.values["champion"].to_numpy(), losses.values["challenger"].to_numpy()


def make_row(place: int, variant: str, prediction: Any, label: Any, **changes: Any) -> dict[str, Any]:
    """Make a joined row of a regression; what the challenger predicts has the hash b."""
    beside = variant in ("shadow", "challenger")
    return {
        "time": str(np.datetime64("2026-01-01T00:00:00", "s") + place),
        "request_id": f"r{place}",
        "row": 0,
        "variant": variant,
        "model_version": NAMES[beside],
        "model_hash": "ab"[beside],
        "prediction": prediction,
        "label": label,
    } | changes


def make_shadow(n: int, gain: float = 1) -> list[dict[str, Any]]:
    """Make n pairs in which the challenger's squared error is lower by about a gain."""
    noise = np.random.default_rng(0).normal(size=n)
    champion = [make_row(k, "champion", 10 + np.sqrt(abs(noise[k]) + max(gain, 0)), 10) for k in range(n)]
    return champion + [make_row(k, "shadow", 10 + np.sqrt(abs(noise[k]) + max(-gain, 0)), 10) for k in range(n)]


def test_gain_that_is_asked_for_must_be_surely_reached() -> None:
    rng = np.random.default_rng(0)
    champion = rng.exponential(1, 5000)
    challenger = 0.9 * champion + rng.normal(0, 0.1, 5000)

    outcomes = [compare_paired(champion, challenger, Rule(0.05, 500, 5000, gain)).outcome for gain in (0.05, 0.2)]

    assert outcomes == ["promote", "keep"]


def test_decision_is_the_first_that_could_be_made_and_more_labels_change_none() -> None:
    rng = np.random.default_rng(0)
    champion, challenger = rng.exponential(1.1, 5000), rng.exponential(1, 5000)

    first = compare_paired(champion, challenger, RULE)
    again = compare_paired(champion[: first.requests], challenger[: first.requests], RULE)
    before = compare_paired(champion[: first.requests - 1], challenger[: first.requests - 1], RULE)

    assert first.outcome == "promote" and first == again and before.outcome == "continue"


@pytest.mark.parametrize(
    ("n", "outcome", "requests"), [(0, "continue", 0), (499, "continue", 499), (500, "keep", 500)]
)
def test_nothing_is_decided_before_the_declared_minimum(n: int, outcome: str, requests: int) -> None:
    decision = compare_paired(np.zeros(n), np.ones(n), RULE)

    assert (decision.outcome, decision.requests) == (outcome, requests)


def test_comparison_without_a_difference_ends_at_the_maximum_for_the_champion() -> None:
    decision = compare_paired(np.ones(9000), np.ones(9000), RULE)

    assert (decision.outcome, decision.requests, decision.gain) == ("undecided", 5000, 0)


def test_split_ends_when_the_rarer_model_has_reached_the_maximum() -> None:
    dealt = np.arange(40_000) < 5000
    losses = np.where(np.arange(40_000) < 20_000, 1.0, 9.0)

    decision = compare_split(losses, dealt, RULE)

    # What the champion did afterwards, worse as it is, counts no more.
    assert (decision.outcome, decision.requests, decision.gain) == ("undecided", 5000, 0)


def test_losses_are_paired_by_request_and_row_and_each_row_left_out_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [make_row(k, "champion", 12, 10) for k in range(1, 5)] + [
        make_row(k, "shadow", 11, 10) for k in range(1, 5)
    ]
    rows += [rows[0], make_row(9, "champion", 12, None), make_row(8, "champion", 12, 10)]
    rows += [make_row(0, "champion", 50, 10), make_row(3, "champion", 50, 10, model_hash="c", model_version="v0")]
    # The two rows of one request count as one.
    rows += [make_row(4, "champion", 14, 10, row=1), make_row(4, "shadow", 10, 10, row=1)]
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)

    losses = measure_losses(make_frame(rows), "squared_error")

    assert losses.values["champion"].tolist() == [4, 4, 4, 10]
    assert losses.values["challenger"].tolist() == [1, 1, 1, 0.5]
    assert losses.left_out == {
        "of another model or time": 2,
        "without a label": 1,
        "doubled": 1,
        "predicted by one model": 1,
    }


def test_order_of_the_log_does_not_matter() -> None:
    rows = make_shadow(50)

    mixed = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]

    found = [measure_losses(make_frame(order), "squared_error").values for order in (mixed, rows)]
    assert found[0].equals(found[1])


def test_split_compares_the_callers_of_both_from_the_challengers_first_day_on() -> None:
    rows = [make_row(k, "champion", 12, 10) for k in range(6)]
    rows += [make_row(k, "challenger", 11, 10) for k in (7, 2, 6)]

    losses = measure_losses(make_frame(rows), "absolute_error")

    assert losses.mode == "split" and losses.left_out["of another model or time"] == 2
    # The request 2 was answered by both, so that nobody knows who counts.
    assert losses.left_out["predicted by both models"] == 1
    assert losses.values["champion"].tolist()[:3] == [2, 2, 2]
    assert losses.values["challenger"].tolist()[3:] == [1, 1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no prediction in the log is a challenger's"),
        ([make_row(0, "champion", 1, 1)], "no prediction in the log is a challenger's"),
        ([make_row(0, "shadow", 1, 1)], "no champion answered while v1.1.0 was challenger"),
        (make_shadow(2) + [make_row(5, "shadow", "much", 1)], "a prediction and its label do not fit: much and 1."),
        (make_shadow(2) + [make_row(5, "shadow", {"class": 1}, 1)], "do not fit"),
        (make_shadow(2) + [make_row(5, "shadow", {"probabilities": {"0": 1.0}}, 7)], "do not fit"),
        (make_shadow(2) + [make_row(5, "shadow", float("inf"), 1)], "the loss of inf with the label 1 is no number."),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        measure_losses(make_frame(rows), "squared_error")


@pytest.mark.usefixtures("readings_folder")
def test_rule_that_can_never_decide_is_misuse() -> None:
    write_params(Path(), {"compare": {"max_requests": 10}})

    with pytest.raises(MisuseError, match="compare.max_requests is 10; expected at least min_requests, 20."):
        compare(make_frame(make_shadow(50)), read_params())


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize(("gain", "outcome"), [(3, "promote"), (-3, "keep")])
def test_callers_of_a_split_decide_between_the_models_that_answered_them(gain: float, outcome: str) -> None:
    rows = make_shadow(400, gain)
    answered = [row for row in rows if (row["variant"] == "champion") == (int(row["request_id"][1:]) % 2)]
    split = [row | {"variant": "challenger"} if row["variant"] == "shadow" else row for row in answered]

    record = compare(make_frame(split), read_params())

    assert (record["mode"], record["decision"]) == ("split", outcome)
    assert record["gain"] == pytest.approx(gain, abs=0.5)


def test_loss_is_that_of_the_metric_which_decides_at_the_gate() -> None:
    metrics = ("neg_mean_absolute_error", "neg_root_mean_squared_error", "r2")
    assert [choose_loss(metric) for metric in metrics] == ["absolute_error", "squared_error", "squared_error"]
