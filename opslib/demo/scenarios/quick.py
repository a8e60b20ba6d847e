"""A canary of seconds, for the small size."""

from collections.abc import Mapping
from typing import Any

QUICK: Mapping[str, Any] = {
    "bake_s": 15,
    "max_bake_s": 90,
    "min_requests": 10,
    "late_data_s": 10,
    "warm_up_s": 0,
    "max_failure_rate": 0.3,
    "max_p95_ms": 2000,
    "latency_mode": "observe",
}
"""Its limits are wide, since seconds of traffic prove little, and of latency only how busy the machine is."""
