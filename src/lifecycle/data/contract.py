"""The data contract's machinery: one declaration, read by the batch check, the request check and the documentation.

Needs NumPy alone, because serving checks its requests with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from lifecycle.errors import ContractError, MisuseError
from lifecycle.seam import Columns

TYPES = ("number", "text", "timestamp")
MOMENTS = ("start", "end")


@dataclass(frozen=True)
class Column:
    """A column's promise; ``known`` is the moment from which its value exists, ``start`` or ``end``."""

    # pylint: disable=too-many-instance-attributes  # a declaration has as many fields as there are promises
    name: str
    meaning: str
    type: str
    unit: str
    known: str
    max_broken_share: float
    spellings: tuple[str, ...] = ()
    derived: bool = False
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Contract:
    """The columns of one kind of data; ``time`` and ``target`` name two of them."""

    time: str
    target: str
    columns: tuple[Column, ...]
    title: str
    caveats: tuple[str, ...] = ()

    def find_column(self, name: str) -> Column:
        """Find a column by its name."""
        return next(column for column in self.columns if column.name == name)

    def known_at_start(self) -> tuple[Column, ...]:
        """Return the columns that a request can hold, and that features may be made of."""
        return tuple(column for column in self.columns if column.known == "start")


@dataclass(frozen=True)
class Rule:
    """One way to break the contract: ``breaks`` marks the rows of an array that do."""

    column: str
    reason: str
    breaks: Callable[[np.ndarray], np.ndarray]


def read_contract(declaration: Mapping[str, Any]) -> Contract:
    """Build the contract from the domain's plain declaration.

    Parameters
    ----------
    declaration : mapping
        ``CONTRACT`` of the domain.

    Returns
    -------
    Contract

    Raises
    ------
    MisuseError
        If the declaration has an unknown key, lacks one, or names an unknown type, moment, time or target.
    """
    try:
        columns = tuple(Column(**_freeze(column)) for column in declaration["columns"])
        contract = Contract(**_freeze({**declaration, "columns": columns}))
    except (KeyError, TypeError) as error:
        raise MisuseError(f"the domain's CONTRACT is not understood: {error}.") from error
    names = [column.name for column in columns]
    for name in (contract.time, contract.target):
        if names.count(name) != 1:
            raise MisuseError(f"the domain's CONTRACT names {name!r}; expected exactly one column of that name.")
    for column in columns:
        if column.type not in TYPES or column.known not in MOMENTS:
            raise MisuseError(
                f"CONTRACT column {column.name!r} is of type {column.type!r}, known at {column.known!r}; "
                f"expected one of {', '.join(TYPES)}, and start or end."
            )
    return contract


def _freeze(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn lists into tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def list_rules(contract: Contract, month: tuple[np.datetime64, np.datetime64] | None = None) -> list[Rule]:
    """List every way in which a row can break the contract, in the order in which reasons are given.

    Parameters
    ----------
    contract : Contract
    month : pair of datetime64, optional
        Start (included) and end (excluded) of the file's month; the time column must lie inside.

    Returns
    -------
    list of Rule
    """
    rules = []
    for column in contract.columns:
        rules += _list_column_rules(column)
        if column.name == contract.time and month is not None:
            rules.append(_bind_to_month(column.name, *month))
    return rules


def _bind_to_month(name: str, start: np.datetime64, end: np.datetime64) -> Rule:
    """Make the rule that a file's rows lie in its month."""
    return Rule(name, f"{name} outside the file's month", lambda x: (x < start) | (x >= end))


def _list_column_rules(column: Column) -> list[Rule]:
    """List the ways in which one column's value can break its promise."""
    name, low, high, values = column.name, column.minimum, column.maximum, column.values
    rules = []
    if not column.nullable:
        rules.append(Rule(name, f"{name} missing", find_missing))
    if low is not None:
        rules.append(Rule(name, f"{name} below {low:g}", lambda x: x < low))
    if high is not None:
        rules.append(Rule(name, f"{name} above {high:g}", lambda x: x > high))
    if values is not None:
        known = list(values)
        rules.append(Rule(name, f"{name} none of its values", lambda x: ~find_missing(x) & ~np.isin(x, known)))
    return rules


def find_missing(values: np.ndarray) -> np.ndarray:
    """Mark the missing entries (NaN, NaT or None) of an array of shape (n_rows,)."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    return np.equal(values, None)


def find_breaks(rules: list[Rule], columns: Columns) -> np.ndarray:
    """Give each row the first rule that it breaks.

    Parameters
    ----------
    rules : list of Rule
    columns : dict of str to ndarray of shape (n_rows,)

    Returns
    -------
    ndarray of shape (n_rows,), uint8
        0 for a clean row, otherwise one more than the rule's place in the list.
    """
    codes = np.zeros(len(columns[rules[0].column]), dtype=np.uint8)
    # From the last rule to the first, so that the first one stands in the end.
    for code in range(len(rules), 0, -1):
        rule = rules[code - 1]
        broken = rule.breaks(columns[rule.column])
        if broken.any():
            codes[broken] = code
    return codes


def check_shares(contract: Contract, rules: list[Rule], counts: np.ndarray, file: str) -> None:
    """Stop where too large a share of a file's rows breaks the contract.

    Parameters
    ----------
    contract : Contract
    rules : list of Rule
    counts : ndarray of shape (n_rules + 1,)
        Rows by code, as ``find_breaks`` gives them.
    file : str
        The file's name, for the message.

    Raises
    ------
    ContractError
        If the file has no row, or a column breaks more often than it may.
    """
    rows = int(counts.sum())
    if rows == 0:
        raise ContractError(f"{file} has no rows; expected a month of data. Get the file again.")
    for column in contract.columns:
        broken = {
            rule.reason: int(n) for rule, n in zip(rules, counts[1:], strict=True) if rule.column == column.name
        }
        total = sum(broken.values())
        if total > column.max_broken_share * rows:
            raise ContractError(
                f"{file}: {column.name} breaks the contract in {total:,} of {rows:,} rows ({total / rows:.1%}), "
                f"mostly by '{max(broken, key=broken.__getitem__)}'; the contract allows "
                f"{column.max_broken_share:.1%}. Fix the source, or raise the column's max_broken_share."
            )


def read_request(contract: Contract, rows: list[dict[str, Any]]) -> Columns:
    """Turn the rows of a request into checked columns.

    Parameters
    ----------
    contract : Contract
    rows : list of dict
        One a prediction, by the contract's names; nullable columns may be null or absent.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)

    Raises
    ------
    ContractError
        Naming the field, its value and what was expected.
    """
    known = contract.known_at_start()
    for row in rows:
        for key in row.keys() - {column.name for column in known}:
            raise ContractError(f"{key!r} is no field of a request; expected {', '.join(c.name for c in known)}.")
    columns = {column.name: _read_field(column, [row.get(column.name) for row in rows]) for column in known}
    for column in known:
        for rule in _list_column_rules(column):
            for index in np.flatnonzero(rule.breaks(columns[rule.column])):
                value = rows[index].get(column.name)
                raise ContractError(f"{column.name} is {value!r}; expected {describe_range(column)}.")
    return columns


def _read_field(column: Column, values: list[Any]) -> np.ndarray:
    """Turn one field's JSON values into an array of the contract's type."""
    parse = {"number": _read_number, "text": _read_text, "timestamp": _read_timestamp}[column.type]
    kind = {"number": "float64", "text": "object", "timestamp": "datetime64[us]"}[column.type]
    parsed = []
    for value in values:
        try:
            parsed.append(None if value is None else parse(value))
        except (ValueError, OverflowError) as error:
            raise ContractError(f"{column.name} is {value!r}; expected {describe_range(column)}.") from error
    return np.array(parsed, dtype=kind)


def _read_number(value: Any) -> float:
    """Read a finite JSON number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _read_text(value: Any) -> str:
    """Read a JSON string."""
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _read_timestamp(value: Any) -> datetime:
    """Read an ISO 8601 time, local as in the files: without an offset from UTC."""
    time = datetime.fromisoformat(_read_text(value))
    if time.tzinfo is not None:
        raise ValueError(value)
    return time


def describe_range(column: Column) -> str:
    """Say in words what a column may hold: ``a number from 0 to 9 (people)``."""
    kind = {"number": "a number", "text": "a text", "timestamp": "a time such as 2024-01-31T08:30:00"}[column.type]
    low = "" if column.minimum is None else f" from {column.minimum:g}"
    high = "" if column.maximum is None else f" to {column.maximum:g}"
    values = "" if column.values is None else f" out of {', '.join(column.values)}"
    return f"{kind}{low}{high}{values} ({column.unit}){', or null' if column.nullable else ''}"
