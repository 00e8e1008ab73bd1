"""The task: minutes that a New York green-taxi trip will take.

This package is what a fork replaces. The machinery reaches it through the names below alone (the seam);
each is loaded when it is first asked for, so that serving, which needs only the contract and the features,
imports neither scikit-learn nor pyarrow.
"""

from importlib import import_module

# Name of the seam -> the module of this package that holds it.
_SEAM = {
    "CONTRACT": "contract",
    "derive_columns": "contract",
    "compute_features": "features",
    "compute_slices": "slices",
    "Hyperparameters": "hyperparameters",
    "build_model": "model",
    "METRICS": "metrics",
    "generate_month": "sample",
    "SPACE": "space",
}


def __getattr__(name: str) -> object:
    """Load a name of the seam from its module."""
    if name not in _SEAM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SEAM[name]}"), name)
