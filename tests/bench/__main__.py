"""Run the benchmarks and hold each figure against its limit; exit 1 when one is missed."""

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.params import Params, read_params
from lifecycle.paths import OUT
from tests.bench.clustering import measure_cluster
from tests.bench.exploring import measure_explore
from tests.bench.line import Line
from tests.bench.monitoring import measure_monitor, measure_months
from tests.bench.predicting import measure_prediction, measure_start
from tests.bench.preparing import measure_memory, measure_speed
from tests.bench.reviewing import measure_review
from tests.bench.sampling import measure_sample
from tests.bench.serving import measure_serving
from tests.bench.tracking import measure_tracking

# What is measured, and what it is measured against.
LIBRARIES = ("numpy", "pyarrow", "pandas", "scikit-learn", "onnxruntime")


def measure_all(source: Path | None, params: Params) -> Iterator[Line]:
    """Measure everything, the quick figures first; the task's own yardsticks where it has some."""
    yardsticks = None
    if importlib.util.find_spec("tests.domain.yardsticks"):
        yardsticks = importlib.import_module("tests.domain.yardsticks")
    yield from measure_prediction()
    yield from measure_start()
    yield from measure_sample(params)
    # AWS's runtime client is for Linux alone.
    if importlib.util.find_spec("awslambdaric"):
        with tempfile.TemporaryDirectory() as folder:
            yield from measure_serving(Path(folder), params)
    if yardsticks and source:
        yield from yardsticks.measure_errors(source, params)
        with tempfile.TemporaryDirectory() as folder:
            yield from measure_months(Path(folder), source, yardsticks.TRAINED, yardsticks.WATCHED)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        work = Path.cwd()
        os.chdir(folder)
        Path("out/train").mkdir(parents=True)
        yield from measure_speed(Path(), params, yardsticks and yardsticks.prepare_slowly)
        yield from measure_cluster(Path(), params)
        os.chdir(work)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        yield from measure_memory(Path(folder), params)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        yield from measure_explore(Path(folder), params)
    yield from measure_monitor(params)
    with tempfile.TemporaryDirectory() as folder:
        yield from measure_tracking(Path(folder), params)
    with tempfile.TemporaryDirectory() as folder:
        yield from measure_review(Path(folder))


def main() -> int:
    """Measure, and print a line for each figure as it comes."""
    parser = argparse.ArgumentParser(prog="make bench", description=main.__doc__)
    parser.add_argument(
        "--source", type=Path, help="folder with real months, for the error against published results"
    )
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}")
    print(", ".join(f"{library} {version(library)}" for library in LIBRARIES))
    missed = 0
    for line in measure_all(arguments.source and arguments.source.resolve(), read_params()):
        print(line, flush=True)
        missed += not line.holds
    print(f"load {os.getloadavg()[0]:.1f} at the end; {missed} missed")
    if arguments.source is None:
        print("The error against published results needs real months: make bench SOURCE=folder")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (MisuseError, RefusedError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
