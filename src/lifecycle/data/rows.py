"""Read the prepared rows that the later stages share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lifecycle.errors import MisuseError
from lifecycle.seam import Columns


@dataclass(frozen=True)
class Rows:
    """Prepared rows in order of time; ``columns`` is empty for the training set."""

    features: tuple[str, ...]
    X: np.ndarray
    y: np.ndarray
    time: np.ndarray
    columns: Columns


def read_rows(folder: Path) -> Rows:
    """Read a folder that ``prepare`` wrote.

    Parameters
    ----------
    folder : Path
        out/train or out/test.

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
    table = pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths])
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


def _read_struct(table: pa.Table, name: str) -> Columns:
    """Read the children of a struct column as arrays; none where there is no such column."""
    flat = table.flatten()
    children = [child for child in flat.column_names if child.startswith(f"{name}.")]
    return {child.removeprefix(f"{name}."): flat[child].to_numpy() for child in children}
