"""One attempt of a wave: its record, its approvals, its runs on an engine, and its end."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opslib.errors import PlanError
from opslib.evidence.finish import end_unfinished
from opslib.evidence.run.files import SEAL
from opslib.evidence.run.record import ChangeRequest, Record
from opslib.evidence.run.run_lock import is_held
from opslib.fleet.archive import clear_stop, find_first_counted, wave_records, wave_runs
from opslib.fleet.drive import Drive, Watch
from opslib.fleet.engine import open_engine
from opslib.fleet.plan import Member, WavePlan
from opslib.fleet.record import WaveRecord, begin_record, end_record
from opslib.fleet.rules import Stop, begin_state, conclude, find_stop
from opslib.fleet.states import current_state, resumed_state
from opslib.model.text import counted
from opslib.outcome import Outcome
from opslib.policy.agreements import describe_rule
from opslib.runbooks.plan_approvals import count_by_rule


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended: folder of the wave's first record, this attempt's folder and its record."""

    root: Path
    folder: Path
    record: Record


@dataclass(frozen=True)
class Attempt:
    """What an attempt of a wave needs.

    Attributes
    ----------
    archive
        Folder of all runs.
    plan, content
        The plan, and the bytes of its wave file.
    on
        Name of the engine.
    request
        The request for the wave, with its approvals.
    options
        Words of the command of each run: ticket, requester, folders of approvals.
    last_batch
        The batch after which the attempt ends; 0 for the last one.
    """

    archive: Path
    plan: WavePlan
    content: bytes
    on: str
    request: ChangeRequest
    options: tuple[str, ...] = ()
    last_batch: int = 0

    def run(self, watch: Watch, root: Path | None = None, *, retry_failed: bool = False) -> "AttemptEnd":
        """Run what is left of the wave.

        Parameters
        ----------
        watch
            Is called after each change.
        root
            Folder of the wave's first record, to continue it; None for a new wave.
        retry_failed
            Whether runs without success are repeated.

        Raises
        ------
        PlanError
            If another process runs this wave.
        """
        state = begin_state(self.plan)
        if root is not None:
            close_left_open(root)
            clear_stop(root)
            runs, first = wave_runs(root, self.plan), find_first_counted(root)
            state = resumed_state(self.plan, runs, retry_failed=retry_failed, counted_from=first)
        with closing(open_engine(self.on, self.plan.max_concurrency)) as engine:
            record = begin_record(self.archive, self.plan, self.content, self.on, self.request, root)
            stop = unapproved(record)
            if stop is None:
                drive = Drive(record, engine, self._command(record.root), watch, self.last_batch)
                state, stop = drive.run(state)
        ended = conclude(state, stop, self.last_batch)
        sealed = end_record(record, state, wave_runs(record.root, self.plan), stop, ended)
        return AttemptEnd(record.root, record.folder, sealed)

    def _command(self, root: Path) -> Callable[[Member, int], list[str]]:
        words = ["--runs", str(self.archive.resolve()), *self.options]
        return lambda member, run: ["fleet", "member", root.name, str(member.number), "--run", str(run), *words]


def unapproved(record: WaveRecord) -> Stop | None:
    """Return the stop of a wave whose plan too few people have approved; None where it may run."""
    wave = record.plan.wave
    if wave.approvals is None:
        return None
    count = count_by_rule(wave.approvals, wave.roles, record.record, record.others)
    if count.enough:
        return None
    needed = describe_rule(wave.approvals, wave.roles)
    why = (
        f"plan {record.record.plan_sha256[:16]} waits for approval. {count}. Needed: {needed}. Each approver: "
        f"opslib approve {record.folder.name} --who NAME; then: opslib fleet resume {record.root.name} "
        "--approval FILE"
    )
    return Stop("approvals", why, Outcome.WAITING)


def close_left_open(root: Path) -> None:
    """Seal the records of attempts whose process died.

    Raises
    ------
    PlanError
        If an attempt of the wave is running.
    """
    for folder, _ in wave_records(root):
        if is_held(folder):
            raise PlanError(
                f"{folder.name} is running. Wait until it ends, or stop it: opslib fleet stop {root.name}"
            )
        if not (folder / SEAL).exists():
            end_unfinished(folder)


def record_plan(
    archive: Path, plan: WavePlan, content: bytes, on: str, request: ChangeRequest
) -> tuple[Path, Record]:
    """Seal a record with the plan of a wave that an engine runs by itself; return its folder and record."""
    record = begin_record(archive, plan, content, on, request)
    stop = unapproved(record)
    total = len(plan.members)
    planned = (Outcome.PLANNED, f"{counted(total, 'endpoint')} planned for {on}, batches: {len(plan.batches)}")
    ended = (stop.outcome, stop.reason) if stop else planned
    return record.folder, end_record(record, begin_state(plan), {}, stop, ended)


def record_end(archive: Path, plan: WavePlan, content: bytes, on: str, root: Path) -> Record:
    """Seal the record of what an engine did by itself, from the runs in the archive."""
    record = begin_record(archive, plan, content, on, ChangeRequest(), root)
    runs = wave_runs(root, plan)
    state = current_state(plan, runs)
    for member in plan.members:
        for run in runs.get(member.number, ())[-1:]:
            record.note_end(member, state.of(member), run.seal_sha256)
    stop = find_stop(state, datetime.now(UTC))
    return end_record(record, state, runs, stop, conclude(state, stop))
