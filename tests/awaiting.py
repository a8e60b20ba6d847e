"""Conditions are awaited, never slept for."""

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Ask again until the answer is truthy, and return it; none in time is a failure."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        time.sleep(0.05)
    return answer
