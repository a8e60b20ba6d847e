"""A/A test: how often stable, judged against itself, would have been rolled back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from opslib.judge.decide import judge
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.interval import Arm, Interval
from opslib.judge.values.state import State
from opslib.model.text import percent


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Result of an A/A test.

    Attributes
    ----------
    runs
        Random splits of stable's recorded traffic [count].
    outcomes
        How many ended in each outcome [count].
    false_rollback
        Share of them that rolled back a canary that was stable itself [fraction].
    upper
        Bound on that share that holds with 95 % confidence [fraction].
    log_peaks
        Highest log evidence that each run reached.
    sentence
        The result for people.
    """

    runs: int
    outcomes: dict[str, int]
    false_rollback: float
    upper: float
    log_peaks: tuple[float, ...]
    sentence: str


def rehearse(
    state: State,
    intervals: Sequence[Interval],
    criteria: Criteria,
    *,
    weight: float,
    seed: int,
    runs: int = 200,
) -> Rehearsal:
    """Split stable's recorded requests at random into a stable and a canary, and judge them.

    Parameters
    ----------
    state
        A state without evidence (`begin`), with `reference_ms` if latency is judged.
    intervals
        Recorded intervals of stable; the canary's are ignored. Counts above thresholds, samples and failures are
        split request by request (given failures, the latencies of the rest), so that every drift and incident
        stays. Percentiles alone cannot be split.
    criteria
        As for a release.
    weight
        Share of the requests that the simulated canary gets; in (0, 100) [percent].
    seed
        Seeds the splits: the same seed gives the same result.
    runs
        Number of splits; >= 1 [count].
    """
    generator = np.random.Generator(np.random.SFC64(seed))
    ends, peaks = Counter[str](), list[float]()
    for _ in range(runs):
        split = [_split(interval, weight, generator) for interval in intervals]
        _, verdict = judge(state, split, criteria, bake_over=True)
        ends[verdict.outcome] += 1
        peaks.append(verdict.log_peak)
    share = ends["rollback"] / runs
    upper = _upper(ends["rollback"], runs)
    return Rehearsal(
        runs=runs,
        outcomes=dict(ends),
        false_rollback=share,
        upper=upper,
        log_peaks=tuple(peaks),
        sentence=(
            f"Stable judged against itself {runs} times: {ends['rollback']} of {runs} rolled back "
            f"({percent(share)}, upper bound {percent(upper)} at 95 % confidence, "
            f"limit {percent(criteria.alpha)}), {ends['promote']} promoted, {ends['hold']} held."
        ),
    )


def _split(interval: Interval, weight: float, generator: np.random.Generator) -> Interval:
    """Send each of stable's requests to a simulated canary with probability `weight` percent."""
    whole = interval.stable
    failures = int(generator.binomial(whole.failures, weight / 100.0))
    good = whole.requests - whole.failures
    if whole.samples_ms:
        samples = np.asarray(whole.samples_ms)
        mine = generator.random(samples.size) < weight / 100.0
        picked, rest = tuple(samples[mine].tolist()), tuple(samples[~mine].tolist())
        untimed = int(generator.binomial(max(good - samples.size, 0), weight / 100.0))
        requests = failures + len(picked) + untimed
        canary = Arm(requests=requests, failures=failures, timed=len(picked), samples_ms=picked)
        stable = Arm(
            requests=whole.requests - requests,
            failures=whole.failures - failures,
            timed=len(rest),
            samples_ms=rest,
        )
        return replace(interval, weight=weight, canary=canary, stable=stable)
    requests = failures + int(generator.binomial(good, weight / 100.0))
    timed = min(whole.latency_n, good)
    canary_timed = round(timed * (requests - failures) / good) if good else 0
    above = _split_above(whole, canary_timed, timed, generator)
    canary = Arm(requests=requests, failures=failures, timed=canary_timed, above=above)
    left = tuple((cut, count - mine) for (cut, count), (_, mine) in zip(whole.above, above, strict=True))
    stable = Arm(
        requests=whole.requests - requests,
        failures=whole.failures - failures,
        timed=timed - canary_timed,
        above=left,
    )
    return replace(interval, weight=weight, canary=canary, stable=stable)


def _split_above(
    whole: Arm, canary_timed: int, timed: int, generator: np.random.Generator
) -> tuple[tuple[float, int], ...]:
    if not whole.above:
        return ()
    counts = [timed, *(min(count, timed) for _, count in whole.above), 0]
    cells = np.array([more - less for more, less in pairwise(counts)], dtype=np.int64)
    drawn = generator.multivariate_hypergeometric(cells, canary_timed)
    beyond = drawn[::-1].cumsum()[::-1][1:]
    return tuple((cut, int(count)) for (cut, _), count in zip(whole.above, beyond, strict=True))


def _upper(hits: int, runs: int) -> float:
    """Return the 95 % Clopper-Pearson upper bound (Biometrika 1934, 26:404-413) [fraction]."""
    from scipy.special import betaincinv  # noqa: PLC0415

    return 1.0 if hits >= runs else float(betaincinv(hits + 1, runs - hits, 0.95))
