"""The parts of a Markdown page, and foreign text in them: shown, and never obeyed.

The facts of a report may come from a stranger's fork, so any text in them may try to leave its place in the Markdown,
HTML or Mermaid around it, to call people by their names, or to link somewhere.
"""

import re
from collections.abc import Iterable, Sequence

from lifecycle.views.numbers import format_column

LONGEST = 200
MOST_ROWS = 30
LONGEST_LABEL = 40
NOTHING = "–"
# What can mean something in Markdown or HTML, where it stands; an underscore within a word cannot.
RISKY = re.compile(r"[^\w\s.,;%()'>/+-]|(?<![^\W_])_|_(?![^\W_])|^[^\w\s]|^\d(?=\d*[.)])|(?i:(?<=www)\.)")
# GitHub looks for these in the finished page; a word joiner behind them hides names and numbers from it.
CALLING = ("@", "#")
WORD_JOINER = "&#8288;"


def clean_text(text: object, longest: int = LONGEST) -> str:
    """Write a text as one line of visible characters, cut where it is too long; an en dash for None or nothing."""
    # What cannot be shown need not be read, however long it is.
    start = str("" if text is None else text)[: 10 * longest]
    visible = "".join(char if char.isprintable() else " " for char in start)
    line = " ".join(visible.split())
    return (line if len(line) <= longest else f"{line[: longest - 1]}…") or NOTHING


def escape_text(text: object, longest: int = LONGEST) -> str:
    """Write a text for a paragraph, a heading, a list or a cell, with numbers for characters that mean something."""
    return RISKY.sub(_number, clean_text(text, longest))


def _number(match: re.Match[str]) -> str:
    """Write a character by its number."""
    return f"&#{ord(match[0])};{WORD_JOINER if match[0] in CALLING else ''}"


def quote_code(text: object) -> str:
    """Write a name or a value as code; look-alikes stand for the two characters that could end it."""
    return f"`{clean_text(text).replace('`', 'ˋ').replace('|', '¦')}`"


def quote_label(text: object, longest: int = LONGEST_LABEL) -> str:
    """Write a Mermaid label in quotes, with a blank for any character that may mean something there."""
    plain = re.sub(r"[^\w.,:()/+–-]", " ", clean_text(text))
    return f'"{clean_text(plain, longest)}"'


def shorten_hash(text: object) -> str:
    """Write the first characters of a commit or an md5 as code."""
    return quote_code(clean_text(text)[:7])


def quote_value(text: str | None) -> str:
    """Write a value as code, and a dash for none."""
    return NOTHING if text is None else quote_code(text)


def keep_hash(text: str | None) -> str:
    """Keep the characters of a text that a hash can have."""
    return "".join(char for char in text or "" if char in "0123456789abcdef")[:40]


def keep_name(text: str | None) -> str:
    """Keep the characters of a text that a model's name can have."""
    return "".join(re.findall("[a-z0-9-]", text or ""))


def align_numbers(values: Sequence[float | None]) -> list[str]:
    """Write numbers with the same decimals, and a dash for those that are missing."""
    written = iter(format_column([value for value in values if value is not None]))
    return [NOTHING if value is None else next(written) for value in values]


def format_table(align: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table.

    Parameters
    ----------
    align : str
        ``l`` or ``r`` for each column.
    header : sequence of str
    rows : iterable of sequences of str

    Returns
    -------
    str
        Its cells hold no line breaks, and no bar that could end one.
    """
    rules = [{"l": ":--", "r": "--:"}[side] for side in align]
    cells = [header, rules, *([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def write_table(align: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; of a long one the first rows."""
    listed = list(rows)
    table = format_table(align, header, listed[:MOST_ROWS])
    left_out = len(listed) - MOST_ROWS
    return f"{table}\n\n_{left_out:,d} more rows are in report.json._" if left_out > 0 else table


def fold_away(title: str, *blocks: str) -> str:
    """Fold blocks away under a title, which holds no foreign text."""
    return "\n\n".join([f"<details><summary>{title}</summary>", *blocks, "</details>"])
