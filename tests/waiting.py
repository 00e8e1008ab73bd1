"""Waiting for what other processes and threads do."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(find: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until something is found, and give it; fail where it never is."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, f"nothing in {seconds:g} s"
        time.sleep(0.05)
    return found
