"""The task: will a machine part fail within a week of its inspection?

A second domain, as small as one can be, on invented data: what a fork puts in the place of the first one. The names
below are the seam; each is loaded when it is first asked for, so that serving imports no scikit-learn.
"""

from importlib import import_module

# Module of this package -> the names of the seam that it holds.
_SEAM = {
    "contract": ("CONTRACT", "derive_columns"),
    "features": ("compute_features",),
    "slices": ("compute_slices",),
    "hyperparameters": ("Hyperparameters",),
    "model": ("build_model",),
    "metrics": ("METRICS",),
    "sample": ("generate_month",),
    "space": ("SPACE",),
}


def __getattr__(name: str) -> object:
    """Load a name of the seam from its module."""
    for module, names in _SEAM.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
