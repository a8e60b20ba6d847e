"""A run's progress, as it happens."""

from collections.abc import Mapping
from typing import Any

from opslib.evidence.run.journal import JournalEvent


def print_event(event: Mapping[str, Any]) -> None:
    """Print a run's progress as it happens."""
    if event["event"] == JournalEvent.PROGRESS:
        print(f"  {event['at'][11:19]}  {event['data']}", flush=True)
