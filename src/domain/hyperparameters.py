"""What params.yaml may say of the model; apart from the model, so that reading it imports no library."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """What params.yaml says of the model; every field is required there."""

    learning_rate: float
    max_iter: int
    max_leaf_nodes: int
    min_samples_leaf: int
    max_features: float
