"""The record of a wave: a sealed folder in the archive's ledger, as a run's, that names every run of the wave.

It holds the wave file, the plan, the approvals, the journal of starts and ends, and ``wave.json``: the endpoints in
order, each with its run, outcome and the digest of its seal, and what stopped the wave. Each `run` and each
`resume` of a wave leaves one.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run, end_run
from opslib.evidence.run.files import APPROVALS, PLAN
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.provenance import find_executor, find_versions
from opslib.evidence.run.record import Approval, ChangeRequest, Record, write_atomically
from opslib.evidence.signing.approval import keep_approvals
from opslib.fleet.archive import MemberRun
from opslib.fleet.plan import RUNBOOK, WAVE_FILE, Member, WavePlan
from opslib.fleet.rules import MemberState, Stop, WaveState
from opslib.outcome import Outcome
from opslib.runbooks.plan_content import digest_of

MEMBERS = "wave.json"
"""The endpoints of a wave with their runs, in the record's folder."""


@dataclass(frozen=True)
class MemberStart:
    """A start of a member's run, as the journal has it."""

    number: int
    endpoint: str
    attempt: int


@dataclass(frozen=True)
class MemberEnd:
    """An end of a member's run, as the journal has it; `run` and `seal_sha256` are empty where it left none."""

    number: int
    endpoint: str
    attempt: int
    run: str
    outcome: Outcome | None
    reason: str
    seal_sha256: str


@dataclass(frozen=True)
class WaveRecord:
    """An open record of a wave.

    Attributes
    ----------
    root
        Folder of the wave's first record, which may be this one.
    folder
        This record's folder.
    others
        Approvals that were passed and are of other plans.
    """

    plan: WavePlan
    root: Path
    folder: Path
    record: Record
    journal: Journal
    others: tuple[Approval, ...] = ()

    def note_end(self, member: Member, state: MemberState, seal_sha256: str) -> None:
        """Write the end of a member's run to the journal."""
        about = member.number, member.endpoint, state.attempts, state.run
        self.journal.write(JournalEvent.MEMBER_ENDED, MemberEnd(*about, state.outcome, state.reason, seal_sha256))


def begin_record(
    archive: Path, plan: WavePlan, content: bytes, engine: str, request: ChangeRequest, root: Path | None = None
) -> WaveRecord:
    """Begin the record of a wave, or of its continuation.

    Parameters
    ----------
    archive
        Folder of all runs.
    plan, content
        The plan, and the bytes of its wave file.
    engine
        What the runs are executed by.
    request
        The organisation's request for the wave, with its approvals.
    root
        Folder of the wave's first record; None for a new wave.
    """
    wave = plan.wave
    folder = new_folder(archive, RUNBOOK, wave.name)
    text = plan.content()
    record = Record(
        run_id=folder.name,
        runbook=RUNBOOK,
        endpoint="",
        parameters={"name": wave.name, "runbook": wave.runbook, "engine": engine, "reason": wave.reason},
        started_at=datetime.now(UTC),
        ticket=request.ticket,
        requester=request.requester,
        approvals=request.approvals,
        rejected_approvals=request.rejected,
        host=platform.node(),
        executor=find_executor(),
        versions=find_versions(),
        plan_sha256=digest_of(text),
        wave=root.name if root else "",
    )
    record = begin_run(folder, record)
    write_atomically(folder / WAVE_FILE, content)
    write_atomically(folder / PLAN, text)
    if request.signed:
        write_atomically(folder / APPROVALS, "".join(request.signed), redacted=False)
    others = tuple(one for one in record.approvals if one.plan_sha256 != record.plan_sha256)
    if others:  # of a folder, for the runs
        record = keep_approvals(folder, record, others)
    journal = Journal(folder)
    journal.write(JournalEvent.OPENED, record)
    return WaveRecord(plan, root or folder, folder, record, journal, others)


def end_record(
    open_record: WaveRecord,
    state: WaveState,
    runs: Mapping[int, Sequence[MemberRun]],
    stop: Stop | None,
    ended: tuple[Outcome, str],
) -> Record:
    """Write what became of each endpoint, and seal the record."""
    outcome, reason = ended
    one = open_record
    members = list(_members(state, runs))
    content = {"wave": one.root.name, "stop": asdict(stop) if stop else None, "members": members}
    write_atomically(one.folder / MEMBERS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    counts: dict[str, int] = {}
    for member in members:
        key = str(member["outcome"] or "left")
        counts[key] = counts.get(key, 0) + 1
    one.journal.write(JournalEvent.FINISHED, {"outcome": outcome, "reason": reason, "results": counts})
    record = replace(one.record, results={"endpoints": len(members), **counts}).ended(outcome, reason)
    return end_run(one.folder, record).record


def _members(state: WaveState, runs: Mapping[int, Sequence[MemberRun]]) -> list[dict[str, object]]:
    found = []
    for member in state.plan.members:
        own, known = runs.get(member.number, ()), state.of(member)
        last = own[-1] if own else None
        found.append(
            {
                "number": member.number,
                "batch": member.batch,
                "endpoint": member.endpoint,
                "workspace": list(member.workspace),
                "outcome": last.record.outcome if last else known.outcome,
                "reason": last.record.reason if last else known.reason,
                "runs": [{"folder": run.folder, "seal_sha256": run.seal_sha256} for run in own],
            }
        )
    return found
