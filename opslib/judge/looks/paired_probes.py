"""Probes: the same request to both versions through the deployment header, interleaved and paired."""

from collections.abc import Sequence
from dataclasses import dataclass

from opslib.errors import JudgeError
from opslib.judge.values.interval import Arm, Interval


@dataclass(frozen=True, kw_only=True)
class PairedProbe:
    """One answered (or failed) probe.

    Attributes
    ----------
    pair
        Number that the two probes of one request share.
    arm
        "stable" or "canary".
    failed
        Whether the probe got no valid answer.
    latency_ms
        Time until the answer; None where the probe failed [ms].
    answer
        Digest of the answer, for comparison between versions and with a golden answer; empty where it failed.
    golden
        Digest of the known right answer; empty if there is none.
    """

    pair: int
    arm: str
    failed: bool
    latency_ms: float | None = None
    answer: str = ""
    golden: str = ""


def probe_order(requests: int, seed: int) -> tuple[tuple[int, str], ...]:
    """Plan a round: every request to both versions, the first of each pair alternating in a scattered way.

    Parameters
    ----------
    requests
        Number of different requests; >= 0 [count].
    seed
        Any number, for example of the round: which version goes first is its bits, scattered; no chance is
        involved, so that the plan can be recomputed from the record.

    Returns
    -------
    plan
        (request, arm), in the order to be sent.
    """
    plan: list[tuple[int, str]] = []
    for request in range(requests):
        # Multiplicative hashing with the golden ratio (Knuth, The Art of Computer Programming, vol. 3, section
        # 6.4).
        first = ((request + 1) * 2654435761 + seed * 40503) >> 16 & 1
        arms = ("stable", "canary") if first else ("canary", "stable")
        plan += [(request, arm) for arm in arms]
    return tuple(plan)


def pair_probes(probes: Sequence[PairedProbe], *, start_s: float, length_s: float) -> Interval:
    """Turn a round of probes into an interval of its own, never mixed with users' traffic.

    Only requests that both versions received count. An answer is a failure if the probe failed or the answer is
    not the golden one; where there is no golden answer, answers of the two versions that differ count as changed.

    Raises
    ------
    JudgeError
        If a pair has two probes of one version: then the arms are not equal and pairing means nothing.
    """
    by_pair: dict[int, dict[str, PairedProbe]] = {}
    for probe in probes:
        arms = by_pair.setdefault(probe.pair, {})
        if probe.arm in arms or probe.arm not in ("stable", "canary"):
            raise JudgeError(
                f"pair {probe.pair}: expected one probe of stable and one of canary, got {probe.arm!r} again"
            )
        arms[probe.arm] = probe
    whole = [(arms["stable"], arms["canary"]) for arms in by_pair.values() if len(arms) == 2]
    wrong = [(_wrong(stable), _wrong(canary)) for stable, canary in whole]
    comparable = [(s, c) for s, c in whole if not s.failed and not c.failed and not s.golden]
    changed = sum(stable.answer != canary.answer for stable, canary in comparable)
    return Interval(
        start_s=start_s,
        length_s=length_s,
        weight=50.0,
        source="probes",
        paired=(sum(c and not s for s, c in wrong), sum(s and not c for s, c in wrong)),
        stable=_arm([stable for stable, _ in whole], (0, 0)),
        canary=_arm([canary for _, canary in whole], (len(comparable), changed)),
    )


def _wrong(probe: PairedProbe) -> bool:
    return probe.failed or bool(probe.golden and probe.answer != probe.golden)


def _arm(probes: Sequence[PairedProbe], changed: tuple[int, int]) -> Arm:
    right = [probe for probe in probes if not _wrong(probe)]
    times = tuple(probe.latency_ms for probe in right if probe.latency_ms is not None)
    return Arm(
        requests=len(probes),
        failures=len(probes) - len(right),
        timed=len(times),
        samples_ms=times,
        changed_answers=changed,
    )
