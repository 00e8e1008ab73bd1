"""The seam between the machinery and the task: the only place where the domain is imported."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from lifecycle.errors import MisuseError

Columns = dict[str, np.ndarray]


class Domain(Protocol):
    """What a domain package exports; the task's own words appear behind these names only."""

    # pylint: disable=invalid-name  # the seam's constants are upper case in the domain
    CONTRACT: dict[str, Any]
    METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]]
    SPACE: dict[str, dict[str, Any]]
    Hyperparameters: type
    derive_columns: Callable[[Columns], Columns]
    compute_features: Callable[[Columns], Columns]
    compute_slices: Callable[[Columns], Columns]
    build_model: Callable[..., Any]
    generate_month: Callable[..., Any]


def load_domain(package: str, root: Path | None = None) -> Domain:
    """Import the domain from the folder that the machinery works in.

    Parameters
    ----------
    package : str
        Name of the package, as params.yaml gives it.
    root : Path, optional
        The working folder; its ``src`` comes first on the path, so that a second model is a second folder.

    Returns
    -------
    Domain

    Raises
    ------
    MisuseError
        If there is no such package.
    """
    source = str((root or Path.cwd()) / "src")
    if sys.path[0] != source:
        sys.path.insert(0, source)
    try:
        return cast(Domain, import_module(package))
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MisuseError(f"params.yaml names the domain {package!r}; expected a package src/{package}.") from error
