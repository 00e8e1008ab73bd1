"""How long Explore takes beside ``prepare`` over the same months, and how much memory."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from lifecycle.data.months import file_name
from lifecycle.params import Params
from lifecycle.paths import DATA, ONNX
from tests.bench.line import Line
from tests.bench.preparing import ROWS, write_month

MONTHS = 4
ROUNDS = 3
# A process of its own in between, because a child's peak starts with that of the process that started it.
WATCH = """
import os, subprocess, sys, time
start = time.perf_counter()
command, nowhere = [sys.executable, "-m", *sys.argv[1:]], subprocess.DEVNULL
process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure_explore(folder: Path, params: Params) -> Iterator[Line]:
    """Run both commands over the same months in turns, with the model of this repository; compare the quickest runs.

    Parameters
    ----------
    folder : Path
        An empty folder inside the repository.
    params : Params
    """
    (folder / "src").symlink_to(Path("src").resolve())
    (folder / DATA).mkdir()
    (folder / ONNX).parent.mkdir()
    shutil.copy(ONNX, folder / ONNX)
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["prepare"] = {"train_months": MONTHS - 1, "test_months": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    peaks = {}
    for months in (1, MONTHS):
        for month in range(1, months + 1):
            path = folder / DATA / file_name(params.ingest.source).format(month=f"2020-{month:02d}")
            if not path.exists():
                write_month(path, f"2020-{month:02d}", ROWS, params)
        _, peaks[months] = watch(folder, "lifecycle.explore")
    seconds = [[watch(folder, f"lifecycle.{name}")[0] for name in ("prepare", "explore")] for _ in range(ROUNDS)]
    prepared, explored = map(min, zip(*seconds, strict=True))
    note = f"{explored:.1f} s and {prepared:.1f} s; {MONTHS} months of {ROWS / 1e6:.0f} M rows"
    yield Line("explore: time, in times of prepare's", explored / prepared, ceiling=5, note=note)
    yield Line("explore: peak memory, MB", peaks[MONTHS], ceiling=1000, note=note.partition("; ")[2])
    yield Line(f"explore: peak memory of {MONTHS} months, of that of 1", peaks[MONTHS] / peaks[1], ceiling=1.2)


def watch(folder: Path, module: str) -> tuple[float, float]:
    """Run a module in a folder; return its seconds and its largest resident set in MB."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, module], cwd=folder, capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, done.stdout.split())
    # Linux counts kilobytes, macOS bytes.
    return seconds, peak / (1e3 if sys.platform == "linux" else 1e6)
