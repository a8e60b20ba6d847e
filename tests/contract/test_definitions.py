"""What opslib accepts of a definition is what azure-ai-ml loads."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import sdk
from public_definitions import ALIKE, STRICTER, write


@pytest.mark.parametrize(("changes", "rule"), (ALIKE | STRICTER).values(), ids=ALIKE | STRICTER)
def test_azure_ai_ml_loads_what_breaks_no_rule(
    tmp_path: Path, changes: dict[str, Any], rule: str, caplog: pytest.LogCaptureFixture
):
    """And refuses the rest, but for what only it or the service checks later."""
    caplog.set_level(logging.CRITICAL)
    path = write(tmp_path, changes)
    try:
        sdk.load_online_deployment(source=str(path))
        loaded = True
    except Exception:  # noqa: BLE001 - of many kinds, an AttributeError among them
        loaded = False
    assert loaded is (not rule or (changes, rule) in STRICTER.values())
