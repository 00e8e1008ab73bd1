"""The notebook runs from top to bottom, and never ships."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from domain.sample import generate_month
from lifecycle.bundle import NOT_SHIPPED

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "src/domain/notebook.py"
# What the cells compute, in one line.
COMPUTE = """
from domain.notebook import app
_, found = app.run()
print(found["month"].value, len(found["trips"]), found["trips"]["duration_minutes"].max(), *found["shares"].index)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder with the repository's code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_notebook_computes_every_cell_of_the_newest_month(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for month, rows in (("2024-01", 300), ("2024-02", 2000)):
        pq.write_table(generate_month(month, rows, 3), tmp_path / f"data/trips_{month}.parquet")

    done = run(tmp_path, "-c", COMPUTE)
    month, rows, longest, *shares = done.stdout.split()

    assert done.returncode == 0, done.stderr
    assert month == "2024-02"
    assert 1800 < int(rows) < 2000
    assert float(longest) <= 60
    assert shares[0] == "distance_miles"
    assert "(tried)" in shares


def test_notebook_runs_as_a_script_without_data(tmp_path: Path) -> None:
    done = run(tmp_path, str(NOTEBOOK))

    assert done.returncode == 0, done.stderr


def test_notebook_never_ships() -> None:
    names = [path.name for path in NOTEBOOK.parent.iterdir()]

    left_out = shutil.ignore_patterns(*NOT_SHIPPED)(str(NOTEBOOK.parent), names)

    assert "notebook.py" in left_out
    assert {"contract.py", "features.py", "__init__.py"} <= {*names} - left_out
