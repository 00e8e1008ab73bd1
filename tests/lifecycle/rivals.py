"""What the champion v1.0.0 and the challenger v1.1.0 predict of the same rows, as the log's reader tells it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lifecycle.comparison.pairs import COLUMNS
from lifecycle.data.rows import read_rows
from lifecycle.paths import ONNX, TEST
from lifecycle.predictor import load_predictor
from lifecycle.store import fetch_at

NAMES = ("v1.0.0", "v1.1.0")


def make_pairs(rivals: Path, variant: str = "shadow") -> list[dict[str, Any]]:
    """Let champion and challenger predict the test rows, each as one request, and join the labels."""
    test, models = read_rows(rivals / TEST), [load_predictor(path) for path in list_models(rivals)]
    rows = []
    for version, model, name in zip(NAMES, models, ("champion", variant), strict=True):
        for place, shares in enumerate(model.predict(test.X).tolist()):
            probabilities = {str(label): share for label, share in zip(model.classes or (), shares, strict=True)}
            rows.append(
                {
                    "time": str(np.datetime64("2026-01-01T00:00:00", "s") + place),
                    "request_id": f"r{place}",
                    "row": 0,
                    "variant": name,
                    "model_version": version,
                    "model_hash": model.sha256,
                    "prediction": {"class": int(np.argmax(shares)), "probabilities": probabilities},
                    "label": float(test.y[place]),
                }
            )
    return rows


def make_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a table of rows, as the log's reader does."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(time=pd.to_datetime(frame["time"], utc=True))


def list_models(rivals: Path) -> list[Path]:
    """Give the files of champion and challenger."""
    champion = rivals.parent / "champion.onnx"
    if not champion.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(rivals)
            fetch_at("part-failure@v1.0.0", str(ONNX), champion)
    return [champion, rivals / ONNX]
