"""Prediction logs and labels of the smallest task, written line by line."""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.data.profile import profile_values
from lifecycle.monitor import monitor
from lifecycle.monitoring.reference import Reference
from lifecycle.params import read_params
from rehearsal.remote import call_git

START, UNTIL = datetime(2026, 11, 1), datetime(2026, 11, 8)
RNG = np.random.default_rng(0)
SIZES = RNG.uniform(0, 100, 2000)
# What the readings' model predicts is half the probe's size; the truth lies around it.
REFERENCE = Reference(
    {"r2_score": 0.9},
    {"size": profile_values(SIZES), "target": profile_values(SIZES / 2), "prediction": profile_values(SIZES / 2)},
)


def make_line(number: int, size: float = 50, **changes: Any) -> dict[str, Any]:
    """Make a prediction's line; requests come every five minutes."""
    line = {
        "kind": "prediction",
        "request_id": f"id-{number}",
        "row": 0,
        "time": (START + timedelta(minutes=1 + 5 * number)).isoformat(timespec="milliseconds") + "+00:00",
        "model_version": "v1.0.0",
        "model_hash": "0" * 64,
        "variant": "champion",
        "features": {"size": size},
        "prediction": size / 2,
        "latency_ms": 3.5,
    }
    return line | changes


def make_label(number: int, label: Any = 25.0, days: float = 1, **changes: Any) -> dict[str, Any]:
    """Make a label that comes some days after its request."""
    time = START + timedelta(days=days, minutes=1 + 5 * number)
    return {"request_id": f"id-{number}", "row": 0, "time": f"{time.isoformat()}Z", "label": label} | changes


def make_week(
    rows: int = 2000, drift: float = 0, error: float = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Make a week's predictions and labels; ``drift`` moves the sizes, ``error`` the labels."""
    sizes = np.clip(SIZES[:rows] + drift, 0, 100)
    labels = np.clip(sizes / 2 + RNG.normal(0, 4, rows) + error, 1, 60)
    lines = [make_line(number, size) for number, size in enumerate(sizes)]
    return lines, [make_label(number, label) for number, label in enumerate(labels)]


def write_log(folder: Path, lines: list[dict[str, Any] | str], day: str = "2026-11-02", name: str = "a.gz") -> Path:
    """Write lines into a day's file; give the log's folder."""
    path = folder / f"day={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    content = "".join(f"{text}\n" for text in texts).encode("latin-1")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def register_reference(folder: Path) -> None:
    """Commit what ``evaluate`` wrote of the readings' model, and register it as v1.0.0."""
    (folder / "out").mkdir()
    metrics = {name: {"value": value} for name, value in REFERENCE.metrics.items()}
    for name, content in (("metrics", metrics), ("profile", REFERENCE.profile)):
        (folder / f"out/{name}.json").write_text(json.dumps(content), encoding="utf-8")
    call_git(folder, "init", "--quiet", "--initial-branch", "main")
    call_git(folder, "add", "out")
    call_git(folder, "commit", "--quiet", "--message", "Evaluate")
    call_git(folder, "tag", "--annotate", "--message", "Register", "readings@v1.0.0")


def watch(predictions: Any, labels: Any, until: datetime = UNTIL) -> dict[str, Any]:
    """Monitor two logs of version v1.0.0."""
    return monitor(str(predictions), str(labels), until, read_params(), {"v1.0.0": REFERENCE})
