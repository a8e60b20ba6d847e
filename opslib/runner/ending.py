"""How a run ended, from its record, journal and notebook; and the undo of what a dead kernel left behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib import errors
from opslib.evidence.finish import end_run
from opslib.evidence.run.files import JOURNAL, NOTEBOOK
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import Record, read_record
from opslib.model import Outcome
from opslib.model.traffic import describe_traffic
from opslib.runbooks.notifier import notify_end
from opslib.runbooks.run import outcome_of_kind, reason_of
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run

_BEFORE_CREATION = frozenset({"CreateRefused", "DefinitionError"})
"""Errors after which no deployment exists, although its creation had begun."""


def find_outcome(folder: Path, stop_reason: str, error: BaseException | None) -> tuple[Outcome, str]:
    """Decide how a run ended, and why; the worst of the signs counts.

    Parameters
    ----------
    folder
        The run's folder.
    stop_reason
        Why the runner stopped the kernel; empty if it did not.
    error
        What papermill raised; None if nothing.
    """
    record = read_record(folder)
    if stop_reason:
        return Outcome.ABORTED, stop_reason
    if error is not None:
        name = str(getattr(error, "ename", type(error).__name__))
        if name == "OutcomeError" and record.outcome is not None and not record.outcome.good:
            return record.outcome, record.reason
        outcome = _outcome_of(name)
        held = outcome in {Outcome.REFUSED, Outcome.WAITING} and name not in _BEFORE_CREATION
        if held and _has_changed_anything(folder):
            outcome = Outcome.FAILED
        return outcome, reason_of(name, str(getattr(error, "evalue", error)))
    unrun, total = _count_unrun_cells(folder / NOTEBOOK)
    if unrun:
        why = f" ({record.reason})" if record.reason else ""
        return Outcome.FAILED, f"the notebook stopped early: {unrun} of its {total} code cells did not run{why}"
    if record.outcome is None or record.finished_at is None:
        return Outcome.FAILED, "the notebook ended without recording an outcome"
    return record.outcome, record.reason


def undo_if_interrupted(folder: Path) -> str:
    """Undo what a dead kernel began and did not undo; return what was done, or that it failed."""
    try:
        return undo_interrupted_run(folder)
    except errors.OpsError as error:
        Journal(folder).try_write(JournalEvent.UNDO_FAILED, {"message": str(error)})
        return f"UNDO FAILED: check the endpoint now. {error}"


def seal_dead_run(folder: Path, why: str, undone: str) -> Record:
    """End and seal a run whose process died, after its undo; a run that had recorded its outcome keeps it.

    Parameters
    ----------
    folder
        The run's folder; this process holds its lock.
    why, undone
        What died, and what `undo_if_interrupted` returned.
    """
    record = read_record(folder)
    if record.outcome is None or record.finished_at is None or undone:
        record = record.ended(Outcome.ABORTED, f"{why}; {undone}" if undone else why)
    notify_end(folder, record)
    return end_run(folder, record).record


def describe_own_undo(folder: Path, record: Record) -> str:
    """Return where a canary's own cell left the traffic; empty where it moved none, or did not restore it."""
    undone = any(event["event"] == JournalEvent.UNDONE for event in _events(folder))
    if record.runbook != "canary" or not undone or record.traffic_after != record.traffic_before:
        return ""
    return f"traffic is as it was before: {describe_traffic(record.traffic_before)}"


def _outcome_of(name: str) -> Outcome:
    """Return the outcome of a run whose notebook raised an error of that name."""
    if name in {"DeadKernelError", "KeyboardInterrupt"}:
        return Outcome.ABORTED
    kind = getattr(errors, name, None)
    known = isinstance(kind, type) and issubclass(kind, errors.OpsError)
    return outcome_of_kind(kind) if known and isinstance(kind, type) else Outcome.FAILED


def _has_changed_anything(folder: Path) -> bool:
    """Return whether the run had begun to apply a step."""
    return any(event["event"] == JournalEvent.APPLYING for event in _events(folder))


def _events(folder: Path) -> tuple[Mapping[str, Any], ...]:
    path = folder / JOURNAL
    return tuple(read_journal(path)) if path.exists() else ()


def _count_unrun_cells(notebook: Path) -> tuple[int, int]:
    """Count the code cells that did not run to their end, and all code cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    unrun = sum(
        cell.get("execution_count") is None or any(o["output_type"] == "error" for o in cell["outputs"])
        for cell in code
    )
    return unrun, len(code)
