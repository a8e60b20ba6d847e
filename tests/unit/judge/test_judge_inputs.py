"""What surrounds the decision: published figures, percentiles, split, planner, rehearsal, probes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy

from opslib.errors import JudgeError
from opslib.judge import (
    Arm,
    Criteria,
    Failures,
    Interval,
    Latency,
    PlannedStage,
    Ranks,
    begin,
    forecast_bake,
    from_record,
    judge,
    probe_stop,
    to_record,
    traffic_stop,
)
from opslib.judge.aa_test import _split, rehearse
from opslib.judge.harm.latency import log_tilts
from opslib.judge.harm.means import tuned_rho
from opslib.judge.harm.outcomes import log_e_paired
from opslib.judge.harm.percentiles import (
    bracket_above,
    in_gap,
    interpolated_above,
    log_e_rank_share,
    merge_untrusted,
)
from opslib.judge.harm.ranks import _log_ratios
from opslib.judge.harm.sample_ratio import log_e_value as split_log_e_value
from opslib.judge.harm.slo import log_e_value as slo_log_e_value
from opslib.judge.harm.tables import log_e_two_by_two
from opslib.judge.looks.bounds import rate_bounds
from opslib.judge.looks.paired_probes import PairedProbe, pair_probes, probe_order
from opslib.judge.looks.watermark import revisions, settled_intervals
from opslib.judge.proof.power import minutes_to_detect, requests_to_prove
from opslib.judge.values.metrics import Slo
from opslib.judge.values.mixture import log_evidence
from opslib.model.text import e_value, k_of_n, percent

ONLY_FAILURES = Criteria(metrics=(Failures(limit_rate=0.02),))


def start(criteria=ONLY_FAILURES, **kwargs):
    return begin(criteria, endpoint="fraud", stable="blue@1", canary="green@2", **kwargs)


def minute(i, canary=(60, 0), stable=(540, 4), **kwargs):
    canary_arm, stable_arm = (Arm(requests=n, failures=bad) for n, bad in (canary, stable))
    return Interval(start_s=60.0 * i, length_s=60.0, weight=10.0, canary=canary_arm, stable=stable_arm, **kwargs)


def half_width(deviation, n, rho, alpha=0.05):
    """Waudby-Smith et al. (2024), arXiv 2103.06476v7, eq. 134: from a mean down to its one-sided bound."""
    spread = n * rho * rho + 1.0
    return deviation * math.sqrt(2.0 * spread / (n * rho) ** 2 * math.log1p(math.sqrt(spread) / (2.0 * alpha)))


def test_published_confidence_sequence_is_reproduced():
    """The asymptotic bound of Waudby-Smith et al. equals what GrowthBook publishes for it, to every digit given."""
    deviation, n = 0.12983081254184736 * math.sqrt(6461), 6461
    lower = 0.23437666666666668 - half_width(deviation, n, tuned_rho(5000))
    assert lower == pytest.approx(-0.12656844172804982, abs=1e-12)
    relative = 0.3334122146400735 * math.sqrt(6461)
    assert 0.5033610858562358 - half_width(relative, n, tuned_rho(5000)) == pytest.approx(
        -0.42356454602790883, abs=1e-9
    )


def test_fishers_tea_tasting_is_reproduced():
    """Three of Fisher's four cups right, published as 16 in 70, weigh as that table does under odds w."""
    w = 3.0
    weights = np.array([1, 16, 36, 16, 1]) * w ** np.arange(5)
    published = (weights[3] / weights.sum()) / (16 / 70)  # The Design of Experiments (1935), chapter II
    assert math.exp(log_e_two_by_two(3, 4, 1, 4, [w], 1.0)[0]) == pytest.approx(published, rel=1e-12)


def test_bracket_holds_the_truth_and_interpolation_stays_inside():
    """The true count above a threshold lies within the percentiles' bracket, and so does the interpolated one."""
    rng = np.random.Generator(np.random.SFC64(1))
    levels = (0.5, 0.9, 0.95, 0.99)
    for _ in range(200):
        values = np.sort(80 * np.exp(0.55 * rng.standard_normal(int(rng.integers(5, 400)))))
        ranks = np.maximum(np.ceil(np.array(levels) * values.size - 1e-9).astype(int), 1)
        threshold = float(80 * np.exp(rng.standard_normal()))
        low, high = bracket_above(levels, values[ranks - 1], values.size, threshold)
        guess = interpolated_above(levels, values[ranks - 1], values.size, threshold)
        assert low <= np.sum(values > threshold) <= high
        assert low <= guess <= high


def test_interpolation_is_unbiased_for_lognormal_latency():
    """For log-normal latencies the interpolated count is right on average to a few percent of its spread."""
    rng = np.random.Generator(np.random.SFC64(2))
    values = np.sort(np.exp(0.55 * rng.standard_normal((3000, 600))), axis=1)
    levels = (0.5, 0.9, 0.95, 0.99)
    table = values[:, np.ceil(np.array(levels) * 600).astype(int) - 1]
    threshold = np.full(3000, math.exp(0.55 * 1.5))
    error = interpolated_above(levels, table, np.full(3000, 600), threshold) - (values > threshold[0]).sum(axis=1)
    assert abs(error.mean()) < 1.0  # of 40 requests, which scatter by 6


def test_gap_is_seen_in_stables_past():
    """Percentiles beside a gap of two modes are not trusted, those of a log-normal or a Pareto tail are."""
    levels = (0.5, 0.9, 0.95, 0.99)
    assert in_gap(levels, [80, 130, 180, 860]).tolist() == [False, False, True, True]
    assert in_gap(levels, [80, 130, 780, 860]).tolist() == [False, True, True, False]
    assert not in_gap(levels, [80, 162, 200, 292]).any()
    assert merge_untrusted(np.array([30.0, 6.0, 3.0, 1.0]), np.array([False, True, True, False])).tolist() == [
        30,
        1,
        1,
        1,
    ]


def test_rank_share_is_exact_at_the_allowed_share():
    """The e-value of how many percentiles break the promise averages at most 1 at the allowed share."""
    levels, n = (0.5, 0.9, 0.95, 0.99), 60
    ranks = np.ceil(np.array(levels) * n - 1e-9)
    above = np.arange(n + 1)
    table = np.where(above[:, None] > n - ranks, 300.0, 100.0)
    e = np.exp(log_e_rank_share(levels, table, np.full(n + 1, n), np.full(n + 1, 250.0), [0.1, 0.3], 0.05))
    for true in (0.05, 0.03, 0.01):
        assert np.all(scipy.stats.binom(n, true).pmf(above) @ e <= 1 + 1e-9)
    assert np.all(scipy.stats.binom(n, 0.2).pmf(above) @ e > 1)


def test_tilts_rise_and_average_to_one():
    """Every alternative favours slower bins, and a shift only moves mass between bins."""
    share = np.array([0.75, 0.5, 0.25, 0.1, 0.05, 0.01])
    tilts = log_tilts(Latency(), share)
    assert np.all(np.diff(tilts, axis=1) >= 0)
    mass = -np.diff([1.0, *share, 0.0])
    assert np.exp(tilts[:2]) @ mass == pytest.approx([1.0, 1.0], abs=1e-6)


def test_promise_that_stable_breaks_too_places_no_bet():
    """In a minute in which stable breaks the promise the canary's evidence stays as it was, and stable's grows."""
    metric = Slo(name="failures", allowed=0.01)
    mine, theirs = slo_log_e_value(metric, minute(0, canary=(60, 10), stable=(540, 60)))
    assert mine.tolist() == [0.0] * 4
    assert theirs.max() > 10
    mine, _ = slo_log_e_value(metric, minute(0, canary=(60, 10), stable=(540, 1)))
    assert mine.max() > 5


def test_split_is_checked_against_the_configured_weight():
    """Requests that follow the weight lose the bet on a wrong split, others win it; weight 0 is no evidence."""
    assert split_log_e_value(600, 5400, 10.0).max() < 0
    assert split_log_e_value(900, 5100, 10.0).max() > 10
    assert split_log_e_value(0, 6000, 0.0).tolist() == [0.0] * 6


def test_paired_probes_are_tables_of_one_request_each():
    """Discordant pairs weigh exactly as much as 2x2 tables with one request per arm."""
    one = log_e_two_by_two(1, 1, 0, 1, [3.0, 6.0], 1.1)
    other = log_e_two_by_two(0, 1, 1, 1, [3.0, 6.0], 1.1)
    assert log_e_paired(4, 2, [3.0, 6.0], 1.1) == pytest.approx(4 * one + 2 * other)


def test_probe_round_is_balanced_and_recomputable():
    """Every question goes to both versions, each first about half the time, and the same again for a round."""
    round_ = probe_order(200, seed=7)
    assert round_ == probe_order(200, seed=7) != probe_order(200, seed=8)
    first = [arm for i, (_, arm) in enumerate(round_) if i % 2 == 0]
    assert 70 < first.count("canary") < 130
    assert all({round_[i][1], round_[i + 1][1]} == {"stable", "canary"} for i in range(0, 400, 2))


def test_probes_become_an_interval_of_their_own():
    """Only whole pairs count; wrong golden answers are failures; answers that differ without one are changed."""
    probes = [
        PairedProbe(pair=1, arm="stable", failed=False, latency_ms=80, answer="a"),
        PairedProbe(pair=1, arm="canary", failed=False, latency_ms=90, answer="b"),
        PairedProbe(pair=2, arm="stable", failed=False, latency_ms=80, answer="a", golden="a"),
        PairedProbe(pair=2, arm="canary", failed=False, latency_ms=95, answer="x", golden="a"),
        PairedProbe(pair=3, arm="stable", failed=False, latency_ms=80, answer="a"),
    ]
    interval = pair_probes(probes, start_s=0.0, length_s=10.0)
    assert (interval.source, interval.paired) == ("probes", (1, 0))
    assert (interval.canary.requests, interval.canary.failures) == (2, 1)
    assert interval.canary.changed_answers == (1, 1)
    with pytest.raises(JudgeError, match="pair 1"):
        pair_probes([probes[0], probes[0]], start_s=0.0, length_s=10.0)


def test_failing_probes_roll_back():
    """A canary that fails probes which stable answers is rolled back before any user sees it."""

    def probe(pair, arm, failed):
        return PairedProbe(
            pair=pair,
            arm=arm,
            failed=failed,
            latency_ms=None if failed else 80.0,
            answer="" if failed else "a",
        )

    state, verdict = start(), None
    for i in range(4):
        rows = [
            probe(p, arm, failed=arm == "canary" and p % 3 == 0) for p in range(12) for arm in ("stable", "canary")
        ]
        state, verdict = judge(state, [pair_probes(rows, start_s=10.0 * i, length_s=10.0)], ONLY_FAILURES)
    assert verdict.outcome == "rollback"


@pytest.mark.parametrize(
    ("odds", "base", "rate", "weight", "minutes"),
    [(3.06, 0.01, 600, 10, 8.3), (5.02, 0.001, 600, 10, 27.0), (3.06, 0.01, 6000, 10, 0.8)],
)
def test_planner_agrees_with_the_measured_times(odds, base, rate, weight, minutes):
    """The forecast minutes to detect are those of the simulation within a quarter, at the same price."""
    price = math.log(1 / (0.05 * 0.5 * 0.4)) + 0.3
    assert minutes_to_detect(base, odds, 1.1, rate, weight, price) == pytest.approx(minutes, rel=0.25)


def test_planner_counts_what_a_proof_needs():
    """The requests for a proof are those at which binomial counts reach the level and four in five succeed."""
    needed = round(requests_to_prove(0.001, 0.005, 0.05))
    allowed = next(k for k in range(20, -1, -1) if scipy.stats.binom(needed, 0.005).cdf(k) <= 0.051)
    assert scipy.stats.binom(needed, 0.001).cdf(allowed) >= 0.79
    assert requests_to_prove(0.0, 0.005, 0.05) == pytest.approx(math.log(0.05) / math.log(0.995), rel=0.01)
    assert requests_to_prove(0.4, 0.5, 0.05) == pytest.approx(0.25 * (1.645 + 0.842) ** 2 / 0.1**2, rel=0.1)


def test_plan_that_cannot_decide_says_what_would():
    """Too little traffic is refused before the run, with the bake or the weight that would do."""
    outlook = PlannedStage(requests_per_minute=60.0, weight=10.0, failure_rate=0.001, bake_minutes=30.0)
    criteria = Criteria(metrics=(Failures(), Latency()))
    short = forecast_bake(criteria, outlook)
    assert not short.decides
    assert "cannot decide" in short.advice
    assert short.needed_minutes > 100
    assert forecast_bake(criteria, replace(outlook, bake_minutes=short.needed_minutes + 1)).decides
    assert {row.metric for row in short.forecasts} == {"failures", "latency"}


def test_probes_are_kept_apart_from_users_traffic():
    """A round of probes in a minute of users' traffic is judged beside it and proves nothing about users."""
    rows = [
        PairedProbe(pair=p, arm=arm, failed=False, latency_ms=80.0)
        for p in range(9)
        for arm in ("stable", "canary")
    ]
    round_ = pair_probes(rows, start_s=30.0, length_s=10.0)
    state, verdict = judge(start(), [minute(0), round_, minute(1)], ONLY_FAILURES)
    assert (state.judged, state.ignored, len(verdict.lines)) == (2, 0, 3)
    assert state.tallies["failures"].canary_n == 120
    assert "1 intervals of probes" in verdict.basis
    counted = replace(ONLY_FAILURES, probes_prove=True)
    assert judge(start(counted), [round_], counted)[0].tallies["failures"].canary_n == 9


def test_hard_stops_say_what_they_saw():
    """Most requests failing, or three dead rounds of probes, stop; not if stable fares alike."""
    assert "50 of the canary's 60" in (traffic_stop(minute(0, canary=(60, 50))) or "")
    assert traffic_stop(minute(0, canary=(60, 30))) is None
    assert traffic_stop(minute(0, canary=(19, 19))) is None
    assert traffic_stop(minute(0, canary=(60, 50), stable=(540, 400))) is None
    rows = [PairedProbe(pair=1, arm="stable", failed=False), PairedProbe(pair=1, arm="canary", failed=True)]
    dead = [pair_probes(rows, start_s=10.0 * i, length_s=10.0) for i in range(5)]
    assert "5 rounds" in (probe_stop(dead) or "")
    assert probe_stop(dead[:4]) is None, "one question proves less in a round than many"
    rows += [PairedProbe(pair=2, arm="stable", failed=False), PairedProbe(pair=2, arm="canary", failed=True)]
    dead = [pair_probes(rows, start_s=10.0 * i, length_s=10.0) for i in range(3)]
    assert "3 rounds" in (probe_stop(dead) or "")
    assert probe_stop(dead[:2]) is None


def test_rehearsal_of_stable_against_itself_rarely_rolls_back():
    """Stable split at random, incident included, is hardly ever rolled back; a seed gives the same again."""
    criteria = Criteria(metrics=(Failures(limit_rate=0.02), Latency()))
    rng = np.random.Generator(np.random.SFC64(9))
    minutes = []
    for i in range(12):
        bad = 60 if 4 <= i < 6 else 3
        times = tuple((80 * np.exp(0.55 * rng.standard_normal(600 - bad))).tolist())
        stable = Arm(requests=600, failures=bad, samples_ms=times)
        minutes.append(Interval(start_s=60.0 * i, length_s=60.0, weight=0.0, stable=stable, canary=Arm(requests=0)))
    done = rehearse(start(criteria), minutes, criteria, weight=10.0, seed=1, runs=20)
    assert done.false_rollback <= 0.1
    few = [rehearse(start(criteria), minutes, criteria, weight=10.0, seed=1, runs=3) for _ in range(2)]
    assert few[0] == few[1]
    assert "judged against itself" in done.sentence


@pytest.mark.parametrize(("n", "m"), [(20, 90), (60, 540), (7, 11)])
def test_rank_evidence_is_exact(n, m):
    """Over orders of equal latencies the e-value of the canary's percentile averages at most 1."""
    levels, quantile, odds = (0.5, 0.9, 0.95, 0.99), 0.95, 3.0
    log_ratios = _log_ratios(n, m, quantile, levels, odds)
    rng = np.random.Generator(np.random.SFC64(12))
    place = rng.permuted(np.tile(np.arange(n + m), (20000, 1)), axis=1)
    mine, other = np.sort(place[:, :n], axis=1), np.sort(place[:, n:], axis=1)
    rank = int(np.ceil(quantile * n - 1e-9)) - 1
    ranks = np.ceil(np.array(levels) * m - 1e-9).astype(int) - 1
    below = (other[:, ranks] < mine[:, [rank]]).sum(axis=1)
    e = np.exp(np.array(log_ratios))[below]
    assert e.mean() <= 1 + 3 * e.std() / np.sqrt(e.size)
    assert list(log_ratios) == sorted(log_ratios)
    assert log_ratios[-1] > 0 > log_ratios[0]


def test_ranks_alone_roll_back_a_slow_canary():
    """With nothing but percentiles and their exact ranks a canary twice as slow is rolled back."""
    criteria = Criteria(metrics=(Failures(), Ranks()))
    levels = (0.5, 0.9, 0.95, 0.99)
    stable = Arm(requests=540, failures=2, percentiles_ms=tuple(zip(levels, (80, 162, 200, 292), strict=True)))
    canary = Arm(requests=60, percentiles_ms=tuple(zip(levels, (160, 324, 400, 584), strict=True)))
    minutes = [
        Interval(start_s=60.0 * i, length_s=60.0, weight=10.0, stable=stable, canary=canary, source="metrics")
        for i in range(8)
    ]
    assert judge(start(criteria), minutes, criteria)[1].binding == "latency ranks"


def test_ranks_alone_do_not_promote_what_they_cannot_show():
    """A few minutes of equal percentiles prove nothing; half an hour of lower ones does."""
    criteria = Criteria(metrics=(Failures(limit_rate=0.9), Ranks()), least_intervals=1, least_requests=1)
    levels = (0.5, 0.9, 0.95, 0.99)
    stable = Arm(requests=540, percentiles_ms=tuple(zip(levels, (80, 162, 200, 292), strict=True)))
    canary = Arm(requests=60, percentiles_ms=tuple(zip(levels, (78, 160, 198, 290), strict=True)))
    minutes = [
        Interval(start_s=60.0 * i, length_s=60.0, weight=10.0, stable=stable, canary=canary, source="metrics")
        for i in range(30)
    ]
    few, many = (judge(start(criteria), minutes[:n], criteria, bake_over=True)[1] for n in (3, 30))
    assert (few.outcome, few.binding, many.outcome) == ("hold", "latency ranks", "promote")
    assert few.more_requests is not None
    assert few.more_requests >= 60


def test_recorded_counts_are_split_without_loss():
    """Counts above thresholds are shared out between the two pretended versions, request by request."""
    whole = Arm(requests=600, failures=5, timed=595, above=((80.0, 300), (200.0, 30)))
    interval = Interval(start_s=0.0, length_s=60.0, weight=0.0, stable=whole, canary=Arm(requests=0))
    half = _split(interval, 20.0, np.random.Generator(np.random.SFC64(3)))
    assert half.canary.requests + half.stable.requests == 600
    assert half.canary.failures + half.stable.failures == 5
    for i in range(2):
        assert half.canary.above[i][1] + half.stable.above[i][1] == whole.above[i][1]


def test_judging_a_record_again_gives_the_same_verdict():
    """What was judged is judged the same from its record."""
    minutes = [minute(i, canary=(60, i % 3)) for i in range(20)]
    recorded = [from_record(to_record(each)) for each in minutes]
    assert judge(start(), recorded, ONLY_FAILURES, bake_over=True) == judge(
        start(), minutes, ONLY_FAILURES, bake_over=True
    )


def test_record_takes_iso_times_and_refuses_ambiguous_ones():
    """A start may be an ISO time with an offset; one without is refused."""
    record = to_record(minute(0))
    assert from_record({**record, "start_s": "1970-01-01T00:01:00Z"}).start_s == 60.0
    with pytest.raises(JudgeError, match="offset"):
        from_record({**record, "start_s": "1970-01-01T00:01:00"})


def test_watermark_waits_for_late_and_uncounted_minutes():
    """Young minutes wait, a young zero is not yet counted, an old one is zero, nothing is judged past a gap."""
    minutes = [minute(0), minute(1), minute(2, canary=(0, 0)), minute(3)]
    young = settled_intervals(minutes, start(), now_s=420.0, lag_s=120.0, zero_lag_s=600.0)
    assert [each.start_s for each in young] == [0.0, 60.0]
    old = settled_intervals(minutes, start(), now_s=900.0, lag_s=120.0, zero_lag_s=600.0)
    assert len(old) == 4
    state, _ = judge(start(), old[:2], ONLY_FAILURES)
    assert [each.start_s for each in settled_intervals(minutes, state, now_s=900.0, lag_s=120.0)] == [120.0, 180.0]


def test_revision_of_a_judged_minute_is_reported():
    """A judged minute that reads otherwise later, or is gone, is listed and no other."""
    judged = [minute(i) for i in range(4)]
    now = [minute(0), minute(1, canary=(61, 1)), minute(3)]
    found = revisions(judged, now)
    assert [(each.start_s, each.now is None) for each in found] == [(60.0, False), (120.0, True)]


def test_rate_bounds_cover_at_all_times():
    """The plotted bounds miss a constant rate at some time in at most 5 % of seeded runs."""
    rng = np.random.Generator(np.random.SFC64(8))
    missed = 0
    for _ in range(200):
        bad = rng.binomial(50, 0.02, 30).cumsum()
        missed += any(
            not low <= 0.02 <= high for low, high in (rate_bounds(int(b), 50 * (i + 1)) for i, b in enumerate(bad))
        )
    assert missed <= 10
    assert rate_bounds(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 3, "failures": 4},
        {"requests": 3, "above": ((80.0, 4),)},
        {"requests": 5, "above": ((90.0, 1), (80.0, 2))},
        {"requests": 5, "above": ((80.0, 1), (90.0, 2))},
    ],
)
def test_counts_that_cannot_be_are_refused(wrong):
    """More failures than requests, or counts that do not fall with the threshold, are refused."""
    with pytest.raises(JudgeError, match="must"):
        Arm(**wrong)


def test_evidence_without_traffic_is_flat():
    """An interval without canary requests leaves the evidence where it was."""
    state, _ = judge(start(), [minute(i) for i in range(5)], ONLY_FAILURES)
    after, _ = judge(state, [minute(9, canary=(0, 0))], ONLY_FAILURES)
    before = float(log_evidence(np.array(state.log_bets["failures"])))
    assert float(log_evidence(np.array(after.log_bets["failures"]))) == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.3079), "30.8 %"),
        (percent(0.06849), "6.8 %"),
        (percent(0.0037), "0.37 %"),
        (percent(0.0), "0 %"),
        (k_of_n(5, 73), "5 of 73 (6.8 %)"),
        (k_of_n(0, 1917), "0 of 1,917"),
        (k_of_n(0, 0), "0 of 0"),
        (e_value(math.log(0.812)), "0.81"),
        (e_value(math.log(42.1)), "42"),
        (e_value(30.0), "over 1,000,000"),
    ],
)
def test_numbers_as_people_read_them(text, expected):
    """Shares with their counts, evidence and p-values, each in its shortest true form."""
    assert text == expected
