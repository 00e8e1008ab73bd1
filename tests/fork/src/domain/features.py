"""The feature transform: one function for training and for serving, on NumPy arrays alone."""

import numpy as np

from domain.contract import SITES

NUMBERS = ("age_days", "temperature_celsius", "vibration_mm_per_s")


def compute_features(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute what the model sees: the numbers as they are, and 0 or 1 for each site.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        The contract's columns that are known at the start; missing numbers are NaN.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), float32
    """
    numbers = {name: columns[name] for name in NUMBERS}
    sites = {f"at_{site}": columns["site"] == site for site in SITES}
    return {name: values.astype(np.float32) for name, values in (numbers | sites).items()}
