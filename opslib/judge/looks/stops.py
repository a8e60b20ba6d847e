"""Hard stops: reasons to roll back without statistics. Each is a sentence for `judge(..., stops=...)`, or None.

Other stops come from the control plane and are passed as sentences too: provisioning failed, no healthy instance,
the deadline passed.
"""

import math
from collections.abc import Sequence

from opslib.judge.values.interval import Interval

_LEAST_REQUESTS = 20
_ROUNDS = 3
_LEAST_PROBES = 5


def traffic_stop(interval: Interval) -> str | None:
    """Stop on a closed interval in which most of the canary's requests fail and not most of stable's.

    With at least 20 requests, more than half of them failed. Evidence would decide as well, after one such
    interval; a stop names the cause directly.
    """
    mine, other = interval.canary, interval.stable
    if mine.requests < _LEAST_REQUESTS or 2 * mine.failures <= mine.requests:
        return None
    if 2 * other.failures > other.requests > 0:
        return None
    return f"{mine.failures:,} of the canary's {mine.requests:,} requests failed in one interval"


def probe_stop(rounds: Sequence[Interval]) -> str | None:
    """Stop after three rounds of probes in a row that the canary failed whole and stable did not.

    With fewer than two questions it takes five probes: of two equal versions that fail one probe in ten, three in a
    row would stop one of them in a tenth of the canaries that take three hours at a round a minute; five do in less
    than one in five hundred.
    """
    answered = [each for each in rounds if each.source == "probes" and each.canary.requests > 0]
    wanted = max(_ROUNDS, math.ceil(_LEAST_PROBES / answered[-1].canary.requests)) if answered else _ROUNDS
    last = answered[-wanted:]
    dead = [each.canary.failures == each.canary.requests for each in last]
    shared = [each.stable.failures == each.stable.requests for each in last]
    if len(last) < wanted or not all(dead) or any(shared):
        return None
    return f"the canary failed every probe of {wanted} rounds in a row"
