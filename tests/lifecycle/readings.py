"""A task as small as one can be, for the tests of the machinery: how many seconds a measurement will take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

NAME = "readings_{month}.parquet"

CONTRACT = {
    "time": "at",
    "target": "seconds",
    "title": "Seconds that a measurement takes",
    "columns": [
        {
            "name": "at",
            "meaning": "when it began",
            "spellings": ["begun_at", "Start_Time"],
            "type": "timestamp",
            "unit": "UTC",
            "known": "start",
            "max_broken_share": 0.2,
        },
        {
            "name": "size",
            "meaning": "of the probe",
            "type": "number",
            "unit": "mm",
            "known": "start",
            "minimum": 0,
            "maximum": 100,
            "max_broken_share": 0.2,
        },
        {
            "name": "kind",
            "meaning": "of the probe; null where nobody looked",
            "type": "text",
            "unit": "name",
            "known": "start",
            "nullable": True,
            "values": ["coarse", "fine"],
            "max_broken_share": 0.2,
        },
        {
            "name": "ended",
            "meaning": "when it ended",
            "type": "timestamp",
            "unit": "UTC",
            "known": "end",
            "max_broken_share": 0.2,
        },
        {
            "name": "seconds",
            "meaning": "from begin to end",
            "derived": True,
            "type": "number",
            "unit": "seconds",
            "known": "end",
            "minimum": 1,
            "maximum": 60,
            "max_broken_share": 0.2,
        },
    ],
}
METRICS: dict[str, Any] = {}

PARAMS: dict[str, Any] = {
    "domain": "readings",
    "sample": {"months": ["2024-01", "2024-02"], "rows_per_month": 40, "seed": 5},
    "ingest": {"source": f"https://example.com/{NAME}", "keep_months": None},
    "environment": {"libraries": ["numpy"]},
    "prepare": {"train_months": 2, "test_months": 1},
    "train": {
        "seed": 0,
        "max_rows": None,
        "folds": 2,
        "threads": 1,
        "parity_tolerance": 0.001,
        "rate": 0.5,
        "depth": 3,
    },
    "evaluate": {
        "seed": 0,
        "metrics": ["r2"],
        "confidence": 0.95,
        "resamples": 50,
        "min_slice_rows": 10,
    },
    "gate": {
        "tolerance": 0.01,
        "slice_tolerance": 0.05,
        "limits": {"r2_score": 0},
        "max_latency_ms": 2,
        "max_size_mb": 1,
    },
    "reproduce": {"tolerance": 0.001},
    "registry": {"name": "readings"},
    "infra": {"name": "readings"},
    "serve": {"mode": "shadow", "budget_ms": 1000.0, "share": 0.3, "key": "x-key", "salt": "a"},
    "compare": {"alpha": 0.05, "min_requests": 20, "max_requests": 400, "min_gain": 0.0},
    "deploy": {
        "challenge": False,
        "canary_weight": 0.2,
        "bake_seconds": 2,
        "poll_seconds": 0.2,
        "min_requests": 5,
        "max_error_share": 0.1,
        "max_latency_ratio": 3.0,
        "lease_seconds": 5,
    },
    "retire": {"keep": 1},
    "monitor": {
        "window_days": 7,
        "max_silence_hours": 24,
        "min_rows": 20,
        "max_rows": 1000,
        "max_distance": 0.25,
        "max_psi": 0.25,
        "tolerance": 0.05,
        "max_broken_share": 0.01,
        "memory_mb": 100,
    },
    "retrain": {"cooldown_days": 7, "max_per_month": 2, "merge_margin": None},
    "status": {"reports": 90},
    "explore": {"bins": 12, "groups": 5, "predicted_rows": 1000},
    "explain": {"seed": 0, "background": 20, "neighbours": 3, "tolerance": 0.001},
    "tune": {"seed": 0, "workers": 1, "startup_trials": 5},
    "experiment": {"max_jobs": 3},
    "machine": {"instance_type": "m7i.large", "disk_gb": 20, "idle_seconds": 60, "max_hours": 2},
    "track": {
        "backends": {},
        "answer_seconds": 1.0,
        "send_seconds": 20.0,
        "server": "mlflow==3.17.2",
        "port": 0,
    },
}


@dataclass(frozen=True)
class Hyperparameters:
    """The domain's part of the section ``train``."""

    rate: float
    depth: int


def derive_columns(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the target."""
    return {"seconds": (columns["ended"] - columns["at"]) / np.timedelta64(1, "s")}


def compute_features(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute two features."""
    return {"size": columns["size"], "is_fine": columns["kind"] == "fine"}


def compute_slices(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute one kind of slice."""
    return {"half": np.where(columns["size"] < 50, "small", "large")}


def generate_month(month: str, rows: int, seed: int) -> pa.Table:
    """Generate a month without dirt, sorted by time."""
    rng = np.random.default_rng([seed, *map(int, month.split("-"))])
    at = np.datetime64(month, "us") + np.sort(rng.integers(0, 28 * 86_400, rows)).astype("m8[s]")
    return pa.table(
        {
            "begun_at": at,
            "size": rng.uniform(0, 100, rows),
            "kind": pa.array(rng.choice(["coarse", "fine"], rows), mask=rng.random(rows) < 0.1),
            "ended": at + rng.integers(1, 60, rows).astype("m8[s]"),
        }
    )


def write_month(folder: Path, month: str, seed: int = 1, rows: int = 40) -> Path:
    """Write a month that counts as real into a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / NAME.format(month=month)
    pq.write_table(generate_month(month, rows, seed), path)
    return path


def write_params(folder: Path, changes: dict[str, dict[str, Any]] | None = None) -> Path:
    """Write params.yaml with some keys of its sections changed."""
    params = {
        section: values | (changes or {}).get(section, {}) if isinstance(values, dict) else values
        for section, values in PARAMS.items()
    }
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return path
