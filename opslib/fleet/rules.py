"""The rules of a wave: which runs may start now, and what stops it. Pure.

A rule that stops the wave lets the running runs end. What it leaves is done by a later `opslib fleet resume`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from opslib.displayed import Displayed
from opslib.fleet.plan import Member, Room, WavePlan
from opslib.outcome import Outcome
from opslib.policy.windows import decide_window

Status = Literal["pending", "running", "ended", "earlier"]
"""State of a member. What ended in an earlier attempt of the wave is no longer counted by the rules."""


@dataclass(frozen=True)
class MemberState:
    """How far a member is.

    Attributes
    ----------
    attempts
        How often it was started [count].
    runs
        How many of its runs have ended [count].
    outcome, reason, run
        How the latest of them ended, why, and its id. No outcome: the run left no record.
    lost
        Whether the process of that run died.
    """

    status: Status = "pending"
    attempts: int = 0
    runs: int = 0
    outcome: Outcome | None = None
    reason: str = ""
    run: str = ""
    lost: bool = False

    @property
    def settled(self) -> bool:
        """Whether the member needs no further run."""
        return self.status in {"ended", "earlier"}

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure: it ended in this attempt, without success, and does not wait."""
        waits = self.outcome is Outcome.WAITING
        return self.status == "ended" and not waits and not (self.outcome and self.outcome.good)


@dataclass(frozen=True)
class Stop:
    """What stopped a wave: the rule, why, and the outcome that the wave has for it."""

    rule: str
    reason: str
    outcome: Outcome


@dataclass(frozen=True)
class Decision:
    """What happens next.

    Attributes
    ----------
    start
        Members whose runs start now.
    stop
        What stopped the wave; None while nothing did.
    pause_until
        When the pause between two batches ends; None where there is none.
    finished
        Whether nothing runs and nothing will start.
    """

    start: tuple[Member, ...] = ()
    stop: Stop | None = None
    pause_until: datetime | None = None
    finished: bool = False


@dataclass(frozen=True)
class BatchTally:
    """How far a batch is: members that are not settled, ended, succeeded, and the names of those that wait."""

    left: int
    ended: int = 0
    good: int = 0
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True)
class WaveState(Displayed):
    """How far a wave is. Each change takes about as long, however many endpoints there are.

    Attributes
    ----------
    members
        The state of each member by its number; one that is not there is pending.
    pending, running
        Members in order, and those whose runs go on.
    tallies
        How far each batch is, by its number.
    failures
        Names of the endpoints whose runs count as failures.
    begun
        The last batch of which a run has started, in an earlier attempt too; 0 before the first start.
    ended_at
        When the latest run ended; None before.
    stop
        The rule that stops the wave by what has ended; None while none does.
    """

    plan: WavePlan
    members: Mapping[int, MemberState]
    pending: tuple[Member, ...]
    running: tuple[Member, ...]
    tallies: Mapping[int, BatchTally]
    failures: tuple[str, ...] = ()
    begun: int = 0
    ended_at: datetime | None = None
    stop: Stop | None = None

    def of(self, member: Member) -> MemberState:
        """Return a member's state."""
        return self.members.get(member.number, MemberState())

    def started(self, member: Member) -> "WaveState":
        """Return the state after the start of one more run."""
        before = self.of(member)
        return replace(
            self._with(member, MemberState("running", before.attempts + 1, before.runs)),
            pending=_without(self.pending, member),
            running=(*self.running, member),
            begun=max(self.begun, member.batch),
        )

    def ended(self, member: Member, state: MemberState, at: datetime) -> "WaveState":
        """Return the state after the end of a run; one whose process died is repeated as the wave allows."""
        state = replace(state, attempts=self.of(member).attempts)
        after = replace(self, running=_without(self.running, member), ended_at=at)
        if state.lost and state.attempts <= self.plan.wave.retries:
            return after.requeued(member, replace(state, status="pending"))
        return after.settled(member, replace(state, status="ended"))

    def not_started(self, member: Member) -> "WaveState":
        """Return the state after a start that came to nothing."""
        state = self.of(member)
        after = replace(self, running=_without(self.running, member))
        return after.requeued(member, MemberState(attempts=state.attempts - 1, runs=state.runs))

    def settled(self, member: Member, state: MemberState) -> "WaveState":
        """Return the state after a member's last run, with the rule that this end makes stop the wave."""
        tally = self.tallies[member.batch]
        counted, waits = state.status == "ended", state.outcome is Outcome.WAITING
        good = bool(state.outcome and state.outcome.good)
        tally = BatchTally(
            tally.left - 1,
            tally.ended + counted,
            tally.good + (counted and good),
            (*tally.waiting, member.endpoint) if counted and waits else tally.waiting,
        )
        failures = (*self.failures, member.endpoint) if state.failed else self.failures
        after = replace(self._with(member, state), tallies={**self.tallies, member.batch: tally}, failures=failures)
        return replace(after, stop=self.stop or _stop_of_end(after, member))

    def requeued(self, member: Member, state: MemberState) -> "WaveState":
        """Return the state after a member has taken its place among the pending ones again."""
        pending = tuple(sorted((*self.pending, member), key=lambda one: one.number))
        return replace(self._with(member, state), pending=pending)

    def _with(self, member: Member, state: MemberState) -> "WaveState":
        return replace(self, members={**self.members, member.number: state})


def begin_state(
    plan: WavePlan, members: Mapping[int, MemberState] | None = None, ended_at: datetime | None = None
) -> WaveState:
    """Return the state of a wave whose members are in these states; one that is not named is pending."""
    given = members or {}
    found = [(one, given.get(one.number, MemberState())) for one in plan.members]
    state = WaveState(
        plan,
        {member.number: one for member, one in found if not one.settled},
        tuple(member for member, one in found if one.status == "pending"),
        tuple(member for member, one in found if one.status == "running"),
        {number: BatchTally(len(batch)) for number, batch in enumerate(plan.batches, start=1)},
        begun=max((member.batch for member, one in found if one.status != "pending"), default=0),
        ended_at=ended_at,
    )
    for member, one in found:
        if one.settled:
            state = state.settled(member, one)
    return state


def decide(state: WaveState, now: datetime, requested: Stop | None = None, last_batch: int = 0) -> Decision:
    """Decide what happens next.

    Parameters
    ----------
    state
        How far the wave is.
    now
        The time [UTC].
    requested
        A stop from outside: by a person or a signal.
    last_batch
        The batch after which this attempt ends; 0 for the last one.
    """
    stop = requested or find_stop(state, now)
    left = (*state.pending[:1], *state.running)
    batch = min((one.batch for one in left), default=0)
    if stop or not left or (last_batch and batch > last_batch):
        return Decision(stop=stop, finished=not state.running)
    if batch > state.begun and state.ended_at is not None:  # the pause begins with the end of the batch before
        until = state.ended_at + timedelta(seconds=state.plan.wave.pause_s)
        if now < until:
            return Decision(pause_until=until)
    return Decision(start=tuple(_startable(state, batch)))


def find_stop(state: WaveState, now: datetime) -> Stop | None:
    """Return the rule that stops the wave, by what has ended and the time; None where none does."""
    return state.stop or _stop_of_window(state, now)


def conclude(state: WaveState, stop: Stop | None, last_batch: int = 0) -> tuple[Outcome, str]:
    """Return how a wave ends, and its sentence."""
    plan, failed = state.plan, len(state.failures)
    states = [state.of(one) for one in plan.members]
    good = sum(bool(one.outcome and one.outcome.good) for one in states if one.settled)
    left = len(state.pending) + len(state.running)
    counts = f"{good} of {len(states)} endpoints succeeded, {failed} failed, {left} left"
    if stop is not None:
        return stop.outcome, f"stopped by {stop.rule}: {stop.reason}. {counts}"
    if left and not last_batch:
        return Outcome.HELD, counts
    if left:
        return Outcome.SUCCEEDED, f"{counts}: batch {last_batch} of {len(plan.batches)} is done"
    tolerated = f", of which {plan.max_failures} may" if failed else ""
    return Outcome.SUCCEEDED, f"{counts}{tolerated}"


def _startable(state: WaveState, batch: int) -> Iterator[Member]:
    """Yield the pending members of a batch that may start now, in order, within the limits."""
    room = Room(state.plan, state.running)
    for member in state.pending:
        if room.full or member.batch > batch:
            return
        if room.take(member):
            yield member


def _stop_of_end(state: WaveState, member: Member) -> Stop | None:
    """Return the rule that the end of a member's run makes stop the wave."""
    wave, plan, one = state.plan.wave, state.plan, state.of(member)
    if one.status == "ended" and any(rule.fits(one.outcome, one.reason) for rule in wave.stop_on):
        why = f"{member.endpoint} ended as {one.outcome}: {one.reason}"
        return Stop("stop_on", why, Outcome.FAILED)
    if len(state.failures) > plan.max_failures:
        failed = f"{len(state.failures)} of {len(plan.members)} runs failed ({_some(state.failures)})"
        return Stop("max_failures", f"{failed}; at most {plan.max_failures} may", Outcome.FAILED)
    tally = state.tallies[member.batch]
    if tally.left:
        return None
    if tally.waiting:
        why = f"{len(tally.waiting)} of batch {member.batch} wait for approval: {_some(tally.waiting)}"
        return Stop("approvals", why, Outcome.WAITING)
    if tally.ended and tally.good / tally.ended < wave.min_success_rate:
        least = f"at least {wave.min_success_rate:g} of them must"
        why = f"{tally.good} of {tally.ended} of batch {member.batch} succeeded; {least}"
        return Stop("min_success_rate", why, Outcome.FAILED)
    return None


def _stop_of_window(state: WaveState, now: datetime) -> Stop | None:
    wave = state.plan.wave
    if not (wave.windows or wave.freezes) or not state.pending:
        return None
    decision = decide_window(wave.windows, wave.freezes, now)
    if decision.allowed:
        return None
    opens = f"; opens {decision.opens:%F %H:%M} UTC" if decision.opens else ""
    return Stop("windows", f"{decision.reason}{opens}", Outcome.HELD)


def _without(members: tuple[Member, ...], member: Member) -> tuple[Member, ...]:
    place = next((n for n, one in enumerate(members) if one is member or one.number == member.number), len(members))
    return (*members[:place], *members[place + 1 :])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
