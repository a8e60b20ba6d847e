"""Seeded traffic of an endpoint with a canary: every request's fate, counted the way each rule needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINUTES = 30
SLOTS = 6  # per minute, for judges that read a request log every ten seconds
MEDIAN_MS, SIGMA = 80.0, np.log(200.0 / 80.0) / 1.6448536269514722
SLO_MS = 250.0
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # cuts of the judge
REPORTED = (0.5, 0.9, 0.95, 0.99)  # percentiles that Azure Monitor publishes
WEIGHT = (
    10.0  # percent, for the canary; as much of the old version is the canary-sized control that Kayenta requires
)
HISTORY_MINUTES = 10  # of stable alone, before the canary


@dataclass(frozen=True)
class Scenario:
    """One world. Functions of time take minutes since the canary began and return a value per slot.

    `failures` and `canary_failures` are rates; `factor` stretches every latency, `canary_factor` the canary's as
    well. `shape` turns standard normal numbers into latencies [ms], `canary_shape` likewise for the canary.
    """

    name: str
    innocent: bool
    base: float = 0.001
    slo: float = 0.005
    failures: Callable[[Floats], Floats] | None = None
    canary_failures: Callable[[Floats], Floats] | None = None
    load: Callable[[Floats], Floats] | None = None
    factor: Callable[[Floats], Floats] | None = None
    canary_factor: Callable[[Floats], Floats] | None = None
    shape: str = "lognormal"
    canary_shape: str | None = None
    bursts: bool = False
    harm: str = "failures"
    at_limit: bool = False


def ramp(first: float, last: float) -> Callable[[Floats], Floats]:
    return lambda t: first + (last - first) * t / MINUTES


def constant(value: float) -> Callable[[Floats], Floats]:
    return lambda t: np.full_like(t, value)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("A/A 0.1 %", innocent=True),
    Scenario("A/A 1 %", innocent=True, base=0.01, slo=0.02),
    Scenario("shared incident", innocent=True, failures=lambda t: np.where((t >= 10) & (t < 14), 0.08, 0.001)),
    Scenario(
        "drift",
        innocent=True,
        slo=0.02,
        failures=ramp(0.002, 0.012),
        load=ramp(0.6, 1.4),
        factor=ramp(1.0, 1.35),
    ),
    Scenario("bursts", innocent=True, bursts=True),
    Scenario("bimodal", innocent=True, shape="bimodal"),
    Scenario("heavy tail", innocent=True, shape="heavy"),
    Scenario(
        "harmless +8 % / +3 %",
        innocent=True,
        base=0.01,
        slo=0.02,
        canary_failures=constant(0.0108),
        canary_factor=constant(1.03),
    ),
    Scenario("1 -> 3 %", innocent=False, base=0.01, slo=0.02, canary_failures=constant(0.03)),
    Scenario("0.1 -> 0.5 %", innocent=False, canary_failures=constant(0.005), at_limit=True),
    Scenario("latency x1.2", innocent=False, canary_factor=constant(1.2), harm="slow", at_limit=True),
    Scenario("p99 x2", innocent=False, canary_shape="tail", harm="slow"),
    Scenario(
        "slow leak",
        innocent=False,
        canary_failures=ramp(0.001, 0.01),
        canary_factor=ramp(1.0, 1.5),
        harm="both",
    ),
)

# Innocent but for its first three minutes: whether they count is policy (`warm_up_s`); no rule is measured on it.
COLD_START = Scenario(
    "cold start",
    innocent=True,
    canary_failures=lambda t: np.where(t < 3, 0.2, 0.001),
    canary_factor=lambda t: np.where(t < 3, 3.0 - 2.0 * t / 3, 1.0),
)


@dataclass(frozen=True, eq=False)
class Traffic:
    """What was counted, for `runs` independent runs.

    Arms are "canary", "control" (canary-sized, old version) and "stable" (all of the old version). Per slot: `n`,
    `failures` (runs, slots); `above[arm]` (runs, slots, thresholds) of the successful requests, thresholds as in
    `cuts` and so on. Per minute: `percentiles[arm]` (runs, minutes, 4), `mean`, `square`, `slow` (runs, minutes).
    """

    scenario: Scenario
    rate: float
    n: dict[str, Floats]
    failures: dict[str, Floats]
    reference_ms: Floats
    thresholds_ms: Floats
    above: dict[str, Floats]
    percentiles: dict[str, Floats]
    mean: dict[str, Floats]
    square: dict[str, Floats]
    slow: dict[str, Floats]


# Stretches of the reference quantiles at which both arms are counted, in the order of `thresholds_ms`' columns:
# the cuts, the cuts for the canary, those of the proofs, and the promise.
PROOFS = ((0.5, 0.2), (0.95, 0.2), (0.99, 0.5))
TOLERATED = 0.05


def simulate(scenario: Scenario, rate: float, runs: int, seed: int) -> Traffic:
    """Draw `runs` runs at `rate` requests a minute; the same seed gives the same traffic to every rule."""
    rng = np.random.Generator(np.random.SFC64([seed, seed_of(scenario.name), int(rate)]))
    slots = MINUTES * SLOTS
    time = (np.arange(slots) + 0.5) / SLOTS
    load = scenario.load(time) if scenario.load else np.ones(slots)
    share = {"canary": WEIGHT / 100, "control": WEIGHT / 100, "rest": 1 - WEIGHT / 50}
    n = {arm: rng.poisson(rate / SLOTS * load * part, (runs, slots)) for arm, part in share.items()}
    base = scenario.failures(time) if scenario.failures else np.full(slots, scenario.base)
    worse = scenario.canary_failures(time) if scenario.canary_failures else base
    bad = {arm: rng.binomial(n[arm], worse if arm == "canary" else base) for arm in n}
    if scenario.bursts:
        _add_bursts(rng, n, bad, share, runs)
    out = _Counts(runs)
    factor = scenario.factor(time) if scenario.factor else np.ones(slots)
    canary_factor = factor * (scenario.canary_factor(time) if scenario.canary_factor else 1.0)
    for run in range(runs):
        history = _latency(rng, scenario.shape, int(rate * HISTORY_MINUTES))
        reference = np.round(np.quantile(history, QUANTILES, method="inverted_cdf"), 3)
        thresholds = _thresholds(reference)
        good = {arm: n[arm][run] - bad[arm][run] for arm in n}
        parts: dict[str, Any] = {}
        for arm in ("canary", "control", "rest"):
            shape = scenario.canary_shape if arm == "canary" and scenario.canary_shape else scenario.shape
            stretch = canary_factor if arm == "canary" else factor
            latency = _latency(rng, shape, int(good[arm].sum()))
            parts[arm] = latency * np.repeat(stretch, good[arm]), np.repeat(np.arange(slots), good[arm])
        both = [np.concatenate(pair) for pair in zip(parts["control"], parts["rest"], strict=True)]
        for arm, (latency, slot) in {
            "canary": parts["canary"],
            "control": parts["control"],
            "stable": both,
        }.items():
            out.add(arm, run, latency, slot, thresholds)
        out.reference[run], out.thresholds[run] = reference, thresholds
    total = {"canary": n["canary"], "control": n["control"], "stable": n["control"] + n["rest"]}
    failed = {"canary": bad["canary"], "control": bad["control"], "stable": bad["control"] + bad["rest"]}
    return Traffic(
        scenario=scenario,
        rate=rate,
        n={arm: value.astype(float) for arm, value in total.items()},
        failures={arm: value.astype(float) for arm, value in failed.items()},
        reference_ms=out.reference,
        thresholds_ms=out.thresholds,
        above=dict(out.above),  # type: ignore[arg-type]
        percentiles=out.percentiles,
        mean=out.mean,
        square=out.square,
        slow=out.slow,
    )


class _Counts:
    """Arrays being filled run by run."""

    def __init__(self, runs: int) -> None:
        slots, arms, cuts = (
            MINUTES * SLOTS,
            ("canary", "control", "stable"),
            2 * len(QUANTILES) + len(PROOFS) + 1,
        )
        self.reference = np.zeros((runs, len(QUANTILES)))
        self.thresholds = np.zeros((runs, cuts))
        self.above = {arm: np.zeros((runs, slots, cuts), dtype=np.float32) for arm in arms}
        self.percentiles = {arm: np.zeros((runs, MINUTES, len(REPORTED))) for arm in arms}
        self.mean = {arm: np.zeros((runs, MINUTES)) for arm in arms}
        self.square = {arm: np.zeros((runs, MINUTES)) for arm in arms}
        self.slow = {arm: np.zeros((runs, MINUTES)) for arm in arms}

    def add(self, arm: str, run: int, latency: Floats, slot: NDArray[np.int64], thresholds: Floats) -> None:
        slots = MINUTES * SLOTS
        order = np.argsort(thresholds)
        place = np.searchsorted(thresholds[order], latency, side="left")  # thresholds strictly below the latency
        cells = np.bincount(slot * (order.size + 1) + place, minlength=slots * (order.size + 1))
        beyond = cells.reshape(slots, -1)[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        self.above[arm][run][:, order] = beyond
        minute = slot // SLOTS
        size = np.bincount(minute, minlength=MINUTES)
        sums = np.bincount(minute, latency, MINUTES), np.bincount(minute, latency**2, MINUTES)
        self.mean[arm][run], self.square[arm][run] = sums
        self.slow[arm][run] = np.bincount(minute, latency > SLO_MS, MINUTES)
        ordered = np.sort(np.log(latency) + 100.0 * minute)
        first = np.concatenate([[0], np.cumsum(size)[:-1]])
        for i, q in enumerate(REPORTED):
            rank = first + np.maximum(np.ceil(q * size - 1e-9).astype(int), 1) - 1
            value = np.exp(ordered[np.minimum(rank, ordered.size - 1)] - 100.0 * np.arange(MINUTES))
            self.percentiles[arm][run][:, i] = np.where(size > 0, value, np.nan)


def _thresholds(reference: Floats) -> Floats:
    at = dict(zip(QUANTILES, reference, strict=True))
    far = [at[q] * (1 + slow) for q, slow in PROOFS]
    return np.round(np.concatenate([reference, reference * (1 + TOLERATED), far, [SLO_MS]]), 3)


def _latency(rng: np.random.Generator, shape: str, count: int) -> Floats:
    z = rng.standard_normal(count, dtype=np.float32).astype(np.float64)
    plain = MEDIAN_MS * np.exp(SIGMA * z)
    if shape == "bimodal":  # one request in twenty waits for a slow dependency: the p95 lies in the gap
        slow = rng.random(count, dtype=np.float32) < 0.05
        return np.where(slow, 800.0 * np.exp(0.1 * z), MEDIAN_MS * np.exp(0.35 * z))
    if shape == "heavy":  # a Pareto tail without variance on one request in fifty
        tail = rng.random(count, dtype=np.float32) < 0.02
        return np.where(tail, plain * rng.pareto(1.5, count) + plain, plain)
    if shape == "tail":  # unchanged up to p95, twice as slow from p99 on
        return plain * np.exp(np.log(2.0) * np.clip((z - 1.645) / (2.326 - 1.645), 0.0, 1.0))
    return plain


def _add_bursts(rng, n, bad, share, runs) -> None:
    """Let 40 failing requests into one minute in ten; each is routed at random like any other."""
    minutes = rng.random((runs, MINUTES)) < 0.1
    slot = np.arange(MINUTES) * SLOTS + rng.integers(0, SLOTS, (runs, MINUTES))
    split = rng.multinomial(40, list(share.values()), (runs, MINUTES)) * minutes[..., None]
    rows = np.arange(runs)[:, None]
    for i, arm in enumerate(share):
        n[arm][rows, slot] += split[..., i]
        bad[arm][rows, slot] += split[..., i]


def seed_of(name: str) -> int:
    """Number of a scenario, for the seed of its traffic."""
    return int.from_bytes(name.encode()[:6].ljust(6), "big") + sum(name.encode())
