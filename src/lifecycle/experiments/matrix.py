"""What is tried from the browser: a list of settings, or a grid, cut to as many jobs as are allowed; pure."""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lifecycle.comparison.snapshot import PARAMS
from lifecycle.errors import MisuseError
from lifecycle.experiments.settings import Plan, Settings, choose_name, edit_params, read_choices
from lifecycle.params import Params, parse_params

# What stands between the parts of a list; a form's field has one line.
BETWEEN = re.compile(r"[;\n]")
MOST_CHARACTERS = 2_000
# How many of those that are left out are told by what they set.
MOST_TOLD = 5
# Of a huge grid only the beginning is ever looked at; GitHub takes as many jobs.
MOST_LOOKED = 256


@dataclass(frozen=True)
class Matrix:
    """The experiments to run, how many more were asked for, and the first of these."""

    plans: tuple[Plan, ...]
    left_out: int
    told: tuple[Plan, ...]


def plan_matrix(text: str, content: bytes, most: int) -> Matrix:
    """Read and check what is to be tried.

    Parameters
    ----------
    text : str
        Settings as `lifecycle.experiments.settings.parse_settings` takes them; several, with semicolons or line ends
        between them, make a list. What params.yaml says already, or what was named before, is not tried.
    content : bytes
        Of params.yaml.
    most : int
        How many may run.

    Returns
    -------
    Matrix

    Raises
    ------
    MisuseError
        If a setting is unknown or of a wrong type, or nothing would be tried.
    """
    if len(text) > MOST_CHARACTERS:
        raise MisuseError(f"the settings have {len(text):,d} characters; expected at most {MOST_CHARACTERS:,d}.")
    grids = [read_choices(part) for part in BETWEEN.split(text) if part.strip()]
    asked = sum(math.prod(map(len, choices.values())) for choices in grids)
    committed, seen, plans = parse_params(content, PARAMS), list[Params](), list[Plan]()
    combined = itertools.chain.from_iterable(map(_combine, grids))
    for settings in itertools.islice(combined, MOST_LOOKED):
        asked -= 1
        params = parse_params(edit_params(content, settings), PARAMS)
        if params != committed and params not in seen:
            seen.append(params)
            plans.append(Plan(choose_name(settings, {plan.name for plan in plans}), settings))
        if len(plans) == most + MOST_TOLD:
            break
    if not plans:
        raise MisuseError(
            f"nothing to try: params.yaml says {' '.join(text.split()) or 'so'} already; "
            "expected other values, as in train.seed=1,2"
        )
    return Matrix(tuple(plans[:most]), asked + len(plans[most:]), tuple(plans[most:]))


def _combine(choices: dict[str, list[Any]]) -> Iterator[Settings]:
    """Combine the values of the keys, one experiment after the other."""
    return (dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))
