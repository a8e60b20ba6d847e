"""The best that thresholds could do: chosen with knowledge of the base rates, the traffic and the regressions.

    python -m tests.benchmarks.judge.static

chooses for each of failure rate, P50, P95 and P99 the window, the threshold and the number of breaches to forgive
that find those regressions soonest among all that roll back at most 1.25 % of canaries that do not differ, and
prints `CHOSEN`. No tool can be set this well; it bounds what thresholds are able to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .ours import Result
from .peers import per_minute, stopped
from .traffic import MINUTES, REPORTED, SCENARIOS, Scenario, Traffic, simulate

RULE = "best static thresholds, knowing base rates and regressions"
SEED, RUNS = 12, 800  # a seed for tuning
ALLOWED = 0.0125  # false rollbacks per metric
# each metric's regressions that it is chosen for, by whether failures are at 1 % or 0.1 %
FOUND_BY: dict[str, dict[bool, tuple[str, ...]]] = {
    "failures": {True: ("1 -> 3 %",), False: ("0.1 -> 0.5 %", "slow leak")},
    **dict.fromkeys(("P50", "P95", "P99"), dict.fromkeys((True, False), ("latency x1.2", "p99 x2", "slow leak"))),
}


@dataclass(frozen=True)
class Threshold:
    """Fail once the mean of `window` minutes was above `most` more than `forgiven` times."""

    window: int
    forgiven: int
    most: float

    def failing(self, values):
        """Whether each run has failed by each minute; shape (runs, minutes)."""
        return np.cumsum(rolling(values, self.window) > self.most, axis=1) > self.forgiven


def measured(metric: str, traffic: Traffic):
    """One number a minute of the canary; shape (runs, minutes)."""
    if metric == "failures":
        return per_minute(traffic.failures["canary"]) / np.maximum(per_minute(traffic.n["canary"]), 1)
    return np.nan_to_num(traffic.percentiles["canary"][..., REPORTED.index(int(metric[1:]) / 100)])


def rolling(values, window: int):
    """Mean of the last `window` minutes; minus infinity before there are as many."""
    means = np.lib.stride_tricks.sliding_window_view(values, window, axis=1).mean(axis=-1)
    return np.concatenate([np.full((len(values), window - 1), -np.inf), means], axis=1)


def tuned(rate: int) -> dict[tuple[str, bool], Threshold]:
    """Choose all thresholds for one traffic rate."""
    worlds = {each.name: simulate(each, rate, RUNS, SEED) for each in SCENARIOS if _needed(each)}
    return {
        (metric, high): _best(metric, worlds["A/A 1 %" if high else "A/A 0.1 %"], [worlds[name] for name in names])
        for metric, by_rate in FOUND_BY.items()
        for high, names in by_rate.items()
    }


def _needed(scenario: Scenario) -> bool:
    return scenario.name.startswith("A/A") or not scenario.innocent


def _best(metric: str, same: Traffic, worse: list[Traffic]) -> Threshold:
    found = []
    for window in (1, 2, 3, 5, 10):
        for forgiven in (0, 1, 2, 3, 5, 8):
            if window + forgiven > MINUTES:
                continue
            ordered = np.sort(rolling(measured(metric, same), window), axis=1)
            most = float(np.quantile(ordered[:, -1 - forgiven], 1 - ALLOWED, method="higher"))
            rule = Threshold(window, forgiven, most)
            times = [np.sum(~rule.failing(measured(metric, each)), axis=1).mean() for each in worse]
            found.append((float(np.mean(times)), rule))
    return min(found, key=lambda pair: pair[0])[1]


CHOSEN = {
    600: {
        ("failures", True): Threshold(5, 0, 0.033928),
        ("failures", False): Threshold(10, 0, 0.0065716),
        ("P50", True): Threshold(5, 0, 90.769),
        ("P50", False): Threshold(3, 0, 93.988),
        ("P95", True): Threshold(5, 1, 248.551),
        ("P95", False): Threshold(5, 0, 253.386),
        ("P99", True): Threshold(10, 0, 398.371),
        ("P99", False): Threshold(3, 3, 425.889),
    },
    6000: {
        ("failures", True): Threshold(1, 0, 0.025862),
        ("failures", False): Threshold(3, 0, 0.0040720),
        ("P50", True): Threshold(1, 0, 87.903),
        ("P50", False): Threshold(2, 0, 85.528),
        ("P95", True): Threshold(1, 0, 236.979),
        ("P95", False): Threshold(1, 0, 237.116),
        ("P99", True): Threshold(3, 0, 348.316),
        ("P99", False): Threshold(3, 0, 348.579),
    },
}


def best_static(traffic: Traffic) -> Result:
    """All four, any of which rolls back."""
    high = traffic.scenario.slo > 0.01  # an endpoint that usually fails 1 % of its requests
    failing: Any = False
    for metric in FOUND_BY:
        failing = failing | CHOSEN[int(traffic.rate)][metric, high].failing(measured(metric, traffic))
    return stopped(failing, len(failing))


if __name__ == "__main__":
    for rate in CHOSEN:
        print(rate, tuned(rate))
