"""What params.yaml may say of the model; apart from the model, so that reading it imports no library."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """The higher the penalty, the plainer the model."""

    penalty: float
    max_iter: int
