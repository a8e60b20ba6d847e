"""Drive a wave: start what the rules allow on an engine, note each end, until all is done or a rule stops it."""

import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from opslib.evidence.run.journal import JournalEvent
from opslib.fleet.archive import member_runs, read_stop
from opslib.fleet.engine import Engine, ProcessEnd
from opslib.fleet.plan import Member
from opslib.fleet.record import MemberStart, WaveRecord
from opslib.fleet.rules import MemberState, Stop, WaveState, decide
from opslib.fleet.states import member_state
from opslib.outcome import Outcome
from opslib.signals import handled

TICK_S = 0.5
"""How often a request to stop, the change window and the end of a pause are looked for [seconds]."""

Command = Callable[[Member, int], list[str]]
"""Returns the words of the command that runs a member: which one, and which of its runs this is."""

Watch = Callable[[WaveState, str], None]
"""Is called after each change with the state and what happened."""


@dataclass
class Drive:
    """One attempt of a wave on an engine.

    Attributes
    ----------
    record
        The open record.
    engine
        What runs the processes.
    command
        The command of a member.
    watch
        Is called after each change.
    last_batch
        The batch after which the attempt ends; 0 for the last one.
    """

    record: WaveRecord
    engine: Engine
    command: Command
    watch: Watch
    last_batch: int = 0
    _signals: list[signal.Signals] = field(default_factory=list)
    _lost_engine: str = ""
    _futures: "dict[Future[ProcessEnd], Member]" = field(default_factory=dict)

    def run(self, state: WaveState) -> tuple[WaveState, Stop | None]:
        """Run until nothing runs and nothing will start; return the state and what stopped it."""
        noted: Stop | None = None
        paused = None
        with handled(self._note_signal, signal.SIGTERM, signal.SIGINT):
            while True:
                decision = decide(state, datetime.now(UTC), noted or self._requested(), self.last_batch)
                if decision.stop and noted is None:
                    noted = decision.stop
                    self._note(JournalEvent.STOPPED, noted, state, f"stopped by {noted.rule}: {noted.reason}")
                if decision.finished:
                    return state, noted
                for member in decision.start:
                    state = self._start(state, member)
                if decision.pause_until and decision.pause_until != paused:
                    paused = decision.pause_until
                    until = f"{paused:%F %T} UTC"
                    self._note(JournalEvent.PAUSED, {"until": paused}, state, f"pause until {until}")
                state = self._await(state)

    def _start(self, state: WaveState, member: Member) -> WaveState:
        state = state.started(member)
        attempt = state.of(member).attempts
        what = MemberStart(member.number, member.endpoint, attempt)
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._note(JournalEvent.MEMBER_STARTED, what, state, f"{member.endpoint} started{again}")
        self._submit(state, member)
        return state

    def _submit(self, state: WaveState, member: Member) -> None:
        self._futures[self.engine.submit(self.command(member, state.of(member).runs + 1))] = member

    def _await(self, state: WaveState) -> WaveState:
        """Wait for ends, at most a moment, and note them."""
        if not self._futures:
            sleep(TICK_S)
            return state
        wait(self._futures, TICK_S, FIRST_COMPLETED)
        for future in [one for one in self._futures if one.done()]:
            state = self._end(state, self._futures.pop(future), future)
        return state

    def _end(self, state: WaveState, member: Member, future: "Future[ProcessEnd]") -> WaveState:
        """Note an end as the archive has it."""
        runs = member_runs(self.record.root, self.record.plan, member)
        began = len(runs) > state.of(member).runs
        if began and runs[-1].seal_sha256:
            return self._ended(state, member, member_state(runs), runs[-1].seal_sha256)
        error = "cancelled" if future.cancelled() else future.exception()
        if error is not None:
            self._lost_engine = f"the engine lost the run of {member.endpoint}: {error}"
            return state.not_started(member)
        end = future.result()
        if end.died and began:  # a process of its own recovers the run and seals it
            self._submit(state, member)
            return state
        outcome = Outcome.REFUSED if end.exit_code == Outcome.REFUSED.exit_code else Outcome.FAILED
        reason = "its process died before the run began" if end.died else end.last_line
        ended = MemberState(runs=len(runs), outcome=outcome, reason=reason, lost=end.died)
        return self._ended(state, member, ended, "")

    def _ended(self, state: WaveState, member: Member, ended: MemberState, seal_sha256: str) -> WaveState:
        state = state.ended(member, ended, datetime.now(UTC))
        self.record.note_end(member, state.of(member), seal_sha256)
        self.watch(state, f"{member.endpoint} {ended.outcome}: {ended.reason}")
        return state

    def _requested(self) -> Stop | None:
        """Return a stop from outside: the engine's, a signal's, or a person's."""
        if self._lost_engine:
            return Stop("engine", self._lost_engine, Outcome.ABORTED)
        if self._signals:
            return Stop("signal", self._signals[0].name, Outcome.ABORTED)
        return find_requested_stop(self.record.root)

    def _note(self, event: JournalEvent, value: object, state: WaveState, text: str) -> None:
        self.record.journal.write(event, value)
        self.watch(state, text)

    def _note_signal(self, signum: signal.Signals) -> None:
        """Note a signal: the first one stops new starts, the second interrupts what runs."""
        if self._signals:
            self.engine.interrupt()
        self._signals.append(signum)


def find_requested_stop(root: Path) -> Stop | None:
    """Return the stop that a person requested; None where there is none."""
    request = read_stop(root)
    if request is None:
        return None
    return Stop("request", f"{request.who}: {request.reason or 'no reason given'}", Outcome.HELD)
