"""Command-line tools that tests use where a machine has them."""

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """Find a tool; without it a test is skipped on a laptop, and fails in CI, where nothing may go untested."""
    path = shutil.which(name)
    if path is None:
        said = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{said}, and CI must run every test")
        pytest.skip(said)
    return path
