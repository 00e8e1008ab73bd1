"""The task's own metrics, on numbers that one can count."""

import numpy as np
import pytest

from domain.metrics import METRICS

TARGET, PREDICTION = np.zeros(11), np.arange(11.0)


def test_nine_trips_in_ten_stay_below_the_p90_error() -> None:
    assert METRICS["p90_absolute_error"](TARGET, PREDICTION) == pytest.approx(9)


def test_five_minutes_off_counts_as_within_five_minutes() -> None:
    assert METRICS["within_5_minutes_score"](TARGET, PREDICTION) == pytest.approx(6 / 11)
