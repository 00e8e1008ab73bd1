"""What a metric's name tells: its direction and its unit."""

LOWER_ENDINGS = ("_error", "_loss")


def is_lower_better(name: str) -> bool:
    """Tell a metric's direction: lower is better for _error and _loss, higher for all others."""
    return name.endswith(LOWER_ENDINGS)


def choose_unit(name: str, target_unit: str) -> str:
    """Return a metric's unit: the target's for plain errors, and none for others."""
    return target_unit if name.endswith(("_absolute_error", "root_mean_squared_error")) else ""
