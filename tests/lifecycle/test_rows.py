"""Prepared rows come back in order of time, from all files of a folder."""

import numpy as np
import pyarrow as pa
import pytest

from lifecycle.data.rows import Sample, draw_rows, read_rows
from lifecycle.errors import MisuseError


def write_rows(path, times, columns=None):
    """Write an Arrow file as ``prepare`` does; the target is the minute of the time."""
    time = np.array([f"2024-02-03T10:{minute:02}" for minute in times], "M8[us]")
    values = {"time": time, "target": np.array(times, np.float32)}
    values["features"] = pa.StructArray.from_arrays(
        [pa.array(times, pa.float32()), pa.array(times, pa.float32())], "ab"
    )
    if columns:
        values["columns"] = pa.StructArray.from_arrays(
            [pa.array(column) for column in columns.values()], list(columns)
        )
    batch = pa.RecordBatch.from_pydict(values)
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)


def test_rows_of_all_files_come_in_order_of_time(tmp_path) -> None:
    write_rows(tmp_path / "2.arrow", [7, 5], {"kind": ["x", None], "size": [1.5, None]})
    write_rows(tmp_path / "1.arrow", [6, 9, 1], {"kind": ["y", "z", "w"], "size": [2.5, 3.5, 4.5]})

    rows = read_rows(tmp_path)

    assert rows.features == ("a", "b")
    np.testing.assert_array_equal(rows.y, [1, 5, 6, 7, 9])
    np.testing.assert_array_equal(rows.X, np.column_stack([rows.y, rows.y]))
    assert rows.X.dtype == np.float32
    assert rows.columns["kind"].tolist() == ["w", None, "y", "x", "z"]
    np.testing.assert_array_equal(rows.columns["size"], [4.5, np.nan, 2.5, 1.5, 3.5])
    assert np.all(np.diff(rows.time) > np.timedelta64(0))


def test_rows_of_the_same_time_keep_the_order_of_the_files(tmp_path) -> None:
    # Enough of them that a sort that is not stable shows.
    write_rows(tmp_path / "1.arrow", [5] * 100, {"n": range(100)})
    write_rows(tmp_path / "2.arrow", [5] * 100, {"n": range(100, 200)})

    assert read_rows(tmp_path).columns["n"].tolist() == list(range(200))


def test_training_rows_have_no_columns(tmp_path) -> None:
    write_rows(tmp_path / "1.arrow", [5])

    assert not read_rows(tmp_path).columns


@pytest.mark.parametrize("folder", ["", "absent"])
def test_folder_without_rows_says_how_to_make_them(folder, tmp_path) -> None:
    with pytest.raises(MisuseError, match=r"is empty; expected prepared rows\. Make them with: make pipeline$"):
        read_rows(tmp_path / folder)


@pytest.mark.parametrize(("total", "count"), [(100, 1), (100, 99), (7, 3), (1_000_003, 1000)])
def test_drawn_rows_are_one_of_each_of_equal_stretches(total: int, count: int) -> None:
    rows = draw_rows(total, count, 0)

    assert rows.shape == (count,)
    stretches = np.arange(count + 1) * total // count
    assert np.all(stretches[:-1] <= rows) and np.all(rows < stretches[1:])
    assert np.array_equal(rows, draw_rows(total, count, 0))


def test_every_row_is_drawn_equally_often() -> None:
    drawn = np.bincount(np.concatenate([draw_rows(10, 4, seed) for seed in range(4000)]), minlength=10)

    # Stretches of two and of three rows.
    assert np.all(np.abs(drawn / 4000 - np.array([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3] * 2)) < 0.04)


def test_sample_holds_the_drawn_rows_of_all_files_in_order_of_time(tmp_path) -> None:
    write_rows(tmp_path / "1.arrow", range(30))
    write_rows(tmp_path / "2.arrow", range(30, 60))

    sampled, whole = read_rows(tmp_path, Sample(12, 3)), read_rows(tmp_path, Sample(60, 3))

    np.testing.assert_array_equal(sampled.y, draw_rows(60, 12, 3))
    np.testing.assert_array_equal(sampled.X[:, 0], sampled.y)
    np.testing.assert_array_equal(whole.y, range(60))
    assert len(read_rows(tmp_path, Sample(None, 3)).y) == 60
