"""What each hyperparameter may be in a search; one of a family's own is searched where that family is."""

TREES = {"family": ["boosted_trees", "random_trees"]}
BOOSTED = {"family": ["boosted_trees"]}

SPACE = {
    "family": {"choices": ["boosted_trees", "random_trees", "linear"]},
    "learning_rate": {"low": 0.01, "high": 0.3, "log": True, "when": BOOSTED},
    "max_iter": {"low": 50, "high": 1000, "log": True, "when": BOOSTED},
    "max_leaf_nodes": {"low": 7, "high": 255, "log": True, "when": TREES},
    "min_samples_leaf": {"low": 5, "high": 200, "log": True, "when": TREES},
    "max_features": {"low": 0.2, "high": 1.0, "when": TREES},
    "penalty": {"low": 0.001, "high": 1000.0, "log": True, "when": {"family": ["linear"]}},
}
