"""What each hyperparameter may be in a search."""

SPACE = {"penalty": {"low": 0.001, "high": 100_000.0, "log": True}}
