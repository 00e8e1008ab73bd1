"""What the champion predicts for the challenger's test rows.

Its features are computed by the code of its own version: a changed feature transform is part of a new model, and the
former model must not be fed with it.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from lifecycle.data.rows import Rows, read_rows
from lifecycle.errors import RefusedError, run
from lifecycle.metrics import Predictions
from lifecycle.paths import ONNX
from lifecycle.predictor import load_predictor
from lifecycle.registry import Champion
from lifecycle.repository import is_unchanged_since
from lifecycle.seam import load_domain
from lifecycle.store import fetch_at


def predict_champion(champion: Champion, test: Rows, folder: Path, domain: str) -> Predictions:
    """Predict the test rows with the champion.

    Parameters
    ----------
    champion : Champion
    test : Rows
        The challenger's prepared test rows.
    folder : Path
        Where they were read from.
    domain : str
        Package of the task.

    Returns
    -------
    Predictions

    Raises
    ------
    RefusedError
        If the champion's bytes cannot be had, or it cannot read these rows.
    """
    with tempfile.TemporaryDirectory(prefix="champion-") as temporary:
        predictor = load_predictor(fetch_at(champion.revision, str(ONNX), Path(temporary) / "model.onnx"))
        unchanged = is_unchanged_since(champion.revision, f"src/{domain}")
        X = test.X if unchanged else _compute_former(champion, folder, temporary)
    return Predictions(test.y, predictor.predict(X), predictor.classes)


def _compute_former(champion: Champion, folder: Path, temporary: str) -> np.ndarray:
    """Compute the features of the rows with the code of the champion's commit, in a process of its own."""
    tree, features = Path(temporary) / "tree", Path(temporary) / "features.npy"
    archive = subprocess.run(
        ["git", "archive", champion.revision, "src", "params.yaml"], capture_output=True, check=False
    )
    if archive.returncode:
        raise RefusedError(f"the code of champion {champion.name} cannot be had: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    done = subprocess.run(
        [sys.executable, "-m", "lifecycle.comparison.champion", str(folder.resolve()), str(features)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if done.returncode:
        raise RefusedError(
            f"champion {champion.name} cannot read the test rows ({done.stderr.strip().splitlines()[-1]}). "
            "A column that it needs is gone: keep the column, or begin a new line of versions under another "
            "registry.name in params.yaml."
        )
    return np.load(features)


def main(argv: Sequence[str] | None = None) -> None:
    """Compute the features of prepared rows with the domain of the working folder."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.comparison.champion", description=main.__doc__)
    parser.add_argument("rows", type=Path, help="folder of prepared test rows")
    parser.add_argument("features", type=Path, help="file to write, .npy")
    arguments = parser.parse_args(argv)
    # Not through read_params: the parameters of a former commit need not hold today's keys.
    domain = load_domain(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["domain"])
    features = domain.compute_features(read_rows(arguments.rows).columns)
    np.save(arguments.features, np.column_stack([np.asarray(x, np.float32) for x in features.values()]))


if __name__ == "__main__":
    run(main)
