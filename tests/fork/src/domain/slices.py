"""The slices: groups of parts for which the error is shown and judged apart."""

import numpy as np

OLD_DAYS = 365


def compute_slices(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Label each row of the contract's columns, of shape (n_rows,), with its group, by kind of slice."""
    return {
        "site": columns["site"].astype(str),
        "age_band": np.where(columns["age_days"] < OLD_DAYS, "first year", "older"),
    }
