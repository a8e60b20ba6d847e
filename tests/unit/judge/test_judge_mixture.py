"""Evidence over time."""

import itertools

import numpy as np
import pytest

from opslib.judge.harm.tables import log_e_two_by_two
from opslib.judge.values.criteria import Criteria, bets
from opslib.judge.values.metrics import Failures
from opslib.judge.values.mixture import Mixture, advance, begin, limit_gain, log_evidence, transition

MIXTURE = Mixture(prior=(0.7, 0.3), idle=0.2, onsets_per_minute=0.3, moves_per_minute=0.2)


def test_recursion_equals_the_sum_over_all_paths():
    """The recursion gives the sum over every path of effects of its prior times what it would have won."""
    gains = np.array([[0.5, -0.4], [-1.0, 0.9], [0.2, 0.1], [1.1, -2.0]])
    lengths = [1.0, 0.25, 2.0, 1.0]
    matrices = [transition(MIXTURE, minutes) for minutes in lengths]
    brute = 0.0
    for path in itertools.product(range(3), repeat=5):
        weight = np.exp(begin(MIXTURE))[path[0]]
        for step in range(4):
            weight *= matrices[step][path[step], path[step + 1]]
            weight *= 1.0 if path[step + 1] == 0 else np.exp(gains[step, path[step + 1] - 1])
        brute += weight
    bets = begin(MIXTURE)
    for step in range(4):
        bets = advance(bets, gains[step], matrices[step])
    assert float(np.exp(log_evidence(bets))) == pytest.approx(brute, rel=1e-12)


def test_starts_at_one_and_stays_without_evidence():
    """Bets sum to 1 at the start, and go on summing to 1 while nothing is won or lost."""
    bets = begin(MIXTURE)
    for _ in range(50):
        bets = advance(bets, np.zeros(2), transition(MIXTURE, 1.0))
    assert float(log_evidence(bets)) == pytest.approx(0.0, abs=1e-12)


def test_transition_rows_sum_to_one_for_any_length():
    """Whatever an interval's length, no bet is created or lost."""
    for minutes in (0.0, 0.01, 1.0, 1e4):
        assert transition(MIXTURE, minutes).sum(axis=1) == pytest.approx([1, 1, 1])


def test_late_onset_costs_a_few_nats_not_the_whole_past():
    """An effect that sets in after an hour is found nearly as fast as one that is there from the start."""
    plain = Mixture(prior=(1.0,))
    early = late = begin(plain)
    matrix = transition(plain, 1.0)
    for _ in range(60):
        late = advance(late, np.array([-0.5]), matrix)
    for _ in range(20):
        early, late = advance(early, np.array([0.5]), matrix), advance(late, np.array([0.5]), matrix)
    assert float(log_evidence(early) - log_evidence(late)) < 6


def test_gain_limit_caps_one_interval():
    """With a cap no interval multiplies the evidence by more than it."""
    before = begin(MIXTURE)
    after = advance(before, np.array([30.0, 40.0]), transition(MIXTURE, 1.0))
    capped = limit_gain(before, after, 20.0)
    assert float(log_evidence(capped) - log_evidence(before)) == pytest.approx(np.log(20.0))


def test_never_crosses_often_by_chance():
    """In 4,000 seeded runs of fair coin bets over 200 intervals at most 5 % ever reach 20."""
    rng = np.random.Generator(np.random.SFC64(5))
    bets = np.broadcast_to(begin(MIXTURE), (4000, 3))
    peak = np.zeros(4000)
    p, q = 0.5, np.array([0.6, 0.8])
    for _ in range(200):
        hit = rng.random(4000)[:, None] < p
        log_e = np.where(hit, np.log(q / p), np.log((1 - q) / (1 - p)))
        bets = advance(bets, log_e, transition(MIXTURE, 1.0))
        peak = np.maximum(peak, log_evidence(bets))
    assert np.mean(peak >= np.log(20)) <= 0.05


def test_canary_at_the_edge_of_tolerance_is_rolled_back_rarely_enough():
    """At exactly the tolerated odds, over stages, pauses and an incident, at most 5 % are rolled back."""
    rng = np.random.Generator(np.random.SFC64(17))
    runs, metric = 1200, Failures()
    mixture = bets(metric, Criteria())
    state = np.broadcast_to(begin(mixture), (runs, 1 + len(metric.odds)))
    peak = np.zeros(runs)
    for step in range(90):
        weight = (0.05, 0.25, 0.5)[step // 30]
        rate = 0.15 if 40 <= step < 44 else 0.004 + 0.0001 * step
        share = 1.1 * rate / (1 + 0.1 * rate)
        n, m = rng.poisson(600 * weight, runs), rng.poisson(600 * (1 - weight), runs)
        log_e = log_e_two_by_two(rng.binomial(n, share), n, rng.binomial(m, rate), m, metric.odds, 1.1)
        state = advance(state, log_e, transition(mixture, 30.0 if step == 60 else 1.0))
        peak = np.maximum(peak, log_evidence(state))
    assert np.mean(peak >= np.log(20)) <= 0.05
