"""The undo of a run whose process died: its journal holds what was applied."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.autoscale.plan import read_step, undo_of
from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoint_changes import edit_tags, settle
from opslib.azure.endpoints import read_endpoint
from opslib.errors import OpsError
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import Record, read_record, write_record
from opslib.model import DeleteDeployment, Outcome, SetInstanceCount, Step, Traffic
from opslib.model.traffic import describe_traffic
from opslib.runbooks.lease.tags import release
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.step_text import describe_step
from opslib.runbooks.undo.restore_traffic import (
    DEADLINE_S,
    Undo,
    describe_arrival,
    read_available_probes,
    restore_traffic,
    retry,
    verify_arrival,
)

Event = Mapping[str, Any]

_DONE = (JournalEvent.SCALED, JournalEvent.AUTOSCALED)
"""Events after which a run's change is kept."""

_BEFORE_CHANGE = frozenset({"Drift", "LeaseHeld", "CreateRefused", "DefinitionError"})
"""Errors of a step that changed nothing, where nothing was applied before."""

_STEP = frozenset({JournalEvent.APPLYING, JournalEvent.APPLIED, JournalEvent.UNDOING, JournalEvent.RAISED})


def undo_interrupted_run(folder: Path, progress: Progress = lambda _: None, deadline_s: float = DEADLINE_S) -> str:
    """Undo what a run applied and neither finished nor undid.

    Idempotent: what is as it was before is left alone, and a state that another change made is never overwritten.

    Parameters
    ----------
    folder
        The run's folder.
    progress
        Is called with what the undo waits for.
    deadline_s
        How long it is tried through throttling and outages [seconds].

    Returns
    -------
    str
        What was done, for the record, and which lines of the journal could not be read; empty where there was
        nothing to undo.

    Raises
    ------
    Drift
        If another change was made to the endpoint meanwhile.
    ApplyError
        If Azure refuses, or does not respond in time.
    """
    record = read_record(folder)
    journal = Journal(folder)
    events = list(read_journal(journal.path)) if journal.path.exists() else []
    damaged = _describe_damage(events, record.endpoint)
    begun = [event["data"] for event in events if event["event"] == JournalEvent.APPLYING]
    if not (begun or damaged) or record.runbook not in {"canary", "deploy", "scale", "autoscale"}:
        return ""
    whole = record.runbook in {"deploy", "scale"} or (record.runbook == "canary" and not damaged)
    if whole and _changed_nothing(events):
        return ""
    if _has_ended(record.runbook, events):
        if all(event["event"] != JournalEvent.FINISHED for event in events):  # it read no state after its undo
            with contextlib.suppress(OpsError):
                _write_traffic_after(folder, record, connect(str(record.parameters["target"])))
        return ""
    if not begun and record.runbook != "canary":  # of which the endpoint's lease holds what it set
        return damaged
    target = str(record.parameters["target"])
    workspace = retry(lambda _: connect(target), "Azure does not respond", progress, deadline_s)
    if record.runbook == "canary" and _promoted(events):
        return _release_lease(record, workspace, progress, deadline_s)
    if record.runbook == "canary":
        done = _restore_traffic(record, journal, workspace, begun, progress, deadline_s)
    elif record.runbook == "autoscale":
        done = _undo_rules(journal, workspace, begun, progress, deadline_s)
    else:
        done = _undo_step(record, journal, workspace, begun[-1], progress, deadline_s)
    with contextlib.suppress(OpsError):
        _write_traffic_after(folder, record, workspace)
    return "; ".join(part for part in (done, damaged) if part)


def _describe_damage(events: Sequence[Event], endpoint: str) -> str:
    """Return which lines of the journal cannot be read; empty where all can."""
    lines = [str(event["data"]["line"]) for event in events if event["event"] == JournalEvent.UNREADABLE]
    if not lines:
        return ""
    return f"the journal is damaged in line {', '.join(lines)}: check that {endpoint} is as it was before the run"


def _has_ended(runbook: str, events: Sequence[Event]) -> bool:
    """Return whether the run itself kept its change or undid it: of autoscale, each step that it began."""
    count, undoes = Counter(event["event"] for event in events), 1
    if runbook == "autoscale":
        undoes = max(1, count[JournalEvent.APPLYING] - any(map(_before_change, events)))
    return any(count[one] for one in (JournalEvent.FINISHED, *_DONE)) or count[JournalEvent.UNDONE] >= undoes


def _changed_nothing(events: Sequence[Event]) -> bool:
    """Return whether the step failed before it changed anything: what its undo would find is another change's."""
    *_, before, last = [None, None, *(e for e in events if e["event"] in _STEP)]
    refused = last is not None and _before_change(last)
    return refused and before is not None and before["event"] == JournalEvent.APPLYING


def _before_change(event: Event) -> bool:
    """Return whether an event is the error of a step that changed nothing."""
    return event["event"] == JournalEvent.RAISED and event["data"]["error"] in _BEFORE_CHANGE


def _write_traffic_after(folder: Path, record: Record, workspace: Workspace) -> None:
    after = read_endpoint(workspace, record.endpoint)
    write_record(folder, replace(record, traffic_after=dict(after.traffic)))


def _promoted(events: Sequence[Event]) -> bool:
    """Return whether the canary was promoted before its process died: then its traffic stays."""
    return any(e["event"] == JournalEvent.ROLLOUT and e["data"]["outcome"] == Outcome.SUCCEEDED for e in events)


def _release_lease(record: Record, workspace: Workspace, progress: Progress, deadline_s: float) -> str:
    """Remove the lease of a promoted canary, so that it is not reaped."""
    retry(
        lambda left_s: edit_tags(workspace, record.endpoint, release(record.run_id), max(30.0, left_s), progress),
        f"the lease on {record.endpoint} could not be removed",
        progress,
        deadline_s,
    )
    return "the canary had been promoted: its traffic stays"


def _restore_traffic(
    record: Record,
    journal: Journal,
    workspace: Workspace,
    begun: list[Event],
    progress: Progress,
    deadline_s: float,
) -> str:
    returns_to = record.traffic_before or (begun[0]["before"] if begun else {})
    mirrored: Traffic = next((step["mirror"] for step in begun if any((step.get("mirror") or {}).values())), {})
    undo = Undo(record.endpoint, record.run_id, returns_to, tuple(step["after"] for step in begun), mirrored)
    journal.try_write(JournalEvent.UNDOING, undo)
    receipt = restore_traffic(workspace, undo, progress, deadline_s)
    journal.try_write(JournalEvent.UNDONE, receipt)
    probes = read_available_probes(str(record.parameters.get("probes") or ""))
    arrived = verify_arrival(workspace, read_endpoint(workspace, record.endpoint), probes) if probes else ()
    journal.try_write(JournalEvent.ARRIVED, arrived)
    state = "was restored" if receipt.changed else "is as it was before"
    done = f"traffic {state}: {describe_traffic(returns_to)}"
    return "; ".join(part for part in (done, describe_arrival(arrived, returns_to)) if part)


def _undo_rules(
    journal: Journal, workspace: Workspace, begun: Sequence[Event], progress: Progress, deadline_s: float
) -> str:
    """Put back each autoscale setting that was begun to be written or deleted, the last one first."""
    undone = [undo_of(read_step(event)) for event in reversed(begun)]
    for step in undone:
        journal.try_write(JournalEvent.UNDOING, step)
        journal.try_write(JournalEvent.UNDONE, apply(step, workspace, deadline_s, progress))
    return f"undone: {'; '.join(map(describe_step, undone))}"


def _undo_step(
    record: Record, journal: Journal, workspace: Workspace, begun: Event, progress: Progress, deadline_s: float
) -> str:
    """Delete a deployment that was begun (a failed one keeps costing), or scale back."""
    settle(workspace, record.endpoint, deadline_s, progress)
    made = read_endpoint(workspace, record.endpoint).find(begun["deployment"])
    if made is None:
        return ""
    step: Step = DeleteDeployment(record.endpoint, made.name)
    done = f"the unfinished deployment {made.name} was deleted"
    if record.runbook == "scale":
        step = SetInstanceCount(record.endpoint, made.name, begun["after"], begun["before"])
        done = f"{made.name} was scaled back to {begun['before']} instances"
    journal.try_write(JournalEvent.UNDOING, step)
    journal.try_write(JournalEvent.UNDONE, apply(step, workspace, deadline_s, progress))
    return done
