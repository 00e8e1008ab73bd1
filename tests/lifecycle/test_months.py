"""Month files of every vintage give the same columns; one that cannot is refused in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from readings import CONTRACT, NAME, derive_columns, generate_month, write_month

from lifecycle.data import months as months_module
from lifecycle.data.contract import read_contract
from lifecycle.data.months import (
    SAMPLE_MARK,
    file_name,
    is_sample,
    list_chunks,
    list_months,
    map_batches,
    match_columns,
    month_bounds,
    open_month,
)
from lifecycle.errors import ContractError, MisuseError

READINGS = read_contract(CONTRACT)
AT = ["2024-02-03T10:00:00", None, "2024-02-03T10:00:00.000001"]
ENDED = ["2024-02-03T10:00:30", "2024-02-03T10:00:30", None]


def make_times(values, kind):
    """Make an arrow array of times."""
    return pa.array(np.array(["NaT" if value is None else value for value in values], "M8[us]")).cast(kind)


# The same rows as files of different years hold them.
VINTAGES = {
    "nanoseconds, doubles and an unread column of nothing": pa.table(
        {
            "begun_at": make_times(AT, pa.timestamp("ns")),
            "size": pa.array([1.0, None, 3.0], pa.float64()),
            "kind": pa.array(["fine", None, "coarse"], pa.string()),
            "ended": make_times(ENDED, pa.timestamp("ns")),
            "fee": pa.nulls(3),
        }
    ),
    "microseconds, small integers and large strings": pa.table(
        {
            "begun_at": make_times(AT, pa.timestamp("us")),
            "size": pa.array([1, None, 3], pa.int32()),
            "kind": pa.array(["fine", None, "coarse"], pa.large_string()),
            "ended": make_times(ENDED, pa.timestamp("us")),
        }
    ),
    "another spelling, another case, another order, dictionaries": pa.table(
        {
            "Ended": make_times(ENDED, pa.timestamp("us")),
            "KIND": pa.array(["fine", None, "coarse"]).dictionary_encode(),
            "Size": pa.array([1, None, 3], pa.int64()),
            "start_time": make_times(AT, pa.timestamp("us")),
        }
    ),
    "decimals and single precision times": pa.table(
        {
            "begun_at": make_times(AT, pa.timestamp("us")),
            "size": pa.array([1, None, 3], pa.float32()).cast(pa.decimal128(9, 2)),
            "kind": pa.array(["fine", None, "coarse"]),
            "ended": make_times(ENDED, pa.timestamp("us")),
        }
    ),
}


def write_table(folder, table, **options):
    """Write a table as a month of February."""
    path = Path(folder) / NAME.format(month="2024-02")
    pq.write_table(table, path, **options)
    return path


def read_columns(path):
    """Stream a month and put its batches together."""
    batches = list(map_batches(path, READINGS, derive_columns, dict))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_months_are_listed_oldest_first_and_nothing_else(tmp_path) -> None:
    for month in ("2024-10", "2023-12", "2024-02"):
        write_month(tmp_path, month)
    for name in ("readings_2024-01.parquet.tmp", "other_2024-01.parquet", "readings_latest.parquet", ".gitignore"):
        (tmp_path / name).touch()

    listed = list_months(tmp_path, NAME)

    assert list(listed) == ["2023-12", "2024-02", "2024-10"]
    assert listed["2023-12"] == tmp_path / "readings_2023-12.parquet"


def test_dot_in_the_name_is_a_dot(tmp_path) -> None:
    (tmp_path / "readings_2024-01xparquet").touch()

    assert not list_months(tmp_path, NAME)
    assert not list_months(tmp_path / "absent", NAME)


@pytest.mark.parametrize("source", ["a/b/x_{month}.parquet", "https://host/b/x_{month}.parquet", "x_{month}.parquet"])
def test_name_is_the_last_part_of_the_source(source) -> None:
    assert file_name(source) == "x_{month}.parquet"


@pytest.mark.parametrize("source", ["https://host/{month}/x.parquet", "folder", ""])
def test_source_without_the_month_in_its_last_part_is_refused(source) -> None:
    with pytest.raises(MisuseError, match=rf"^ingest\.source is '{source}'; expected {{month}} in its last part\.$"):
        file_name(source)


@pytest.mark.parametrize(
    ("month", "start", "end"),
    [("2024-02", "2024-02-01", "2024-03-01"), ("2023-12", "2023-12-01", "2024-01-01")],
)
def test_month_ends_where_the_next_one_starts(month, start, end) -> None:
    assert month_bounds(month) == (np.datetime64(start, "us"), np.datetime64(end, "us"))


@pytest.mark.parametrize("vintage", VINTAGES)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_vintages_give_the_same_columns(vintage, compression, tmp_path) -> None:
    columns = read_columns(write_table(tmp_path, VINTAGES[vintage], compression=compression))

    assert {name: values.dtype for name, values in columns.items()} == {
        "at": "M8[us]",
        "size": "f8",
        "kind": "O",
        "ended": "M8[us]",
        "seconds": "f8",
    }
    np.testing.assert_array_equal(columns["at"], np.array([AT[0], "NaT", AT[2]], "M8[us]"))
    np.testing.assert_array_equal(columns["size"], [1, np.nan, 3])
    assert columns["kind"].tolist() == ["fine", None, "coarse"]
    np.testing.assert_array_equal(columns["seconds"], [30, np.nan, np.nan])


def test_columns_without_any_value_are_missing_everywhere(tmp_path) -> None:
    empty = pa.table({name: pa.nulls(2) for name in ("begun_at", "size", "kind", "ended")})

    columns = read_columns(write_table(tmp_path, empty))

    assert np.isnat(columns["at"]).all() and np.isnan(columns["size"]).all()
    assert columns["kind"].tolist() == [None, None]


def test_first_accepted_spelling_is_taken_where_a_file_has_two() -> None:
    schema = pa.schema([("Start_Time", pa.timestamp("us")), *generate_month("2024-02", 1, 1).schema])

    assert match_columns(READINGS, schema, "x.parquet")["at"] == "begun_at"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("size", "has no column size; the contract needs it as size"),
        ("begun_at", "has no column begun_at or Start_Time; the contract needs it as at"),
    ],
)
def test_missing_column_is_told_with_its_spellings(column, message, tmp_path) -> None:
    path = write_table(tmp_path, generate_month("2024-02", 5, 1).drop_columns(column))

    with pytest.raises(ContractError, match=rf"^readings_2024-02\.parquet {message}"):
        read_columns(path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("size", pa.array(["1", "2"]), "column size holds string; the contract expects a number as size"),
        ("size", pa.array([True, False]), "column size holds bool; the contract expects a number"),
        ("size", make_times(AT[:2], "timestamp[us]"), r"size holds timestamp\[us\]; the contract expects a number"),
        ("kind", pa.array([1, 2]), "column kind holds int64; the contract expects a text as kind"),
        ("begun_at", pa.array(["2024-02-03", ""]), "begun_at holds string; the contract expects a timestamp as at"),
        ("ended", pa.array([1, 2]), "column ended holds int64; the contract expects a timestamp"),
    ],
)
def test_column_of_a_type_that_cannot_mean_it_is_refused(column, values, message, tmp_path) -> None:
    table = generate_month("2024-02", 2, 1)
    path = write_table(tmp_path, table.set_column(table.schema.names.index(column), column, values))

    with pytest.raises(ContractError, match=message):
        read_columns(path)


@pytest.mark.parametrize("kept", [0, 4, 500, -1])
def test_file_that_is_empty_or_cut_off_is_refused(kept, tmp_path) -> None:
    path = write_month(tmp_path, "2024-02")
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(ContractError) as refused:
        read_columns(path)

    refused.match(
        rf"^{path.name} \({path.stat().st_size:,} bytes\) is no complete parquet file; .*Get the file again"
    )
    assert "\n" not in str(refused.value)


def test_file_with_a_damaged_page_is_refused(tmp_path) -> None:
    path = write_table(tmp_path, generate_month("2024-02", 5000, 1), compression="gzip")
    content = bytearray(path.read_bytes())
    content[2000:3000] = bytes(1000)
    path.write_bytes(content)

    with pytest.raises(ContractError, match=rf"^{path.name} breaks off: .*Get the file again\.$"):
        read_columns(path)


def test_stream_of_several_batches_keeps_the_order_and_is_the_whole(tmp_path, monkeypatch) -> None:
    table = generate_month("2024-02", 1000, 1)
    path = write_table(tmp_path, table, row_group_size=300)
    monkeypatch.setattr(months_module, "BATCH_ROWS", 64)

    batches = list(map_batches(path, READINGS, derive_columns, lambda columns: columns["size"]))

    assert len(batches) > 10
    np.testing.assert_array_equal(np.concatenate(batches), table["size"].to_numpy())


def test_stream_holds_few_batches_at_a_time(tmp_path, monkeypatch) -> None:
    path = write_table(tmp_path, generate_month("2024-02", 4000, 1), row_group_size=100)
    monkeypatch.setattr(months_module, "BATCH_ROWS", 100)
    begun = []

    stream = map_batches(path, READINGS, derive_columns, lambda columns: begun.append(len(columns["size"])))
    next(stream)

    assert len(begun) < 20
    assert len(list(stream)) == 39


def test_sample_is_told_by_its_mark(tmp_path) -> None:
    table = generate_month("2024-02", 5, 1)
    real = write_table(tmp_path, table)
    assert not is_sample(real)

    assert is_sample(write_table(tmp_path, table.replace_schema_metadata({SAMPLE_MARK: b"yes"})))


def test_opening_what_is_not_there_is_a_contract_error(tmp_path) -> None:
    with pytest.raises(ContractError, match=r"^absent\.parquet \(0 bytes\) is no complete parquet file"):
        open_month(tmp_path / "absent.parquet")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    table = generate_month("2024-02", 2, 1)
    bad = pa.array([b"\xff", b"\xfe"], pa.binary()).view(pa.string())
    path = write_table(tmp_path, table.set_column(table.schema.names.index("kind"), "kind", bad))

    with pytest.raises(ContractError, match=rf"^{path.name} breaks off: .*utf-8"):
        read_columns(path)


def test_file_of_a_month_that_no_year_has_is_no_month(tmp_path: Path) -> None:
    (tmp_path / NAME.format(month="2024-13")).touch()

    assert not list_months(tmp_path, NAME)


@pytest.mark.parametrize(
    ("group_rows", "chunks"), [(1000, [[0]]), (300, [[0, 1], [2, 3]]), (400, [[0, 1], [2]]), (500, [[0], [1]])]
)
def test_small_row_groups_are_read_together(
    group_rows: int, chunks: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(months_module, "CHUNK_ROWS", 500)
    path = tmp_path / "month.parquet"
    pq.write_table(generate_month("2024-02", 1000, 1), path, row_group_size=group_rows)

    assert list_chunks(path) == chunks
    parts = [map_batches(path, READINGS, derive_columns, lambda columns: columns["size"], [part]) for part in chunks]
    whole = map_batches(path, READINGS, derive_columns, lambda columns: columns["size"])
    assert [list(batch) for part in parts for batch in part] == [list(batch) for batch in whole]
