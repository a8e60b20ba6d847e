"""The rules of a wave: which runs may start now, and what stops it. Pure.

A rule that stops the wave lets the running runs end. What it leaves is done by a later `opslib fleet resume`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from opslib.displayed import Displayed
from opslib.fleet.plan import Member, WavePlan
from opslib.model.outcome import Outcome
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
class WaveState(Displayed):
    """How far a wave is: the state of each member by its number, and when the latest run ended."""

    plan: WavePlan
    members: Mapping[int, MemberState] = field(default_factory=dict)
    ended_at: datetime | None = None

    def of(self, member: Member) -> MemberState:
        """Return a member's state."""
        return self.members.get(member.number, MemberState())

    def started(self, member: Member) -> "WaveState":
        """Return the state after the start of one more run."""
        state = self.of(member)
        return self._with(member, MemberState("running", state.attempts + 1, state.runs))

    def ended(self, member: Member, state: MemberState, at: datetime) -> "WaveState":
        """Return the state after the end of a run; one whose process died is repeated as the wave allows."""
        attempts = self.of(member).attempts
        again = state.lost and attempts <= self.plan.wave.retries
        status: Status = "pending" if again else "ended"
        return replace(self._with(member, replace(state, status=status, attempts=attempts)), ended_at=at)

    def not_started(self, member: Member) -> "WaveState":
        """Return the state after a start that came to nothing."""
        state = self.of(member)
        return self._with(member, MemberState(attempts=state.attempts - 1, runs=state.runs))

    def _with(self, member: Member, state: MemberState) -> "WaveState":
        return replace(self, members={**self.members, member.number: state})

    def select(self, *statuses: Status) -> tuple[Member, ...]:
        """Return the members in these states, in order."""
        return tuple(one for one in self.plan.members if self.of(one).status in statuses)


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
    running = state.select("running")
    stop = requested or find_stop(state, now)
    batch = next((one for one in state.plan.batches if not all(state.of(m).settled for m in one)), ())
    if stop or not batch or (last_batch and batch[0].batch > last_batch):
        return Decision(stop=stop, finished=not running)
    until = _pause_until(state, batch)
    if until is not None and now < until:
        return Decision(pause_until=until)
    return Decision(start=tuple(_startable(state.plan, state, batch, running)))


def find_stop(state: WaveState, now: datetime) -> Stop | None:
    """Return the rule that stops the wave, by what has ended and the time; None where none does."""
    wave, plan = state.plan.wave, state.plan
    ended = [(one, state.of(one)) for one in state.select("ended")]
    for member, one in ended:
        rule = next((rule for rule in wave.stop_on if rule.fits(one.outcome, one.reason)), None)
        if rule:
            why = f"{member.endpoint} ended as {one.outcome}: {one.reason}"
            return Stop("stop_on", why, Outcome.FAILED)
    failed = [member.endpoint for member, one in ended if one.failed]
    if len(failed) > plan.max_failures:
        why = f"{len(failed)} of {len(plan.members)} runs failed ({_some(failed)}); at most {plan.max_failures} may"
        return Stop("max_failures", why, Outcome.FAILED)
    return _stop_of_batches(state) or _stop_of_window(state, now)


def conclude(state: WaveState, stop: Stop | None, last_batch: int = 0) -> tuple[Outcome, str]:
    """Return how a wave ends, and its sentence."""
    plan = state.plan
    states = [state.of(one) for one in plan.members]
    good = sum(bool(one.outcome and one.outcome.good) for one in states if one.settled)
    failed = sum(one.failed for one in states)
    left = len(state.select("pending", "running"))
    counts = f"{good} of {len(states)} endpoints succeeded, {failed} failed, {left} left"
    if stop is not None:
        return stop.outcome, f"stopped by {stop.rule}: {stop.reason}. {counts}"
    if left and not last_batch:
        return Outcome.HELD, counts
    if left:
        return Outcome.SUCCEEDED, f"{counts}: batch {last_batch} of {len(plan.batches)} is done"
    tolerated = f", of which {plan.max_failures} may" if failed else ""
    return Outcome.SUCCEEDED, f"{counts}{tolerated}"


def _startable(
    plan: WavePlan, state: WaveState, batch: Sequence[Member], running: Sequence[Member]
) -> Iterator[Member]:
    """Yield the members of a batch that may start now, in order, within the limits."""
    active = list(running)
    for member in batch:
        if len(active) >= plan.max_concurrency:
            return
        if state.of(member).status == "pending" and plan.has_room(member, active):
            active.append(member)
            yield member


def _pause_until(state: WaveState, batch: Sequence[Member]) -> datetime | None:
    """Return until when a batch waits: the pause begins when the batch before it has ended."""
    untouched = all(state.of(one).status == "pending" and not state.of(one).attempts for one in batch)
    if batch[0].batch == 1 or not untouched or state.ended_at is None:
        return None
    return state.ended_at + timedelta(seconds=state.plan.wave.pause_s)


def _stop_of_batches(state: WaveState) -> Stop | None:
    """Return what the end of a batch stops by: too few successes, or runs that wait for approval."""
    least = state.plan.wave.min_success_rate
    for batch in state.plan.batches:
        found = [(one, state.of(one)) for one in batch]
        if not all(one.settled for _, one in found):
            return None
        ended = [(member, one) for member, one in found if one.status == "ended"]
        good = sum(bool(one.outcome and one.outcome.good) for _, one in ended)
        waiting = [member.endpoint for member, one in ended if one.outcome is Outcome.WAITING]
        if waiting:
            why = f"{len(waiting)} of batch {batch[0].batch} wait for approval: {_some(waiting)}"
            return Stop("approvals", why, Outcome.WAITING)
        if ended and good < least * len(ended):
            why = f"{good} of {len(ended)} of batch {batch[0].batch} succeeded; at least {least:g} of them must"
            return Stop("min_success_rate", why, Outcome.FAILED)
    return None


def _stop_of_window(state: WaveState, now: datetime) -> Stop | None:
    wave = state.plan.wave
    if not (wave.windows or wave.freezes) or not state.select("pending"):
        return None
    decision = decide_window(wave.windows, wave.freezes, now)
    if decision.allowed:
        return None
    opens = f"; opens {decision.opens:%F %H:%M} UTC" if decision.opens else ""
    return Stop("windows", f"{decision.reason}{opens}", Outcome.HELD)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
