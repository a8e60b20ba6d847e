"""Run one endpoint of a wave once, whichever process is started for it and however often.

Engines start a task again if its worker died, also while the run of the dead worker's process goes on. So each
process first holds the member, and looks in the archive for what the attempt already has.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from opslib.azure.arm import Progress
from opslib.azure.connect import connect
from opslib.errors import PlanError
from opslib.evidence.finish import end_unfinished
from opslib.evidence.run.files import SEAL
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import ChangeRequest, Record
from opslib.evidence.run.run_lock import archive_of, claimed, is_held
from opslib.fleet.archive import MemberRun, member_runs, read_stop
from opslib.fleet.plan import Member, WavePlan
from opslib.fleet.states import UNCHANGED
from opslib.outcome import Outcome
from opslib.runbooks.notifier import notify_recovery
from opslib.runbooks.undo.reap import reap
from opslib.runner.execute import execute
from opslib.runner.guardian import end_kernel
from opslib.runner.watch import Event

POLL_S = 0.2
"""How often the end of a guardian's work is looked for [seconds]."""


def run_member(
    root: Path,
    plan: WavePlan,
    member: Member,
    request: ChangeRequest,
    attempt: int = 0,
    on_event: Callable[[Event], None] = lambda _: None,
) -> MemberRun:
    """Execute a member's run, or return the run that this attempt already has.

    A run whose process died is first recovered: its traffic is returned once its lease has expired, by its guardian
    or here, and it is sealed.

    Parameters
    ----------
    root
        Folder of the wave's first record.
    plan, member
        The wave's plan, and the member.
    request
        The request for the change, with approvals.
    attempt
        Number of the attempt, from 1 on; 0: the next one if the latest run left something to do.
    on_event
        Called with each event of the run's journal.

    Raises
    ------
    PlanError
        If a person has stopped the wave; nothing was started.
    """
    with claimed(archive_of(root), root.name, member.number):
        runs = member_runs(root, plan, member)
        if runs and not runs[-1].seal_sha256:
            recover_run(archive_of(root) / runs[-1].folder, runs[-1], on_event)
            runs = member_runs(root, plan, member)
        if len(runs) >= (attempt or _next_attempt(runs, plan.wave.retries)):
            return runs[(attempt or len(runs)) - 1]
        stop = read_stop(root)
        if stop is not None:
            raise PlanError(f"wave {plan.wave.name} was stopped by {stop.who}: {stop.reason}. Nothing was started")
        part_of = replace(request, wave=root.name, wave_member=member.number)
        execute(plan.wave.runbook, member.parameters, archive_of(root), plan.wave.timeout_s, on_event, part_of)
        return member_runs(root, plan, member)[-1]


def recover_run(folder: Path, run: MemberRun, on_event: Callable[[Event], None]) -> None:
    """Return what a run whose process died still holds, by its lease, and seal it."""

    def say(text: str) -> None:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": text})

    while is_held(folder):  # its guardian returns the traffic
        sleep(POLL_S)
    if (folder / SEAL).exists():
        return
    end_kernel(folder)
    while _is_leased(folder, run.record, say):
        say(f"waiting for the lease of {run.record.run_id} to expire")
        sleep(1.0)
    end_unfinished(folder)


def _is_leased(folder: Path, record: Record, say: Progress) -> bool:
    """Reap the lease of a run's endpoint if it has expired; return whether the run still holds it."""
    workspace = connect(record.parameters["target"])
    leased = False
    for found in reap(workspace, archive_of(folder), say, record.endpoint, before_seal=notify_recovery):
        if found.outcome is Outcome.FAILED:
            say(f"the lease of {record.endpoint} could not be released: {found.reason}")
        if found.outcome is None and found.lease is not None:
            leased = found.lease.change == record.run_id
    return leased


def _next_attempt(runs: list[MemberRun], retries: int) -> int:
    """Return the number of the attempt that comes next; that of the latest run where nothing is left to do."""
    if not runs:
        return 1
    last = runs[-1]
    left = last.record.outcome in UNCHANGED or (last.lost and len(runs) <= retries)
    return len(runs) + (left or (last.record.outcome is Outcome.ABORTED and not last.lost))
