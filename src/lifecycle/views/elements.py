"""The parts of an HTML page that is made of tables and cards; every text is escaped, and cut where it is too long."""

import html
from collections.abc import Iterable, Sequence

import numpy as np

from lifecycle.views.markdown import clean_text

LONGEST = 600


def write_text(text: object) -> str:
    """Write a text that may hold anything."""
    # A line does not break before the sign.
    return html.escape(clean_text(text, LONGEST)).replace(" %", "\u00a0%")


def write_note(text: str) -> str:
    """Write how to read what stands above."""
    return f'<p class="note">{write_text(text)}</p>'


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Write a table whose cells are elements already."""
    head = "".join(f"<th>{write_text(name) if name else ''}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def write_cell(text: object) -> str:
    """Write a cell."""
    return f"<td>{write_text(text)}</td>"


def write_bar(text: str, share: float) -> str:
    """Write a cell with a bar behind its text, as long as a share of one."""
    return f'<td style="background-size: {100 * min(max(share, 0), 1):.1f}% 100%">{write_text(text)}</td>'


def write_heat(value: float, limit: float) -> str:
    """Write a figure on a ground that is the darker, the larger it is; nothing for NaN."""
    if np.isnan(value):
        return "<td></td>"
    depth = min(value / limit, 1) * 0.55
    kind = ' class="over"' if value > limit else ""
    # A phone has no room for the zero before the point.
    figure = f"{value:.2f}".removeprefix("0")
    return f'<td{kind} style="background-color: rgba(0, 114, 178, {depth:.2f})">{figure}</td>'


def fold_away(title: str, content: str, is_open: bool = False) -> str:
    """Fold content away under its title."""
    return f"<details{' open' if is_open else ''}><summary>{write_text(title)}</summary>\n{content}</details>"


def lay_cards(cards: Iterable[str]) -> str:
    """Lay cards beside each other where there is room."""
    return f'<div class="cards">{"".join(cards)}</div>'
