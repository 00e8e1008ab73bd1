"""How fast one prediction is, and the first one of a process."""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from lifecycle.paths import MODEL, ONNX
from lifecycle.predictor import load_predictor
from tests.bench.line import Line
from tests.bench.preparing import measure_seconds

STARTS = 5

FIRST_ONNX = f"""
import numpy as np
from pathlib import Path
from lifecycle.predictor import load_predictor
predictor = load_predictor(Path("{ONNX}"))
predictor.predict(np.zeros((1, len(predictor.features)), np.float32))
"""
FIRST_SKLEARN = f"""
import joblib
import numpy as np
import pandas as pd
model = joblib.load("{MODEL}")
model.predict(pd.DataFrame(np.zeros((1, model.n_features_in_), np.float32)).to_numpy())
"""


def measure_prediction() -> Iterator[Line]:
    """Compare one prediction of the ONNX model with one of the scikit-learn pipeline."""
    predictor, model = load_predictor(Path(ONNX)), joblib.load(MODEL)
    row = np.zeros((1, len(predictor.features)), dtype=np.float32)
    frame = pd.DataFrame(row, columns=list(predictor.features))
    onnx = statistics.median(measure_seconds(lambda: predictor.predict(row)) for _ in range(2000))
    sklearn = statistics.median(measure_seconds(lambda: model.predict(frame.to_numpy())) for _ in range(200))
    note = f"{1e6 * onnx:.0f} us against {1e6 * sklearn:,.0f} us of the pipeline on a one-row DataFrame's values"
    yield Line("one prediction: speed, in times of scikit-learn", sklearn / onnx, floor=100, note=note)


def measure_start() -> Iterator[Line]:
    """Compare the time from the start of a process to its first prediction."""

    def start(script: str) -> float:
        return measure_seconds(lambda: subprocess.run([sys.executable, "-c", script], check=True))

    rounds = [(start(FIRST_ONNX), start(FIRST_SKLEARN)) for _ in range(STARTS + 1)][1:]
    onnx, sklearn = (statistics.median(times) for times in zip(*rounds, strict=True))
    note = f"{1000 * onnx:.0f} ms against {1000 * sklearn:,.0f} ms with scikit-learn and pandas"
    yield Line("start to first prediction: speed, in times of scikit-learn", sklearn / onnx, floor=5, note=note)
