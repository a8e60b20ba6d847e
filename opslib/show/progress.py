"""A run's progress, as it happens."""

from collections.abc import Mapping
from typing import Any


def print_event(event: Mapping[str, Any]) -> None:
    """Print a run's progress as it happens."""
    if event["event"] == "progress":
        print(f"  {event['at'][11:19]}  {event['data']}", flush=True)
