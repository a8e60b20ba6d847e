"""Whatever the order in which runs end: never more at once than allowed, nothing after a stop, nothing twice."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waves import make_wave, row

from opslib.fleet.plan import Room
from opslib.fleet.rules import MemberState, Stop, WaveState, begin_state, conclude, decide, find_stop
from opslib.model import Outcome

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
OUTCOMES = [
    *(Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.REFUSED),
    *(Outcome.WAITING, Outcome.ABORTED),
]


def names(decision):
    return [member.endpoint for member in decision.start]


def end(state: WaveState, number: int, outcome: Outcome, reason: str = "", *, lost: bool = False) -> WaveState:
    member = state.plan.members[number - 1]
    started = state if state.of(member).status == "running" else state.started(member)
    runs = started.of(member).runs + 1
    return started.ended(member, MemberState(runs=runs, outcome=outcome, reason=reason, lost=lost), NOW)


@st.composite
def plans(draw):
    total = draw(st.integers(1, 25))
    some = st.sampled_from
    rows = [row(n, draw(some(["eastus", "westeurope"])), draw(some(["claims", "risk", ""]))) for n in range(total)]
    amounts = st.one_of(st.integers(1, 9).map(str), st.integers(1, 100).map(lambda share: f"{share}%"))
    limits = st.one_of(st.none(), st.integers(1, 4))
    return make_wave(
        rows,
        batches=draw(st.lists(amounts, min_size=1, max_size=3)),
        max_concurrency=draw(amounts),
        max_per_region=draw(limits),
        max_per_owner=draw(limits),
        max_failures=draw(st.one_of(st.integers(0, 5).map(str), st.just("20%"))),
        min_success_rate=draw(some([0.0, 0.5, 1.0])),
        retries=draw(st.integers(0, 2)),
        first=["fraud-3"],
    )


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_no_order_of_ends_breaks_a_limit(plan, data):
    """Runs end in any order and way: limits hold, no start follows a stop, each endpoint runs once per attempt."""
    state, running, starts = begin_state(plan), [], dict.fromkeys(range(1, len(plan.members) + 1), 0)
    lost = dict(starts)
    while True:
        decision = decide(state, NOW)
        for member in decision.start:
            assert decision.stop is None
            assert find_stop(state, NOW) is None
            assert sum(state.of(one).failed for one in plan.members) <= plan.max_failures
            assert all(state.of(one).settled for one in plan.members if one.batch < member.batch)
            state = state.started(member)
            running.append(member)
            starts[member.number] += 1
        assert len(running) <= plan.max_concurrency
        for limit, value in ((plan.wave.max_per_region, "region"), (plan.wave.max_per_owner, "owner")):
            counts = [sum(getattr(one, value) == getattr(m, value) for one in running) for m in running]
            assert limit is None or max(counts, default=0) <= limit
        if decision.finished:
            break
        assert running
        member = running.pop(data.draw(st.integers(0, len(running) - 1)))
        outcome = data.draw(st.sampled_from(OUTCOMES))
        died = outcome is Outcome.ABORTED and data.draw(st.booleans())
        lost[member.number] += died
        state = end(state, member.number, outcome, lost=died)
    assert not running
    assert all(count <= 1 + min(lost[number], plan.wave.retries) for number, count in starts.items())
    assert decision.stop or all(starts.values())
    outcome, reason = conclude(state, decision.stop)
    assert (outcome is Outcome.SUCCEEDED) == (decision.stop is None), reason


@settings(max_examples=60, deadline=None)
@given(plans())
def test_groups_hold_every_member_once_within_the_limits(plan):
    """An engine that starts a whole group at once breaks no limit either."""
    for batch in plan.batches:
        groups = plan.groups(batch)
        assert sorted(one.number for group in groups for one in group) == [one.number for one in batch]
        for group in groups:
            room = Room(plan, ())
            assert all(room.take(one) for one in group)


def test_batches_have_the_sizes_of_the_file_and_the_last_repeats():
    """As Ansible's serial: 1, then a quarter of all, again and again."""
    plan = make_wave(12, batches=["1", "25%"], first=["Fraud-7"])
    assert [len(batch) for batch in plan.batches] == [1, 3, 3, 3, 2]
    assert [one.endpoint for one in plan.members[:3]] == ["fraud-7", "fraud-0", "fraud-1"]


def test_the_next_batch_waits_for_the_pause():
    """The pause begins when the batch before it has ended."""
    state = begin_state(make_wave(2, batches=["1"], pause_s=60))
    assert names(decide(state, NOW)) == ["fraud-0"]
    state = end(state, 1, Outcome.SUCCEEDED)
    waits = decide(state, NOW + timedelta(seconds=59))
    assert (waits.start, waits.pause_until) == ((), NOW + timedelta(seconds=60))
    assert names(decide(state, NOW + timedelta(seconds=60))) == ["fraud-1"]
    assert names(decide(state, NOW + timedelta(seconds=60), last_batch=1)) == []


def test_a_batch_with_exactly_the_least_success_rate_does_not_stop_the_wave():
    """14 of 25 are 0.56. Multiplied, 0.56 times 25 is a little more than 14."""
    plan = make_wave(50, batches=["25"], max_concurrency="25", max_failures="50%", min_success_rate=0.56)
    state = begin_state(plan)
    for number in range(1, 26):
        state = end(state, number, Outcome.SUCCEEDED if number <= 14 else Outcome.HELD)
    assert find_stop(state, NOW) is None
    assert decide(state, NOW).start


@pytest.mark.parametrize(
    ("rules", "ended", "rule", "outcome"),
    [
        ({"max_failures": 0}, (Outcome.ROLLED_BACK, "p95"), "max_failures", Outcome.FAILED),
        ({"max_failures": "50%", "min_success_rate": 0.6}, (Outcome.HELD, ""), "min_success_rate", Outcome.FAILED),
        (
            {"max_failures": 5, "stop_on": [{"outcome": "rolled_back", "reason": "Failures"}]},
            (Outcome.ROLLED_BACK, "Rolled back: failures. 5 of 73"),
            "stop_on",
            Outcome.FAILED,
        ),
        (
            {"max_failures": 5, "stop_on": [{"outcome": "refused", "reason": "lease"}]},
            (Outcome.REFUSED, "lease: another change is under way"),
            "stop_on",
            Outcome.FAILED,
        ),
        ({}, (Outcome.WAITING, "plan 12ab waits"), "approvals", Outcome.WAITING),
    ],
)
def test_each_rule_stops_the_wave(rules, ended, rule, outcome):
    """What the rule names stops it, and the reason names the endpoint and the numbers."""
    state = begin_state(make_wave(4, batches=["2"], **rules))
    state = end(end(state, 1, Outcome.SUCCEEDED), 2, *ended)
    stop = decide(state, NOW).stop
    assert (stop.rule, stop.outcome) == (rule, outcome)
    assert conclude(state, stop)[0] is outcome
    assert "fraud-1" in stop.reason or "1 of 2" in stop.reason


def test_a_rollback_for_another_cause_stops_nothing():
    """The rule names latency; failures roll back one endpoint, which may fail."""
    state = begin_state(make_wave(4, max_failures=1, stop_on=[{"outcome": "rolled_back", "reason": "latency"}]))
    assert decide(end(state, 1, Outcome.ROLLED_BACK, "failures"), NOW).stop is None


def test_a_closed_window_stops_new_starts_and_names_when_it_opens():
    """Runs that go on are awaited; what is left waits for a resume."""
    window = {"schedule": "0 9 * * *", "duration_min": 60}
    state = begin_state(make_wave(3, batches=["1"], windows=[window]))
    assert names(decide(state, NOW.replace(hour=9, minute=30))) == ["fraud-0"]
    decision = decide(state.started(state.plan.members[0]), NOW)
    assert (decision.start, decision.finished, decision.stop.outcome) == ((), False, Outcome.HELD)
    assert "opens 2026-12-02 09:00 UTC" in decision.stop.reason


def test_a_request_lets_running_runs_end():
    """A person's stop starts nothing more, and is over when nothing runs."""
    state, request = begin_state(make_wave(3)), Stop("request", "ann: incident", Outcome.HELD)
    running = state.started(state.plan.members[0])
    assert decide(running, NOW, request) == decide(running, NOW, request)
    assert (decide(running, NOW, request).start, decide(running, NOW, request).finished) == ((), False)
    assert decide(end(running, 1, Outcome.SUCCEEDED), NOW, request).finished


def test_a_lost_run_is_repeated_as_often_as_the_wave_allows():
    """Its process died and it was given back; after the retries it counts as a failure."""
    state = begin_state(make_wave(1, retries=1))
    state = end(state, 1, Outcome.ABORTED, lost=True)
    assert names(decide(state, NOW)) == ["fraud-0"]
    state = end(state, 1, Outcome.ABORTED, lost=True)
    assert decide(state, NOW).stop.rule == "max_failures"
