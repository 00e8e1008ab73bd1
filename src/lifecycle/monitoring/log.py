"""Read prediction logs and labels into a database of one run, which spills to disk what memory does not hold.

A line counts once, whatever it holds: as a prediction, or under the reason why it is none.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from lifecycle.data.contract import Column, read_contract
from lifecycle.monitoring.files import list_files
from lifecycle.monitoring.insertion import Insertion, insert_files
from lifecycle.params import Params

# Firehose names a day by the arrival of the first line, and a retry may come after midnight.
SLACK = timedelta(days=1)
PREDICTION = {
    "kind": "VARCHAR",
    "request_id": "VARCHAR",
    "row": "INTEGER",
    "time": "TIMESTAMPTZ",
    "model_version": "VARCHAR",
    "model_hash": "VARCHAR",
    "variant": "VARCHAR",
    "prediction": "JSON",
    "latency_ms": "DOUBLE",
    "status": "INTEGER",
    "_aws": {"Timestamp": "BIGINT"},
}
LABEL = {"request_id": "VARCHAR", "row": "INTEGER", "time": "TIMESTAMPTZ", "label": "DOUBLE"}
SETTINGS = """
set memory_limit = '{memory_mb}MB';
set preserve_insertion_order = false;
set timezone = 'UTC';
"""
TABLES = """
create table line (reason VARCHAR, key UBIGINT, request UBIGINT, first BOOLEAN, time TIMESTAMP, version VARCHAR,
    hash VARCHAR, variant VARCHAR, prediction JSON, features {features}, latency_ms FLOAT, status INTEGER);
create table told (reason VARCHAR, key UBIGINT, time TIMESTAMP, label DOUBLE);
"""
INSERT_LINES = """
insert into line
select reason, hash(j.request_id, coalesce(j.row, 0)), hash(j.request_id), coalesce(j.row, 0) = 0, time,
    j.model_version, j.model_hash, j.variant, j.prediction, j.features, j.latency_ms, j.status
from (select *, coalesce(make_timestamp(epoch_us(j.time)), make_timestamp(j._aws.Timestamp * 1000)) as time, case
    when j is null and line like '{{%' then 'log line cut off'
    when j is null or coalesce(j.kind, '') not in ('prediction', 'request', 'fault') then 'log line of the platform'
    when starts_with(j.request_id, '{probe}') then 'request of a deploy'
    when j.kind in ('request', 'fault') then j.kind
    when j.request_id is null or j.time is null or j.model_version is null or j.model_hash is null
        or j.variant is null
        or not coalesce(isfinite(try_cast(j.prediction as DOUBLE)), json_exists(j.prediction, 'probabilities'), false)
        then 'log line lacks a field'
    else 'prediction' end as reason
    from (select line, try(from_json(line, '{structure}')) as j from {lines}) where trim(line) != '')
where time is null or (time > $since and time <= $until)
"""
INSERT_LABELS = """
insert into told
select case
    when j is null then 'label line cut off'
    when j.request_id is null or not coalesce(isfinite(j.label), false) then 'label lacks a field'
    {bounds}
    else 'label' end, hash(j.request_id, coalesce(j.row, 0)), make_timestamp(epoch_us(j.time)), j.label
from (select line, try(from_json(line, '{structure}')) as j from {lines})
where trim(line) != '' and (j.time is null or j.time <= $until)
"""
# The same line may be delivered twice, and a caller may ask again under the same id: the first one counts.
REPEATED = """
create table repeated as
select key, variant, arg_min(rowid, time) as kept, count(*) - 1 as more from line
where reason = 'prediction' group by key, variant having count(*) > 1;
update line set reason = 'log line twice' from repeated
where line.reason = 'prediction' and line.key = repeated.key and line.variant = repeated.variant
    and line.rowid != repeated.kept;
"""
AGREED = """
create table truth as
select key, any_value(label) as label, min(time) as time, count(*) as times, min(label) = max(label) as agreed
from told where reason = 'label' group by key;
create view prediction as select * exclude (reason) from line where reason = 'prediction';
create view pair as
select prediction.*, truth.label, truth.time as labelled_at from prediction left join truth
on prediction.key = truth.key and truth.agreed;
"""


@dataclass(frozen=True)
class Window:
    """Which predictions count: later than ``since``, up to ``until``; both in UTC."""

    since: datetime
    until: datetime


@contextmanager
def open_log(
    predictions: str, labels: str, window: Window, features: Sequence[str], params: Params
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Read predictions and labels, and match them by request and row.

    Parameters
    ----------
    predictions, labels : str
        Addresses, as `lifecycle.monitoring.files.list_files` takes them.
    window : Window
    features : sequence of str
        Names of the features to keep.
    params : Params
        The target's bounds in the contract are the labels'; what ``memory_mb`` does not hold goes to disk.

    Yields
    ------
    DuckDBPyConnection
        Views ``prediction``, a row a prediction (``key``, ``request`` and whether it is its ``first`` row, ``time``,
        ``version``, ``hash`` of the model, ``variant``, ``prediction``, ``features``, ``latency_ms``), and ``pair``,
        the same with ``label`` and ``labelled_at``, which are null without a label that all sources agree on.

    Raises
    ------
    RefusedError
        If there is no such folder or bucket, or no file of several can be read.
    """
    days = (window.since - SLACK).date(), (window.until + SLACK).date()
    files = [list_files(address, *days) for address in (predictions, labels)]
    contract = read_contract(params.load_domain().CONTRACT)
    memory_mb = params.monitor.memory_mb
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/log.db") as log:
        # A structure of nothing is none.
        kept = dict.fromkeys(features or ["none"], "FLOAT")
        columns = ", ".join(f"{quote(name)} {kind}" for name, kind in kept.items())
        setup = SETTINGS.format(memory_mb=memory_mb) + TABLES.format(features=f"STRUCT({columns})")
        log.execute(setup)
        log.execute("create table unreadable (path VARCHAR)")
        bounds = {"since": window.since, "until": window.until}
        structure = PREDICTION | {"features": kept}
        insert_files(log, Insertion(setup, "line", INSERT_LINES, structure, bounds, files[0].system), files[0])
        log.execute(REPEATED)
        statement = INSERT_LABELS.replace("{bounds}", _write_bounds(contract.find_column(contract.target)))
        until = {"until": window.until}
        insert_files(log, Insertion(setup, "told", statement, LABEL, until, files[1].system), files[1])
        log.execute(AGREED)
        yield log


def quote(name: str) -> str:
    """Write a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _write_bounds(target: Column) -> str:
    """Write what the contract says of the target as cases: training and test leave such rows out as well."""
    cases = []
    if target.minimum is not None:
        cases.append(f"when j.label < {target.minimum:g} then 'label below {target.minimum:g}'")
    if target.maximum is not None:
        cases.append(f"when j.label > {target.maximum:g} then 'label above {target.maximum:g}'")
    return " ".join(cases)


def count_left_out(log: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count what was left out by reason: lines of the log and of the labels, labels, and whole files.

    Returns
    -------
    dict of str to int
        The most frequent reasons first.
    """
    counts = log.execute("""
        select reason, count(*) from line where reason not in ('prediction', 'request', 'fault') group by all
        union all select reason, count(*) from told where reason != 'label' group by all
        union all select 'label twice', sum(times - 1)::BIGINT from truth where agreed
        union all select 'labels contradict', sum(times)::BIGINT from truth where not agreed
        union all select 'label of no prediction in the window', count(*) from truth
            where agreed and not exists (select 1 from prediction where prediction.key = truth.key)
        union all select 'file cannot be read', count(*) from unreadable
    """).fetchall()
    return {reason: n for reason, n in sorted(counts, key=lambda row: -(row[1] or 0)) if n}
