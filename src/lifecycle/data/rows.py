"""Read the prepared rows that the later stages share."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lifecycle.errors import MisuseError
from lifecycle.params import TrainParams
from lifecycle.paths import TRAIN
from lifecycle.seam import Columns


@dataclass(frozen=True)
class Rows:
    """Prepared rows in order of time; ``columns`` is empty for the training set."""

    features: tuple[str, ...]
    X: np.ndarray
    y: np.ndarray
    time: np.ndarray
    columns: Columns


@dataclass(frozen=True)
class Sample:
    """How many rows are read at most, None for all, and what draws them."""

    max_rows: int | None
    seed: int


def read_rows(folder: Path, sample: Sample | None = None) -> Rows:
    """Read a folder that ``prepare`` wrote.

    Parameters
    ----------
    folder : Path
        out/train or out/test.
    sample : Sample, optional
        By default all rows are read. Of too many, only those that are drawn are ever held in memory.

    Returns
    -------
    Rows
        ``X`` of shape (n_rows, n_features) and float32, ``y`` and ``time`` of shape (n_rows,).

    Raises
    ------
    MisuseError
        If the folder holds nothing.
    """
    paths = sorted(folder.glob("*.arrow"))
    if not paths:
        raise MisuseError(f"{folder} is empty; expected prepared rows. Make them with: make pipeline")
    batches = [batch for path in paths for batch in _map_file(path)]
    total = sum(batch.num_rows for batch in batches)
    if sample and sample.max_rows and sample.max_rows < total:
        batches = list(_take_rows(batches, draw_rows(total, sample.max_rows, sample.seed)))
    table = pa.Table.from_batches(batches)
    time = table["time"].to_numpy()
    order = np.argsort(time, kind="stable")
    features = _read_struct(table, "features")
    return Rows(
        features=tuple(features),
        X=np.column_stack([values[order] for values in features.values()]),
        y=table["target"].to_numpy()[order],
        time=time[order],
        columns={name: values[order] for name, values in _read_struct(table, "columns").items()},
    )


def read_train(params: TrainParams) -> Rows:
    """Read the training set: of more rows than ``max_rows`` the same sample, whoever asks."""
    return read_rows(TRAIN, Sample(params.max_rows, params.seed))


def _map_file(path: Path) -> Iterator[pa.RecordBatch]:
    """Give the batches of a file without reading them."""
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    return (file.get_batch(index) for index in range(file.num_record_batches))


def draw_rows(total: int, count: int, seed: int) -> np.ndarray:
    """Draw rows that are spread evenly over all: one of each of as many stretches, which are equally long.

    Parameters
    ----------
    total, count : int
        How many there are, and how many are drawn of them.
    seed : int

    Returns
    -------
    ndarray of shape (count,)
        Row numbers in ascending order. Source: stratified sampling with one unit a stratum; Cochran, Sampling
        Techniques, 1977, chapter 5.
    """
    edges = np.arange(count + 1) * total // count
    return edges[:-1] + np.random.default_rng(seed).integers(0, np.diff(edges))


def _take_rows(batches: Iterable[pa.RecordBatch], rows: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Take rows, numbered through all batches, out of each batch."""
    start = 0
    for batch in batches:
        low, high = np.searchsorted(rows, [start, start + batch.num_rows])
        yield batch.take(pa.array(rows[low:high] - start))
        start += batch.num_rows


def _read_struct(table: pa.Table, name: str) -> Columns:
    """Read the children of a struct column as arrays; none where there is no such column."""
    flat = table.flatten()
    children = [child for child in flat.column_names if child.startswith(f"{name}.")]
    return {child.removeprefix(f"{name}."): flat[child].to_numpy() for child in children}
