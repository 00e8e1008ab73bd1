"""Month files: which there are, and how their rows are streamed as the contract's columns."""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from lifecycle.cluster import count_threads
from lifecycle.data.contract import Column, Contract
from lifecycle.errors import ContractError, MisuseError
from lifecycle.seam import Columns

Result = TypeVar("Result")

# Large enough that Python's own share of the work vanishes, small enough that a few of them fit any memory.
BATCH_ROWS = 1 << 18
# Neighbouring row groups are read together until they are as many as parquet's writers put into one.
CHUNK_ROWS = 1 << 20
# Marks, in a month's parquet metadata, that the domain's generator wrote it.
SAMPLE_MARK = b"synthetic"


def file_name(source: str) -> str:
    """Return the name of month files, with ``{month}`` in it, from the address of the source."""
    name = source.rsplit("/", 1)[-1]
    if "{month}" not in name:
        raise MisuseError(f"ingest.source is {source!r}; expected {{month}} in its last part.")
    return name


def list_months(folder: Path, name: str) -> dict[str, Path]:
    """List the month files of a folder.

    Parameters
    ----------
    folder : Path
    name : str
        The files' name, with ``{month}`` in it.

    Returns
    -------
    dict of str to Path
        By month (``2024-01``), oldest first.
    """
    before, after = (re.escape(part) for part in name.split("{month}"))
    pattern = re.compile(rf"{before}(\d{{4}}-(?:0[1-9]|1[0-2])){after}")
    found = ((pattern.fullmatch(path.name), path) for path in folder.glob("*"))
    return dict(sorted((match.group(1), path) for match, path in found if match))


def month_bounds(month: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the start of a month (included) and of the next one (excluded), in microseconds."""
    start = np.datetime64(month, "M")
    return start.astype("datetime64[us]"), (start + 1).astype("datetime64[us]")


def open_month(path: Path) -> pq.ParquetFile:
    """Open a month's file, or say in one line why it is none."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        size = path.stat().st_size if path.exists() else 0
        raise ContractError(
            f"{path.name} ({size:,} bytes) is no complete parquet file; it is empty, cut off or of another kind. "
            "Get the file again."
        ) from error


def list_chunks(path: Path) -> list[list[int]]:
    """List the row groups of a month's file, those that are read together in a list of their own."""
    metadata = open_month(path).metadata
    chunks: list[list[int]] = []
    rows = CHUNK_ROWS
    for group in range(metadata.num_row_groups):
        if rows >= CHUNK_ROWS:
            chunks.append([])
            rows = 0
        chunks[-1].append(group)
        rows += metadata.row_group(group).num_rows
    return chunks


def is_sample(path: Path) -> bool:
    """Tell whether a month was written by the domain's generator."""
    return SAMPLE_MARK in (open_month(path).schema_arrow.metadata or {})


def match_columns(contract: Contract, schema: pa.Schema, file: str) -> dict[str, str]:
    """Find the file's spelling of each column that the contract reads.

    Parameters
    ----------
    contract : Contract
    schema : Schema
        The file's.
    file : str
        The file's name, for messages.

    Returns
    -------
    dict of str to str
        The contract's name to the file's.

    Raises
    ------
    ContractError
        If a column is missing or of a type that cannot mean what the contract says.
    """
    spelled = {name.lower(): name for name in schema.names}
    found = {}
    for column in contract.columns:
        if column.derived:
            continue
        accepted = column.spellings or (column.name,)
        matches = [spelled[name.lower()] for name in accepted if name.lower() in spelled]
        if not matches:
            raise ContractError(
                f"{file} has no column {' or '.join(accepted)}; the contract needs it as {column.name}. "
                "Fix the source, or add the new spelling to the contract."
            )
        found[column.name] = matches[0]
        kind = schema.field(matches[0]).type
        if not _can_mean(kind, column):
            raise ContractError(
                f"{file}: column {matches[0]} holds {kind}; the contract expects a {column.type} as {column.name}. "
                "Fix the source, or the column's type in the contract."
            )
    return found


def _can_mean(kind: pa.DataType, column: Column) -> bool:
    """Tell whether an arrow type can hold what the column means."""
    if pt.is_null(kind):
        return True
    if column.type == "number":
        return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)
    if column.type == "timestamp":
        return pt.is_timestamp(kind) or pt.is_date(kind)
    value = kind.value_type if pt.is_dictionary(kind) else kind
    return pt.is_string(value) or pt.is_large_string(value)


def _read_array(array: pa.Array, kind: str) -> np.ndarray:
    """Turn an arrow array into float64, datetime64[us] or objects, with missing entries NaN, NaT or None."""
    if kind == "number":
        array = array.cast(pa.float64(), safe=False)
        return (array.fill_null(np.nan) if array.null_count else array).to_numpy()
    if kind == "timestamp":
        # Some vintages keep nanoseconds; below a microsecond they hold nothing.
        return array.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    return np.array(array.cast(pa.string()).to_pylist(), dtype=object)


def map_batches(
    path: Path,
    contract: Contract,
    derive: Callable[[Columns], Columns],
    work: Callable[[Columns], Result],
    chunks: Sequence[list[int]] | None = None,
) -> Iterator[Result]:
    """Stream a month through a function, batch by batch, in the file's order and never whole.

    Parameters
    ----------
    path : Path
        The month's file.
    contract : Contract
    derive : callable
        The domain's ``derive_columns``.
    work : callable
        Takes the contract's columns of one batch; runs on several threads, so it may share nothing.
    chunks : sequence of list of int, optional
        Some of what `list_chunks` gives, by default all. No batch reaches over a chunk's end.

    Yields
    ------
    What ``work`` returns, a batch at a time.

    Raises
    ------
    ContractError
        If the file cannot be read as the contract says.
    """
    file = open_month(path)
    chunks = list_chunks(path) if chunks is None else chunks
    spelled = match_columns(contract, file.schema_arrow, path.name)
    kinds = {column.name: column.type for column in contract.columns}

    def read(batch: pa.RecordBatch) -> Result:
        columns = {name: _read_array(batch.column(own), kinds[name]) for name, own in spelled.items()}
        return work({**columns, **derive(columns)})

    # glibc gives freed blocks back to the system, which clears every page anew for the next batch, until it has seen
    # a larger block freed. One that is never touched costs nothing and saves a fifth of the work.
    np.empty(1 << 24, np.uint8)
    cores = count_threads()
    try:
        with ThreadPoolExecutor(cores + 1) as pool:
            pending: deque = deque()
            batches = chain.from_iterable(
                file.iter_batches(BATCH_ROWS, row_groups=chunk, columns=list(spelled.values())) for chunk in chunks
            )
            # The next batch is decoded while the ones before it are worked on and written.
            upcoming = pool.submit(next, batches, None)
            while (batch := upcoming.result()) is not None:
                upcoming = pool.submit(next, batches, None)
                pending.append(pool.submit(read, batch))
                if len(pending) > cores:
                    yield pending.popleft().result()
            yield from (future.result() for future in pending)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise ContractError(f"{path.name} breaks off: {' '.join(str(error).split())} Get the file again.") from error
