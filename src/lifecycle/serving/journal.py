"""What serving leaves behind: JSON lines on stdout, one a prediction, and metrics that CloudWatch reads from them.

The metrics have CloudWatch's embedded metric format: a line of their own, since a line with ``_aws`` is one point of
each metric and a request may hold many predictions.
"""

import json
import math
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

DIMENSIONS = ("model_version", "variant")
METRICS = {"Latency": "Milliseconds", "Predictions": "Count", "Errors": "Count"}
MESSAGE_CHARACTERS = 200
# What the ids of a deploy's own requests begin with: no caller's, and nobody is to learn from them.
PROBE = "probe-"


def write_predictions(
    about: Mapping[str, Any], features: Mapping[str, Sequence[float]], predictions: Sequence[Any], latency_ms: float
) -> None:
    """Write one line a prediction.

    Parameters
    ----------
    about : mapping
        ``request_id``, ``model_version``, ``model_hash`` and ``variant``.
    features : mapping of str to sequence of shape (n_rows,)
        As the model saw them; NaN is written as null.
    predictions : sequence of shape (n_rows,)
    latency_ms : float
        Of the whole request.
    """
    lines = [
        {
            "kind": "prediction",
            "request_id": about["request_id"],
            "row": row,
            "time": _now().isoformat(timespec="milliseconds"),
            **{key: about[key] for key in ("model_version", "model_hash", "variant")},
            "features": {name: None if math.isnan(values[row]) else values[row] for name, values in features.items()},
            "prediction": prediction,
            "latency_ms": round(latency_ms, 3),
        }
        for row, prediction in enumerate(predictions)
    ]
    _write(*lines)


def write_metrics(about: Mapping[str, Any], namespace: str, status: int, predictions: int, latency_ms: float) -> None:
    """Write a request's metrics.

    Parameters
    ----------
    about : mapping
        As in `write_predictions`.
    namespace : str
        CloudWatch's, under which the metrics are found.
    status : int
        The response's; 500 and more counts as an error, the caller's own mistakes do not.
    predictions : int
    latency_ms : float
    """
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(DIMENSIONS)],
        "Metrics": [{"Name": metric, "Unit": unit} for metric, unit in METRICS.items()],
    }
    _write(
        {
            "_aws": {"Timestamp": int(_now().timestamp() * 1000), "CloudWatchMetrics": [directive]},
            "kind": "request",
            **{key: about[key] for key in ("request_id", "model_version", "model_hash", "variant")},
            "status": status,
            "Latency": round(latency_ms, 3),
            "Predictions": predictions,
            "Errors": int(status >= 500),
        }
    )


def write_fault(about: Mapping[str, Any], error: BaseException) -> None:
    """Write an unexpected fault, with its traceback.

    Parameters
    ----------
    about : mapping
        ``request_id``; where a model was asked, the rest of what `write_predictions` takes as well.
    error : BaseException
    """
    _write(
        {
            "kind": "fault",
            **about,
            "time": _now().isoformat(timespec="milliseconds"),
            "error": type(error).__name__,
            # A library may put all that it was given into its message.
            "message": str(error)[:MESSAGE_CHARACTERS],
            "traceback": traceback.format_tb(error.__traceback__),
        }
    )


def _now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


def _write(*lines: Mapping[str, Any]) -> None:
    """Write lines, each at once so that those of several threads do not mix, or none if one cannot be written."""
    texts = [f"{json.dumps(line, allow_nan=False)}\n" for line in lines]
    for text in texts:
        sys.stdout.write(text)
    sys.stdout.flush()
