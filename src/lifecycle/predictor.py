"""Predict with a converted model; needs ONNX Runtime and NumPy alone, as serving does."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime

from lifecycle.errors import RefusedError

# Key of the model's own metadata under which the conversion leaves the names of the features and the classes.
METADATA = "lifecycle"


class Predictor:
    """A converted model, ready to predict.

    Parameters
    ----------
    model : bytes
        An ONNX model that ``train`` wrote.

    Attributes
    ----------
    features : tuple of str
        Names of the columns that it takes, in their order.
    classes : tuple of float or None
        The classes, None for a regression.
    sha256 : str
        Of the model's bytes.
    """

    def __init__(self, model: bytes) -> None:
        # It would tell its maker that it runs.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # One request is too small to share among threads, and serving has one core a request.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        described = json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA])
        self.features = tuple(described["features"])
        self.classes = None if described["classes"] is None else tuple(described["classes"])
        self.sha256 = hashlib.sha256(model).hexdigest()
        self._input = self._session.get_inputs()[0].name
        # A classifier's first output is the label, its last one the probabilities.
        self._output = self._session.get_outputs()[-1].name

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), float32

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The target, or the classes' probabilities.
        """
        predicted = self._session.run([self._output], {self._input: X})[0]
        return predicted if self.classes else predicted.reshape(-1)


def load_predictor(path: Path) -> Predictor:
    """Load a model from a file, or say in one line why it is none."""
    try:
        return Predictor(path.read_bytes())
    except FileNotFoundError as error:
        raise RefusedError(f"{path} is missing; make it with: make pipeline") from error
    except Exception as error:  # pylint: disable=broad-exception-caught  # ONNX Runtime has no base class of its own
        raise RefusedError(f"{path} is no model that train wrote: {str(error).splitlines()[0]}") from error
