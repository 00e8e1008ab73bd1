"""What the tests of recording have in common."""

import sys

import pytest

from lifecycle.params import TrackParams

VARIABLES = ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE", "JSON_LINES", "GITHUB_ACTOR", "GITHUB_REF")


def want_no_records(patch: pytest.MonkeyPatch) -> None:
    """Let nobody want records, and forget from where a test imported the domain."""
    for variable in VARIABLES:
        patch.delenv(variable, raising=False)
    patch.setattr(sys, "path", sys.path[:])


def params_of(backends: dict[str, list[str]], seconds: float = 60) -> TrackParams:
    """Make parameters."""
    return TrackParams(
        backends=backends, answer_seconds=1.0, send_seconds=float(seconds), server="mlflow==1.0", port=0
    )
