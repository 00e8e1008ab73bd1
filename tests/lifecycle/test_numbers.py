"""How numbers are written for people."""

import numpy as np
import pytest

from lifecycle.views.numbers import format_column, format_number, format_share


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1234567, "1,234,567"),
        (np.int64(1200), "1,200"),
        (5.0, "5.000"),
        (0.051234, "0.05123"),
        (-12.3456, "-12.35"),
        (999.96, "1,000"),
        (12345.6, "12,346"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_counts_have_separators_and_other_numbers_four_digits(value, written):
    assert format_number(value) == written


def test_column_has_the_decimals_of_its_largest_number():
    assert format_column([6.2, 0.00391, -0.0001]) == ["6.200", "0.004", "0.000"]
    assert format_column([12345.6, 1.5]) == ["12,346", "2"]
    assert not format_column([])


def test_share_is_a_percentage_without_needless_digits():
    assert [format_share(share) for share in (0.02, 0.4182, 1.0)] == ["2 %", "41.8 %", "100 %"]
