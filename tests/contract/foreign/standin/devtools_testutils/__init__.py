"""Replaces the SDK's unpublished test tools: every test is live, nothing is recorded or sanitized.

The real package starts a recording proxy that it downloads. Here tests talk to the service that their environment
names. It is put on the path beside the SDK's tests, which import it by this name.
"""

from typing import Any

from .helpers import is_live, is_live_and_not_recording
from .management import AzureMgmtRecordedTestCase, RandomNameResourceGroupPreparer, recorded_by_proxy
from .proxy_fixtures import test_proxy

__all__ = [
    "AzureMgmtRecordedTestCase",
    "AzureRecordedTestCase",
    "RandomNameResourceGroupPreparer",
    "is_live",
    "is_live_and_not_recording",
    "recorded_by_proxy",
    "test_proxy",
]


class AzureRecordedTestCase:
    """The base of the SDK's test classes: it has nothing to do when nothing is recorded."""

    is_live = True


def __getattr__(name: str) -> Any:
    """Answer for each sanitizer and matcher: a live test needs none."""
    if not name.startswith(("add_", "remove_", "set_")):
        raise AttributeError(name)
    return lambda *_, **__: None
