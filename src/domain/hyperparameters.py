"""What params.yaml may say of the model; apart from the model, so that reading it imports no library."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Hyperparameters:
    """What params.yaml says of the model; every field is required there, and each family takes its own."""

    family: Literal["boosted_trees", "random_trees", "linear"]
    # Of boosted trees.
    learning_rate: float
    max_iter: int
    # Of both kinds of trees.
    max_leaf_nodes: int
    min_samples_leaf: int
    max_features: float
    # Of the linear model.
    penalty: float
