"""What an archive holds of a wave: its plan, its runs, its records, and a request to stop it.

A wave is named by its first record. Each run of it, and each later record, names that one, so that the state of a
wave is read from sealed evidence, whichever process died.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive.ledger import STARTED, read_ledger
from opslib.evidence.archive.run_folders import find_run
from opslib.evidence.run.files import LOCKS, MONTH_GLOB, PLAN, RECORD, SEAL
from opslib.evidence.run.record import Record, read_record, write_atomically
from opslib.evidence.run.run_lock import archive_of, is_held
from opslib.fleet.plan import RUNBOOK, WAVE_FILE, Member, WavePlan, read_plan
from opslib.fleet.wave import read_wave
from opslib.outcome import Outcome


@dataclass(frozen=True)
class MemberRun:
    """One run of a wave: its record, its folder relative to the archive, and whether its process is alive."""

    record: Record
    folder: str
    alive: bool
    seal_sha256: str

    @property
    def lost(self) -> bool:
        """Whether its process died before the run ended."""
        return (not self.seal_sha256 and not self.alive) or died(self.record)


@dataclass(frozen=True)
class StopRequest:
    """A person's request to stop a wave."""

    who: str
    at: str
    reason: str


STAMP_GLOB = "????????T??????Z"
"""The time at the beginning of a run's id; ids are exact, as an endpoint may be named as a wave is."""

CLOCKS_APART = timedelta(days=1)
"""How much earlier than its wave a run may begin by its own clock: on another machine, or set back meanwhile."""

DIED = ("the runner died", "no outcome was recorded")
"""How the reason of a run begins that another process ended, see `seal_dead_run` and `end_unfinished`."""


def died(record: Record) -> bool:
    """Return whether another process ended a run, because its own had died."""
    return record.outcome is Outcome.ABORTED and record.reason.startswith(DIED)


def find_wave(archive: Path, name: str) -> Path:
    """Return the folder of a wave's first record, by its name, or by the id of any of its records.

    Raises
    ------
    RecordError
        If there is none, or several match.
    """
    named = list(archive.glob(f"{MONTH_GLOB}/{STAMP_GLOB}-{RUNBOOK}-{escape(name)}-??????"))
    folder = max(named, key=lambda path: path.name) if named else find_run(archive, name)
    record = read_record(folder)
    if record.runbook != RUNBOOK:
        raise RecordError(f"{folder.name} is a run of {record.runbook}; expected the record of a wave")
    return find_run(archive, record.wave) if record.wave else folder


def open_plan(folder: Path) -> WavePlan:
    """Read the plan of a wave from the folder of one of its records.

    Raises
    ------
    RecordError
        If a file is missing. PlanError and PolicyError if a file is not what it was.
    """
    path = folder / WAVE_FILE
    try:
        content, plan = path.read_bytes(), (folder / PLAN).read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{folder.name} has no plan of a wave: {error}") from error
    return read_plan(read_wave(path), content, plan)


def wave_runs(root: Path, plan: WavePlan) -> dict[int, list[MemberRun]]:
    """Return the runs of a wave by the number of their member, each in the order of their start."""
    archive, part = archive_of(root), f"-{plan.wave.runbook}-"
    found: dict[int, list[MemberRun]] = {}
    seen = False
    for entry in read_ledger(archive):
        seen = seen or entry.run == root.name
        if seen and entry.event == STARTED and part in entry.run:
            run = _read_run(archive / entry.folder, root.name)
            if run is not None:
                found.setdefault(run.record.wave_member, []).append(run)
    return found


def member_runs(root: Path, plan: WavePlan, member: Member) -> list[MemberRun]:
    """Return the runs of one member in the order of their start, without reading the others."""
    archive = archive_of(root)
    folders = archive.glob(f"{MONTH_GLOB}/{STAMP_GLOB}-{plan.wave.runbook}-{member.endpoint}-??????")
    since = f"{datetime.strptime(root.name[:15], '%Y%m%dT%H%M%S') - CLOCKS_APART:%Y%m%dT%H%M%SZ}"  # noqa: DTZ007 - UTC
    runs = (_read_run(path, root.name) for path in sorted(folders, key=lambda p: p.name) if path.name[:16] >= since)
    found = [run for run in runs if run is not None and run.record.wave_member == member.number]
    return sorted(found, key=lambda run: run.record.seq)


def wave_records(root: Path) -> list[tuple[Path, Record]]:
    """Return folder and record of each attempt of a wave, in the order of their start."""
    archive, name = archive_of(root), read_record(root).parameters["name"]
    folders = archive.glob(f"{MONTH_GLOB}/{STAMP_GLOB}-{RUNBOOK}-{name}-??????")
    found = [(path, read_record(path)) for path in folders if (path / RECORD).is_file()]
    attempts = (one for one in found if root.name in {one[1].run_id, one[1].wave})
    return sorted(attempts, key=lambda one: one[1].seq)


def find_first_counted(root: Path) -> int | None:
    """Return the ledger's line from which runs count for the rules of the next attempt; None: none of them does.

    Attempts that ended with success at a batch are one wave with it. After a stop, a person has continued the wave
    in the knowledge of its failures.
    """
    first = None
    for _, record in reversed(wave_records(root)):
        if record.outcome is not Outcome.SUCCEEDED:
            break
        first = record.seq
    return first


def request_stop(root: Path, request: StopRequest) -> None:
    """Leave a request to stop a wave; its driver and its members read it before the next start."""
    path = _stop_file(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(request)))


def read_stop(root: Path) -> StopRequest | None:
    """Return the request to stop a wave, None where there is none."""
    try:
        return StopRequest(**json.loads(_stop_file(root).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def clear_stop(root: Path) -> None:
    """Remove a request to stop a wave that is to be resumed."""
    _stop_file(root).unlink(missing_ok=True)


def stop_request(who: str, reason: str) -> StopRequest:
    """Return a request of this moment."""
    return StopRequest(who, datetime.now(UTC).isoformat(timespec="seconds"), reason)


def _stop_file(root: Path) -> Path:
    return archive_of(root) / LOCKS / f"{root.name}.stop"


def _read_run(folder: Path, wave: str) -> MemberRun | None:
    """Read a run if it is part of a wave; a folder without a record changed nothing."""
    try:
        record = read_record(folder)
    except RecordError:
        return None
    if record.wave != wave or record.runbook == RUNBOOK:
        return None
    seal = folder / SEAL
    digest = hashlib.sha256(seal.read_bytes()).hexdigest() if seal.is_file() else ""
    where = folder.relative_to(archive_of(folder)).as_posix()
    return MemberRun(record, where, not digest and is_held(folder), digest)
