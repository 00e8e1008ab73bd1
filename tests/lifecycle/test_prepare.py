"""Prepared rows: the clean ones, all of them, in their part; the others counted by reason."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from readings import NAME, generate_month, write_month, write_params

from lifecycle import prepare
from lifecycle.data import months as months_module
from lifecycle.data.months import SAMPLE_MARK
from lifecycle.data.rows import read_rows
from lifecycle.errors import ContractError, MisuseError
from lifecycle.params import PrepareParams
from lifecycle.paths import ROWS, TEST, TRAIN

DATA = Path("data")


pytestmark = pytest.mark.usefixtures("readings_folder")


def write_dirty_month(month, seed=1, rows=400):
    """Write a month with some of each kind of dirt, and give it as a table of pandas."""
    table = generate_month(month, rows, seed).to_pandas()
    table.loc[5:14, "size"] = -1.0
    table.loc[10:19, "size"] = 101.0
    table.loc[12:21, "begun_at"] += pd.Timedelta(days=40)
    table.loc[30:34, "kind"] = "odd"
    table.loc[33:36, "ended"] = pd.NaT
    table.loc[50:59, "ended"] = table["begun_at"][50:60] + pd.Timedelta(hours=1)
    table.loc[390:399, "size"] = np.nan
    DATA.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), DATA / NAME.format(month=month))
    return table


def clean_plainly(table, month):
    """Give the clean rows as anyone would with pandas."""
    start = pd.Timestamp(month)
    seconds = (table["ended"] - table["begun_at"]).dt.total_seconds()
    clean = (
        (table["begun_at"] >= start)
        & (table["begun_at"] < start + pd.DateOffset(months=1))
        & table["size"].between(0, 100)
        & (table["kind"].isna() | table["kind"].isin(["coarse", "fine"]))
        & seconds.between(1, 60)
    )
    return table.assign(seconds=seconds)[clean]


def write_months(*months):
    """Write clean months."""
    for month in months:
        write_month(DATA, month)


def read_counts():
    """Read what became of the rows."""
    return json.loads(ROWS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("batch_rows", [37, 1 << 17])
def test_clean_rows_are_those_of_a_plain_computation(batch_rows, monkeypatch) -> None:
    monkeypatch.setattr(months_module, "BATCH_ROWS", batch_rows)
    write_months("2024-01")
    expected = clean_plainly(write_dirty_month("2024-02"), "2024-02").sort_values("begun_at", kind="stable")

    prepare.main()

    rows = read_rows(TEST)
    assert rows.features == ("size", "is_fine")
    assert rows.X.dtype == rows.y.dtype == np.float32
    np.testing.assert_array_equal(rows.time, expected["begun_at"].to_numpy("M8[us]"))
    np.testing.assert_array_equal(rows.y, expected["seconds"].to_numpy(np.float32))
    np.testing.assert_array_equal(rows.X[:, 0], expected["size"].to_numpy(np.float32))
    np.testing.assert_array_equal(rows.X[:, 1], expected["kind"].eq("fine"))
    np.testing.assert_array_equal(rows.columns["size"], expected["size"])
    assert (
        rows.columns["kind"].tolist()
        == expected["kind"].astype(object).where(expected["kind"].notna(), None).tolist()
    )


def test_rows_left_out_are_counted_by_their_first_reason_and_add_up() -> None:
    write_months("2024-01")
    expected = clean_plainly(write_dirty_month("2024-02"), "2024-02")

    prepare.main()

    counts = read_counts()
    assert counts["2024-01"] == {"part": "train", "synthetic": False, "rows": 40, "clean": 40, "left_out": {}}
    assert counts["2024-02"]["left_out"] == {
        "at outside the file's month": 10,
        "size missing": 10,
        "size below 0": 5,
        "size above 100": 2,
        "kind none of its values": 5,
        "ended missing": 2,
        "seconds above 60": 10,
    }
    assert counts["2024-02"]["rows"] == 400
    assert counts["2024-02"]["clean"] == len(expected) == 400 - sum(counts["2024-02"]["left_out"].values())


def test_newest_months_are_the_test_set_and_the_ones_before_them_the_training_set(tmp_path) -> None:
    write_params(tmp_path, {"prepare": {"train_months": 2, "test_months": 1}})
    write_months("2023-11", "2023-12", "2024-01", "2024-02")

    prepare.main()

    assert {month: count["part"] for month, count in read_counts().items()} == {
        "2023-12": "train",
        "2024-01": "train",
        "2024-02": "test",
    }
    assert sorted(path.name for path in TRAIN.iterdir()) == ["2023-12.arrow", "2024-01.arrow"]
    assert [path.name for path in TEST.iterdir()] == ["2024-02.arrow"]
    assert read_rows(TRAIN).time.max() < read_rows(TEST).time.min()


@pytest.mark.parametrize(
    ("months", "train", "test", "parts"),
    [
        ("abcd", 2, 1, {"b": "train", "c": "train", "d": "test"}),
        ("abcd", 9, 2, {"a": "train", "b": "train", "c": "test", "d": "test"}),
        ("ab", 1, 1, {"a": "train", "b": "test"}),
    ],
)
def test_split_takes_as_many_months_as_there_are(months, train, test, parts) -> None:
    assert prepare.split_by_time(list(months), PrepareParams(train_months=train, test_months=test)) == parts


@pytest.mark.parametrize(("months", "test"), [("", 1), ("a", 1), ("ab", 2), ("ab", 3)])
def test_split_that_leaves_nothing_to_train_on_is_misuse(months, test) -> None:
    with pytest.raises(
        MisuseError, match=rf"^data/ holds {len(months)} month\(s\) and prepare\.test_months is {test}; "
    ):
        prepare.split_by_time(list(months), PrepareParams(train_months=1, test_months=test))


def test_only_the_test_set_keeps_the_columns_that_a_request_has() -> None:
    write_months("2024-01", "2024-02")

    prepare.main()

    assert not read_rows(TRAIN).columns
    assert list(read_rows(TEST).columns) == ["at", "size", "kind"]


def test_same_months_give_the_same_bytes_in_another_folder(tmp_path, monkeypatch) -> None:
    prints = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_params(Path())
        write_dirty_month("2024-01")
        write_dirty_month("2024-02", seed=2)
        prepare.main()
        files = [*TRAIN.iterdir(), *TEST.iterdir(), ROWS]
        prints.append({str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})

    assert len(prints[0]) == 3
    assert prints[0] == prints[1]


def test_month_that_breaks_the_contract_stops_the_stage() -> None:
    write_months("2024-01", "2024-02")
    # The rows of one month under the name of another.
    (DATA / NAME.format(month="2024-03")).write_bytes((DATA / NAME.format(month="2024-02")).read_bytes())

    with pytest.raises(
        ContractError, match=r"at breaks the contract in 40 of 40 rows \(100\.0%\), mostly by 'at outs"
    ):
        prepare.main()
    assert not ROWS.exists()


def test_synthetic_months_are_told_apart() -> None:
    write_months("2024-01")
    table = generate_month("2024-02", 40, 1).replace_schema_metadata({SAMPLE_MARK: b"yes"})
    pq.write_table(table, DATA / NAME.format(month="2024-02"))

    prepare.main()

    assert {month: count["synthetic"] for month, count in read_counts().items()} == {
        "2024-01": False,
        "2024-02": True,
    }


@pytest.mark.parametrize(
    "kinds",
    [pa.array([None] * 20 + ["fine"] * 20), pa.array(["fine"] * 20 + [None] * 20), pa.nulls(40, pa.string())],
    ids=["first batch", "last batch", "whole month"],
)
def test_text_that_is_missing_in_a_whole_batch_or_month_is_prepared(
    kinds: pa.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(months_module, "BATCH_ROWS", 10)
    write_months("2024-01", "2024-02")
    table = generate_month("2024-02", 40, 1)
    changed = table.set_column(table.schema.names.index("kind"), "kind", kinds)
    pq.write_table(changed, DATA / NAME.format(month="2024-02"))

    prepare.main()

    assert read_rows(TEST).columns["kind"].tolist() == kinds.to_pylist()


def test_month_without_a_clean_row_has_a_part_that_is_empty():
    batch, counts = pa.record_batch({"size": [1.0]}), np.zeros(1)
    stream = iter([("2024-01", batch, counts), ("2024-01", batch, counts), ("2024-03", batch, counts)])

    parts = [
        (month, len(list(built)))
        for month, built in prepare.split_by_month(stream, ["2024-01", "2024-02", "2024-03"])
    ]

    assert parts == [("2024-01", 2), ("2024-02", 0), ("2024-03", 1)]


def test_part_without_a_row_leaves_no_file(tmp_path):
    assert not list(prepare.write_batches(tmp_path / "part", iter(())))

    assert not (tmp_path / "part").exists()
