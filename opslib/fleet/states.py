"""The state of a wave, from the runs that an archive holds of it. Pure."""

from collections.abc import Mapping, Sequence

from opslib.fleet.archive import MemberRun
from opslib.fleet.plan import WavePlan
from opslib.fleet.rules import MemberState, Status, WaveState, begin_state
from opslib.outcome import Outcome

UNCHANGED = frozenset({Outcome.WAITING, Outcome.REFUSED})
"""Ends at which nothing was changed: a resumed wave runs these endpoints again."""


def current_state(plan: WavePlan, runs: Mapping[int, Sequence[MemberRun]]) -> WaveState:
    """Return the state in which every run of the wave counts: what a person sees, and what a gate decides by."""
    members = {number: _state(found, "ended" if _over(found) else "running") for number, found in runs.items()}
    times = [run.record.finished_at for found in runs.values() for run in found if run.record.finished_at]
    return begin_state(plan, members, max(times, default=None))


def resumed_state(
    plan: WavePlan,
    runs: Mapping[int, Sequence[MemberRun]],
    *,
    retry_failed: bool = False,
    counted_from: int | None = None,
) -> WaveState:
    """Return the state from which a wave is continued: exactly what is left is pending.

    Left is what did not start, what waits, what was refused before anything was changed, and what was aborted. With
    `retry_failed`, also every other run without success. A run that goes on is awaited, not repeated.

    Runs from the ledger's line `counted_from` on count for the rules, as in one attempt; None: none of them does.
    The pause before the next batch begins with the end of the last run that is kept.
    """
    members: dict[int, MemberState] = {}
    ends = []
    for number, found in runs.items():
        outcome = found[-1].record.outcome
        done = outcome is not None and outcome.good
        kept = outcome not in UNCHANGED | {Outcome.ABORTED, None} and not retry_failed
        counts = counted_from is not None and found[-1].record.seq >= counted_from
        state = _state(found, ("ended" if counts else "earlier") if _over(found) and (done or kept) else "pending")
        going_on = not _over(found) or (found[-1].lost and not found[-1].seal_sha256)
        members[number] = MemberState(attempts=state.runs - 1, runs=state.runs - 1) if going_on else state
        if members[number].settled and found[-1].record.finished_at:
            ends.append(found[-1].record.finished_at)
    return begin_state(plan, members, max(ends, default=None))


def member_state(runs: Sequence[MemberRun]) -> MemberState:
    """Return the state of a member whose latest run has ended."""
    return _state(runs, "ended")


def _over(runs: Sequence[MemberRun]) -> bool:
    return not runs[-1].alive


def _state(runs: Sequence[MemberRun], status: Status) -> MemberState:
    last = runs[-1]
    record = last.record
    return MemberState(status, len(runs), len(runs), record.outcome, record.reason, record.run_id, last.lost)
