"""An explanation for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lifecycle.views.markdown import align_numbers, clean_text
from lifecycle.views.numbers import format_number
from lifecycle.views.terminal import align_columns

COLUMNS, BAR = 80, 28
LONGEST_NAME, LONGEST_VALUE = 20, 16
# Of the inputs, the strongest stand beside similar rows.
SHOWN_INPUTS = 3
Explanation = Mapping[str, Any]


def format_explanation(explained: Explanation) -> str:
    """Write an explanation, as `lifecycle.explain.explain` makes it.

    Returns
    -------
    str
        Lines of at most 80 columns, but for hashes.
    """
    blocks = [_write_contributions(explained), _write_similar(explained), _write_lineage(explained)]
    return "\n\n".join("\n".join(block) for block in blocks)


def _write_contributions(explained: Explanation) -> Iterator[str]:
    """Write what pushed the prediction up and down, with a bar for each input."""
    shares = explained["contributions"]
    prediction, base, *values = align_numbers(
        [explained["prediction"], explained["base"], *(row["contribution"] for row in shares)]
    )
    who = f"request {explained['request_id']}" if explained["request_id"] else "this row"
    yield f"{prediction} {explained['unit']}: {explained['target']} of {clean_text(who, 40)}"
    most = max((abs(row["contribution"]) for row in shares), default=0) or 1
    rows = [["", f"mean of {explained['background_rows']} training rows", base, ""]]
    for row, value in zip(shares, values, strict=True):
        length = round(BAR * abs(row["contribution"]) / most)
        name, shown = clean_text(row["input"], LONGEST_NAME), clean_text(row["value"], LONGEST_VALUE)
        signed = value if value.startswith("-") else f"+{value}"
        # What is nothing to the last digit shown pushes nowhere.
        side = ("▲" if row["contribution"] > 0 else "▼") if value.strip("-0.") else ""
        rows.append(["", f"{name} = {shown}", signed, f"{side} {'█' * length}"])
    rows.append(["", "together", prediction, ""])
    width = max(len(row[2]) for row in rows)
    yield from align_columns([[one, two, three.rjust(width), four] for one, two, three, four in rows])
    method = "Exact Shapley values" if explained["is_exact"] else "Shapley values estimated from permutations"
    said = f"{method} of the {explained['kind']}; they add up to the prediction (off by {explained['gap']:.1g})."
    yield from textwrap.wrap(said, COLUMNS)


def _write_similar(explained: Explanation) -> Iterator[str]:
    """Write what similar rows did."""
    similar = explained["similar"]
    names = [row["input"] for row in explained["contributions"][:SHOWN_INPUTS]]
    yield f"The {len(similar)} most similar of {format_number(explained['searched_rows'])} training rows"
    columns = [align_numbers([row[key] for row in similar]) for key in ("actual", "predicted", "distance")]
    header = ["", "was", "model says", "distance", *(clean_text(name, LONGEST_VALUE) for name in names)]
    rows = [
        ["", *figures, *(clean_text(row["inputs"][name], LONGEST_VALUE) for name in names)]
        for row, *figures in zip(similar, *columns, strict=True)
    ]
    yield from align_columns([header, *rows])


def _write_lineage(explained: Explanation) -> Iterator[str]:
    """Write where the model came from, in short."""
    lineage = explained["lineage"]
    commit, data = lineage["commit"], lineage["data"] or {}
    pull = f", pull request {lineage['pull_request']}" if lineage["pull_request"] else ""
    sources = data.get("sources") or []
    rows = [
        ["", "version", lineage["version"] or f"none; commit {commit['hash'][:7]}"],
        ["", "model", f"{explained['model_hash']}"],
        ["", "commit", clean_text(f"{commit['hash'][:7]} {commit['subject']}{pull}", 60)],
        ["", "by", clean_text(f"{commit['author']}, {commit['date']}", 60)],
        ["", "data", f"{data.get('hash') or 'not known'}, {len(sources)} files"],
    ]
    yield "The model that answered"
    yield from align_columns(rows)
    yield f"  More: make lineage VERSION={lineage['version'] or commit['hash'][:7]}"
