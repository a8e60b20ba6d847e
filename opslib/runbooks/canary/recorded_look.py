"""A look as the journal holds it: what is new in it, so that hours of looks stay readable.

What another part of the same look states, or what a metric is in nearly every look, is left out. `opslib judge`
recomputes all of it from the intervals.
"""

from collections.abc import Mapping
from typing import Any

from opslib.evidence.run.journal import as_json
from opslib.judge import Verdict

_IN_INTERVAL = frozenset({"start_s", "length_s", "weight", "log_threshold", "sentence"})
"""Fields of an interval's result that its interval and its verdict hold."""

_USUAL: Mapping[str, Any] = {"mode": "act", "known": True, "asymptotic": False}
"""Fields of a metric's result that are left out where they have this value."""


def recorded(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for the journal."""
    details: dict[str, Any] = as_json(verdict)
    return details | {"lines": [_line(line) for line in details["lines"]]}


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in line.items() if name not in _IN_INTERVAL}
    return kept | {"metrics": [_metric(metric) for metric in line["metrics"]]}


def _metric(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metric.items() if name not in _USUAL or value != _USUAL[name]}
