"""Replay a month: its rows as requests to the real handler, and what came true as labels.

``python -m rehearsal.replay month.parquet folder --start 2026-11-01`` writes folder/predictions and folder/labels, as
AWS leaves them: a folder a day, gzipped lines.
"""

import argparse
import contextlib
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.data.contract import find_breaks, list_rules, read_contract
from lifecycle.data.months import map_batches
from lifecycle.delivery.answers import make_event, write_value
from lifecycle.errors import run
from lifecycle.params import read_params
from lifecycle.seam import Columns, Domain, load_domain
from lifecycle.serve import handle
from lifecycle.serving.request import MAX_ROWS


@dataclass(frozen=True)
class Replay:
    """Rows of a month: what is known at the start, the target, and when each request came."""

    columns: Columns
    target: np.ndarray
    time: np.ndarray

    def choose(self, rows: np.ndarray) -> "Replay":
        """Choose some of the rows, in their order of time."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Replay(columns, self.target[rows], self.time[rows])


def read_month(path: Path, domain: Domain, start: datetime | None = None) -> Replay:
    """Read the rows of a month that keep the contract.

    Parameters
    ----------
    path : Path
        A parquet file.
    domain : Domain
    start : datetime, optional
        When the first row's request comes; by default when the row says.
    """
    contract = read_contract(domain.CONTRACT)
    batches = list(map_batches(path, contract, domain.derive_columns, lambda columns: columns))
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    month = np.median(columns[contract.time].astype(np.int64)).astype("datetime64[us]").astype("datetime64[M]")
    bounds = month.astype("datetime64[us]"), (month + 1).astype("datetime64[us]")
    clean = np.flatnonzero(find_breaks(list_rules(contract, bounds), columns) == 0)
    rows = clean[np.argsort(columns[contract.time][clean], kind="stable")]
    time = columns[contract.time][rows]
    moved = time if start is None else time - bounds[0] + np.datetime64(start, "us")
    known = {column.name: columns[column.name][rows] for column in contract.known_at_start()}
    return Replay(known, columns[contract.target][rows], moved)


def ask(replay: Replay, name: str) -> Iterator[dict[str, Any]]:
    """Ask the handler in requests of many rows; give its log lines, each at the time of its row."""
    for first in range(0, len(replay.target), MAX_ROWS):
        rows = np.arange(first, min(first + MAX_ROWS, len(replay.target)))
        event = make_event({"rows": list(write_rows(replay, rows))}, f"{name}-{first}")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            answer = handle(event, None)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"the handler answered {answer['statusCode']}: {answer['body']}")
        for line in map(json.loads, said.getvalue().splitlines()):
            if line["kind"] == "prediction":
                yield {**line, "time": _write_time(replay.time[first + line["row"]])}


def write_rows(replay: Replay, rows: np.ndarray) -> Iterator[dict[str, Any]]:
    """Write rows as a request holds them."""
    for row in rows:
        yield {name: write_value(values[row]) for name, values in replay.columns.items()}


def _write_time(time: np.datetime64) -> str:
    """Write a time as the journal does."""
    return f"{np.datetime_as_string(time, unit='ms')}+00:00"


def make_labels(replay: Replay, name: str, lag: timedelta = timedelta(days=1)) -> Iterator[dict[str, Any]]:
    """Say what came true, some time after each request."""
    for row, (target, time) in enumerate(zip(replay.target, replay.time, strict=True)):
        came = _write_time(time + np.timedelta64(lag))
        request = f"{name}-{row // MAX_ROWS * MAX_ROWS}"
        yield {"request_id": request, "row": row % MAX_ROWS, "time": came, "label": float(target)}


def write_days(lines: Iterable[Mapping[str, Any]], folder: Path, name: str) -> None:
    """Write lines into a folder for each day of their times."""
    days = defaultdict(list)
    for line in lines:
        days[line["time"][:10]].append(json.dumps(line))
    for day, texts in days.items():
        path = folder / f"day={day}" / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in texts)


def write_replay(replay: Replay, folder: Path, name: str = "replay") -> None:
    """Write a replay's prediction log and labels.

    Parameters
    ----------
    replay : Replay
    folder : Path
        Gets the folders ``predictions`` and ``labels``.
    name : str
        Of the files, and the beginning of the requests' ids.
    """
    write_days(ask(replay, name), folder / "predictions", name)
    write_days(make_labels(replay, name), folder / "labels", name)


def main(argv: Sequence[str] | None = None) -> None:
    """Replay a month through the handler, with the working folder's model."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.replay", description=main.__doc__)
    parser.add_argument("month", type=Path, help="parquet file")
    parser.add_argument("folder", type=Path, help="gets predictions and labels")
    parser.add_argument(
        "--start", type=datetime.fromisoformat, help="day on which the month begins; by default its own"
    )
    given = parser.parse_args(argv)
    replay = read_month(given.month, load_domain(read_params().domain), given.start)
    write_replay(replay, given.folder, given.month.stem)
    print(f"{len(replay.target)} requests' rows in {given.folder}, the last one at {replay.time[-1]}")


if __name__ == "__main__":
    run(main)
