"""How fast ``prepare`` is, and how much memory it takes."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lifecycle.data.contract import Contract, read_contract
from lifecycle.data.months import file_name, match_columns
from lifecycle.params import Params
from lifecycle.paths import TRAIN
from lifecycle.prepare import prepare_months
from lifecycle.seam import Domain
from tests.bench.line import Line

ROWS = 3_000_000
# Repeated to make a month: drawing millions of rows would take longer than to measure them.
DRAWN_ROWS = 250_000
ROUNDS = 100
SLOW_ROUNDS = 3
# A process of its own in between, because a child's peak starts with that of the process that started it.
WATCH = """
import os, subprocess, sys
process = subprocess.Popen([sys.executable, "-m", "lifecycle.prepare"], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def write_month(path: Path, month: str, rows: int, params: Params) -> None:
    """Write a synthetic month of any size, in row groups of pyarrow's default size."""
    drawn = params.load_domain().generate_month(month, min(rows, DRAWN_ROWS), params.sample.seed)
    pq.write_table(pa.concat_tables([drawn] * (rows // len(drawn))), path)


def measure_seconds(action: Callable[[], object]) -> float:
    """Time an action."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_speed(folder: Path, params: Params, slow_way: Callable[[Path], object] | None) -> Iterator[Line]:
    """Compare prepare with merely decoding the same columns, and with a slow way to do the same."""
    month = params.sample.months[0]
    path = folder / file_name(params.ingest.source).format(month=month)
    write_month(path, month, ROWS, params)
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    columns = list(match_columns(contract, pq.read_schema(path), path.name).values())
    # What else runs on the machine only ever adds time, so the least disturbed run of each is compared.
    rounds = []
    for _ in range(ROUNDS):
        decoded = measure_seconds(lambda: pq.read_table(path, columns=columns))
        rounds.append((decoded, measure_preparing(path, month, contract, domain)))
    decoded, prepared = map(min, zip(*rounds, strict=True))
    note = f"{ROWS / prepared / 1e6:.1f} M rows/s; {ROWS / 1e6:.0f} M rows, {len(columns)} columns"
    yield Line("prepare: speed, of merely decoding the same columns", decoded / prepared, floor=0.4, note=note)
    if slow_way:
        slow = min(measure_seconds(lambda: slow_way(path)) for _ in range(SLOW_ROUNDS))
        note = f"{ROWS / slow / 1e6:.3f} M rows/s with pandas and DictVectorizer, on the same file"
        yield Line("prepare: speed, in times of the course's way", slow / prepared, floor=90, note=note)


def measure_preparing(path: Path, month: str, contract: Contract, domain: Domain) -> float:
    """Time the preparation of a month into an empty folder, as DVC starts it."""
    (TRAIN / f"{month}.arrow").unlink(missing_ok=True)
    return measure_seconds(lambda: list(prepare_months({month: path}, {month: "train"}, contract, domain)))


def measure_memory(folder: Path, params: Params) -> Iterator[Line]:
    """Run the stage over 3 and over 12 months in processes of their own, and compare their peak memory."""
    name = file_name(params.ingest.source)
    months = [f"2020-{month:02d}" for month in range(1, 13)]
    (folder / "data").mkdir()
    (folder / "src").symlink_to(Path("src").resolve())
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["prepare"] = {"train_months": 11, "test_months": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    peaks = {}
    for count in (3, 12):
        for month in months[:count]:
            path = folder / "data" / name.format(month=month)
            if not path.exists():
                write_month(path, month, ROWS, params)
        peaks[count] = measure_peak(folder)
    note = f"12 months of {ROWS / 1e6:.0f} M rows"
    yield Line("prepare: peak memory, MB", peaks[12], ceiling=700, note=note)
    yield Line("prepare: peak memory of 12 months, of that of 3", peaks[12] / peaks[3], ceiling=1.2)


def measure_peak(folder: Path) -> float:
    """Run prepare in a folder; return its largest resident set in MB."""
    done = subprocess.run([sys.executable, "-c", WATCH], cwd=folder, capture_output=True, text=True, check=True)
    # Linux counts kilobytes, macOS bytes.
    return int(done.stdout) / (1e3 if sys.platform == "linux" else 1e6)
