"""How a number is written for people: the same in the card, the gate's table, the report and the plots."""

import math
from collections.abc import Sequence
from numbers import Integral


def format_number(value: float | None) -> str:
    """Write a count with thousands separators, and any other number with four significant digits.

    Parameters
    ----------
    value : int, float or None
        Zeros at the end are kept, so that the numbers of a column are equally precise.

    Returns
    -------
    str
        An en dash where there is no number (None or NaN).
    """
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, Integral):
        return f"{value:,d}"
    # From here on four significant digits hold no decimals; "g" would turn to exponents.
    if abs(value) >= 999.95:
        return f"{value:,.0f}"
    return f"{value:#.4g}"


def format_column(values: Sequence[float]) -> list[str]:
    """Write numbers that stand below each other, with the decimals that four digits of the largest need."""
    decimals = len(format_number(float(max(map(abs, values), default=0))).partition(".")[2])
    return [f"{value:z,.{decimals}f}" for value in values]


def format_share(share: float) -> str:
    """Write a share of one as a percentage with up to three significant digits."""
    return f"{100 * share:.3g} %"


def round_figure(value: float) -> float:
    """Keep six significant digits of a figure that goes into Git: more would differ between machines."""
    return float(f"{value:.6g}")
