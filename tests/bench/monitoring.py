"""How fast the monitor reads a log, how much memory that takes, and what it says of real months."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from lifecycle.data.months import file_name
from lifecycle.params import Params, read_params
from lifecycle.paths import ONNX
from lifecycle.predictor import load_predictor
from lifecycle.repository import require_revision
from rehearsal.life.model import Repository
from rehearsal.remote import make_remote
from rehearsal.replay import Replay, ask, read_month
from tests.bench.line import Line
from tests.bench.preparing import measure_seconds, write_month

LINES, DAYS = 10_000_000, 25
# As many lines are asked of the handler; they come again under other ids.
ASKED = 5_000
# One line in ten has a label.
LABELLED = 0.1
# A process of its own in between, because a child's peak starts with that of the process that started it.
WATCH = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen([sys.executable, "-m", "lifecycle.monitor", *sys.argv[1:]], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
WRITE = """
copy (select {text} from range({rows}) as ids(n) join line on line.number = n % {asked} {where})
to '{path}' (format csv, header false, delimiter '\x01', quote '', escape '', compression gzip)
"""
ID = "concat('{day}-', n)"
TIME = "concat('2024-12-{day:02d}T', lpad((n % 24)::VARCHAR, 2, '0'), ':30:00.000+00:00')"


def write_log(folder: Path, params: Params, lines: int = LINES) -> None:
    """Write a log of the handler's lines, many times over under fresh ids, and labels."""
    month = folder / "month.parquet"
    write_month(month, params.sample.months[-1], ASKED, params)
    domain = params.load_domain()
    version = require_revision("HEAD")[:7]
    with duckdb.connect() as database:
        database.execute("create table line (number BIGINT, text VARCHAR)")
        asked = list(ask(read_month(month, domain), "bench"))
        texts = [
            json.dumps({**line, "request_id": "@id", "row": 0, "time": "@time", "model_version": version})
            for line in asked
        ]
        database.execute("insert into line select unnest(range(len($texts))), unnest($texts)", {"texts": texts})
        for day in range(1, DAYS + 1):
            shared = {"rows": lines // DAYS, "asked": len(texts)}
            name, time = ID.format(day=day), TIME.format(day=day)
            line = f"replace(replace(text, '@id', {name}), '@time', {time})"
            label = (
                f"""concat('{{"request_id": "', {name}, '", "time": "', {time}, '", "label": ', 5 + n % 20, '}}')"""
            )
            for kind, text, where in (
                ("predictions", line, ""),
                ("labels", label, f"where n % {round(1 / LABELLED)} = 0"),
            ):
                path = folder / kind / f"day=2024-12-{day:02d}" / "a.gz"
                path.parent.mkdir(parents=True)
                database.execute(WRITE.format(text=text, path=path, where=where, **shared))


def read_merely(folder: Path) -> None:
    """Read the predictions' lines with pyarrow, and do nothing with them."""
    for path in sorted((folder / "predictions").rglob("*.gz")):
        with pa.input_stream(str(path), compression="gzip") as stream:
            for _ in pj.open_json(stream):
                pass


def measure_monitor(params: Params) -> Iterator[Line]:
    """Monitor ten million lines, and read them with pyarrow."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, params)
        command = [sys.executable, "-c", WATCH, "--until", "2024-12-26T00:00Z"]
        addresses = [f"--{kind}={folder / kind}" for kind in ("predictions", "labels")]
        done = subprocess.run([*command, *addresses], capture_output=True, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        merely = measure_seconds(lambda: read_merely(folder))
    # Linux counts kilobytes, macOS bytes.
    peak_mb = peak / (1e3 if sys.platform == "linux" else 1e6)
    note = f"{LINES / 1e6:.0f} M lines, {LABELLED:.0%} of them with a label"
    yield Line("monitor: peak memory, MB", peak_mb, ceiling=700, note=note)
    note = f"{LINES / seconds / 1e3:.0f} thousand lines/s; pyarrow merely reads {LINES / merely / 1e3:.0f} thousand/s"
    yield Line("monitor: speed, of pyarrow merely reading the lines", merely / seconds, note=note)


def measure_months(folder: Path, source: Path, trained: Sequence[str], watched: Sequence[str]) -> Iterator[Line]:
    """Train on real months, replay later ones, and hold the monitor's error against that from the file itself."""
    repository, params = Repository(make_remote(Path.cwd(), folder).clone), read_params()
    repository.must_run("lifecycle.pull")
    repository.must_run("lifecycle.ingest", "--months", ",".join(trained), "--source", str(source))
    repository.must_run("lifecycle.reproduce")
    # Each log holds one month, whose rows say themselves when they were asked; then come the labels.
    repository.commit({"monitor": {"window_days": 40, "max_silence_hours": 72}}, "Train on real months")
    for month in watched:
        path = source / file_name(params.ingest.source).format(month=month)
        replay = read_month(path, params.load_domain())
        direct = measure_directly(replay, repository.folder / ONNX, params)
        report = watch(repository, path, folder / month, replay)
        (judged,) = [version for version in report["versions"] if version["judged"]]
        live = judged["metrics"][report["metric"]]
        drifted = [drift["name"] for drift in report["drift"] if drift["drifted"]]
        note = f"{report['verdict']}: {live['value']:.4g}, from the file {direct:.4g}, tested {live['tested']:.4g}"
        note = f"{note}; {len(replay.target):,} rows; drift of {', '.join(drifted) or 'nothing'}"
        what = f"monitor: error on {month} after {trained[-1]}, off that from the file"
        yield Line(what, abs(live["value"] / direct - 1), ceiling=1e-4, note=note)


def measure_directly(replay: Replay, model: Path, params: Params) -> float:
    """Compute a model's root mean squared error on a month, without a log and without the monitor."""
    features = params.load_domain().compute_features(replay.columns)
    X = np.column_stack(list(features.values())).astype(np.float32)
    gaps = load_predictor(model).predict(X) - replay.target.astype(np.float32)
    return float(np.sqrt(np.mean(gaps**2)))


def watch(repository: Repository, path: Path, log: Path, replay: Replay) -> dict[str, Any]:
    """Replay a month into a log, and monitor it two days after its last request, when all labels are there."""
    repository.must_run("rehearsal.replay", str(path), str(log))
    until = str(np.datetime_as_string(replay.time[-1] + np.timedelta64(2, "D"), unit="s"))
    addresses = (f"--predictions={log / 'predictions'}", f"--labels={log / 'labels'}")
    repository.must_run("lifecycle.monitor", *addresses, "--until", until)
    report: dict[str, Any] = json.loads((repository.folder / "out/monitor.json").read_text(encoding="utf-8"))
    return report
