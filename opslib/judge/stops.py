"""Hard stops: what rolls back without statistics. Each gives a sentence for `judge(..., stops=...)`, or nothing.

Others come from the control plane and are handed over as sentences of their own: provisioning failed, no healthy
instance, the deadline passed.
"""

from __future__ import annotations

from collections.abc import Sequence

from opslib.judge.interval import Interval

_LEAST_REQUESTS = 20
_ROUNDS = 3


def traffic_stop(interval: Interval) -> str | None:
    """Stop on a closed interval in which most of the canary's requests fail and not most of stable's.

    With at least 20 requests, more than half of them failed. Evidence would decide as well, after one such
    interval; this says it in fewer words.
    """
    mine, other = interval.canary, interval.stable
    if mine.requests < _LEAST_REQUESTS or 2 * mine.failures <= mine.requests:
        return None
    if 2 * other.failures > other.requests > 0:
        return None
    return f"{mine.failures:,} of the canary's {mine.requests:,} requests failed in one interval"


def probe_stop(rounds: Sequence[Interval]) -> str | None:
    """Stop after three rounds of probes in a row that the canary failed whole and stable did not."""
    last = [each for each in rounds if each.source == "probes" and each.canary.requests > 0][-_ROUNDS:]
    dead = [each.canary.failures == each.canary.requests for each in last]
    shared = [each.stable.failures == each.stable.requests for each in last]
    if len(last) < _ROUNDS or not all(dead) or any(shared):
        return None
    return f"the canary failed every probe of {_ROUNDS} rounds in a row"
