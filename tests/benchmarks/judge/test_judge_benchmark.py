"""The benchmark at a small size: the judge's guards, and that its arrays are the package.

``OPSLIB_BENCH_JUDGED`` is the number of canaries in each scenario: 60, or 2000 as in the table of `table.py`.
"""

import os
from typing import Any

import numpy as np
import pytest

import opslib.judge as package

from .ours import criteria_for, decide
from .table import JUDGE, check, draw, measure, ratios, report, run
from .traffic import COLD_START, MINUTES, QUANTILES, REPORTED, SCENARIOS, SLOTS, simulate

RUNS = int(os.environ.get("OPSLIB_BENCH_JUDGED", "60"))
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def intervals(traffic, run_, slots, source):
    out = []
    for first in range(0, MINUTES * SLOTS, slots):
        arms: dict[str, Any] = {}
        for arm in ("canary", "stable"):
            n = int(traffic.n[arm][run_, first : first + slots].sum())
            bad = int(traffic.failures[arm][run_, first : first + slots].sum())
            given: dict[str, Any] = {"requests": n, "failures": bad, "timed": n - bad}
            if source != "request log":
                given["percentiles_ms"] = tuple(
                    zip(REPORTED, traffic.percentiles[arm][run_, first // SLOTS], strict=True)
                )
            else:
                above = traffic.above[arm][run_, first : first + slots].sum(axis=0)
                order = np.argsort(traffic.thresholds_ms[run_], kind="stable")
                given["above"] = tuple((float(traffic.thresholds_ms[run_][i]), int(above[i])) for i in order)
            arms[arm] = package.Arm(**given)
        out.append(
            package.Interval(
                start_s=10.0 * first,
                length_s=10.0 * slots,
                weight=10.0,
                source="request log" if source == "request log" else "metrics",
                **arms,
            )
        )
    return out


@pytest.mark.parametrize(
    ("name", "source", "slots"),
    [
        ("slow leak", "request log", SLOTS),
        ("slow leak", "request log", 1),
        ("slow leak", "metrics", SLOTS),
        ("bimodal", "request log", SLOTS),
        ("bimodal", "metrics", SLOTS),
        ("slow leak", "ranks", SLOTS),
        ("bimodal", "ranks", SLOTS),
    ],
)
def test_arrays_are_the_package(name, source, slots):
    """The benchmark's arrays give, run by run, the package's own evidence and outcome."""
    traffic = simulate(BY_NAME[name], 600, 2, 3)
    criteria = criteria_for(traffic, source)
    result = decide(traffic, criteria, slots_per_step=slots, source=source)
    quantiles = getattr(criteria.metrics[1], "quantiles", ())
    columns = [QUANTILES.index(q) for q in quantiles]
    for run_ in range(1 if slots == 1 else 2):
        reference = tuple(traffic.reference_ms[run_, columns].tolist())
        state = package.begin(criteria, endpoint="e", stable="a", canary="b", reference_ms=reference)
        _, verdict = package.judge(state, intervals(traffic, run_, slots, source), criteria, bake_over=True)
        total = [line.log_evidence for line in verdict.lines]
        assert total == pytest.approx(result.detail["total"][run_].tolist(), abs=1e-8)
        if slots == SLOTS:  # the arrays' proofs add up whole minutes
            ps = [p[run_] for name, p in result.detail.items() if name.startswith("p ")]
            assert [proof.p for proof in verdict.proofs] == pytest.approx(ps, abs=1e-8)
        assert verdict.outcome == result.outcome[run_]


@pytest.mark.parametrize(
    "name", ["A/A 0.1 %", "A/A 1 %", "shared incident", "drift", "bursts", "bimodal", "heavy tail"]
)
def test_innocent_canaries_are_left_alone(name):
    """At 600 requests a minute hardly any of 60 innocent canaries is rolled back, and plain ones are promoted."""
    cell = measure(JUDGE, simulate(BY_NAME[name], 600, RUNS, 31), 600)
    assert cell.rollback <= 4
    if name.startswith("A/A") or name == "bimodal":
        assert cell.hold <= 12


@pytest.mark.parametrize(
    ("name", "minutes"), [("1 -> 3 %", 10), ("latency x1.2", 5), ("p99 x2", 13), ("slow leak", 16)]
)
def test_regressions_are_found(name, minutes):
    """At 600 requests a minute regressions are found in time and never promoted."""
    cell = measure(JUDGE, simulate(BY_NAME[name], 600, RUNS, 32), 600)
    assert cell.promote <= 2
    assert cell.minutes <= minutes


def test_more_traffic_finds_it_within_two_minutes():
    """At 6,000 requests a minute a rise of failures from 1 to 3 % takes at most two minutes."""
    assert measure(JUDGE, simulate(BY_NAME["1 -> 3 %"], 6000, 20, 33), 6000).minutes <= 2


def test_cold_start_is_decided_by_policy():
    """A canary that is bad only while it warms up is rolled back, unless that time is declared not to count."""
    traffic = simulate(COLD_START, 600, 3, 34)
    for warm_up_s, outcome in ((0.0, "rollback"), (180.0, "promote")):
        criteria = criteria_for(traffic, warm_up_s=warm_up_s)
        reference = tuple(traffic.reference_ms[1].tolist())
        state = package.begin(criteria, endpoint="e", stable="a", canary="b", reference_ms=reference)
        given = intervals(traffic, 1, SLOTS, "request log")
        assert package.judge(state, given, criteria, bake_over=True)[1].outcome == outcome


def test_same_seed_same_traffic():
    """The simulator is a function of its seed."""
    one, two = (simulate(BY_NAME["bursts"], 600, 3, 9) for _ in range(2))
    assert np.array_equal(one.above["canary"], two.above["canary"])
    assert not np.array_equal(one.n["canary"], simulate(BY_NAME["bursts"], 600, 3, 10).n["canary"])


def test_table_prints_every_rule_and_draws(tmp_path):
    """The documented command's parts work end to end: table, ratios, bars and plot."""
    scenarios = [BY_NAME["A/A 1 %"], BY_NAME["1 -> 3 %"]]
    cells = run(8, 40, rates=(600,), scenarios=scenarios)
    text = report(cells)
    assert text.count("Kayenta") >= 6
    assert "Monte Carlo" in text
    assert ratios(cells)
    assert isinstance(check(cells), list)
    draw(cells, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
