"""Undo for a run that can no longer do it itself: what its journal says was begun is taken back."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import edit_tags, read_endpoint, settle
from opslib.errors import OpsError
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import Record, read_record, write_record
from opslib.model import DeleteDeployment, Outcome, SetInstanceCount, Step
from opslib.model.traffic import describe_traffic
from opslib.runbooks.lease.tags import release
from opslib.runbooks.steps.apply import apply
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


def undo_interrupted_run(folder: Path, progress: Progress = lambda _: None, deadline_s: float = DEADLINE_S) -> str:
    """Take back what a run began and neither ended nor undid.

    Idempotent: what is as it was before is left alone, and a state that the run did not make is never overwritten.

    Parameters
    ----------
    folder
        The run's folder.
    progress
        Told of what is waited for.
    deadline_s
        How long it is tried through throttling and outages [seconds].

    Returns
    -------
    str
        What was done, for the record; empty where there was nothing to do.

    Raises
    ------
    Drift
        If somebody else changed the endpoint meanwhile.
    ApplyError
        If Azure refuses, or does not answer in time.
    """
    record = read_record(folder)
    journal = Journal(folder)
    events = list(read_journal(journal.path)) if journal.path.exists() else []
    begun = [event["data"] for event in events if event["event"] == JournalEvent.APPLYING]
    ended = {event["event"] for event in events} & {JournalEvent.UNDONE, JournalEvent.FINISHED, JournalEvent.SCALED}
    if not begun or ended or record.runbook not in {"canary", "deploy", "scale"}:
        return ""
    target = str(record.parameters["target"])
    workspace = retry(lambda _: connect(target), "Azure does not answer", progress, deadline_s)
    if record.runbook == "canary" and _promoted(events):
        return _let_go(record, workspace, progress, deadline_s)
    if record.runbook == "canary":
        said = _return_traffic(record, journal, workspace, begun, progress, deadline_s)
    else:
        said = _take_back(record, journal, workspace, begun[-1], progress, deadline_s)
    with contextlib.suppress(OpsError):
        after = read_endpoint(workspace, record.endpoint)
        write_record(folder, replace(record, traffic_after=dict(after.traffic)))
    return said


def _promoted(events: Sequence[Event]) -> bool:
    """Whether the canary was promoted before its run ended: then it is what was wanted."""
    return any(e["event"] == JournalEvent.ROLLOUT and e["data"]["outcome"] == Outcome.SUCCEEDED for e in events)


def _let_go(record: Record, workspace: Workspace, progress: Progress, deadline_s: float) -> str:
    """Remove the lease of a canary that was promoted, so that no sweep takes its traffic away."""
    retry(
        lambda left_s: edit_tags(workspace, record.endpoint, release(record.run_id), max(30.0, left_s), progress),
        f"the lease on {record.endpoint} could not be removed",
        progress,
        deadline_s,
    )
    return "the canary had been promoted: its traffic stays"


def _return_traffic(
    record: Record,
    journal: Journal,
    workspace: Workspace,
    begun: list[Event],
    progress: Progress,
    deadline_s: float,
) -> str:
    returns_to = record.traffic_before or {}
    undo = Undo(record.endpoint, record.run_id, returns_to, tuple(step["after"] for step in begun))
    journal.try_write(JournalEvent.UNDOING, undo)
    receipt = restore_traffic(workspace, undo, progress, deadline_s)
    journal.try_write(JournalEvent.UNDONE, receipt)
    probes = read_available_probes(str(record.parameters.get("probes") or ""))
    arrived = verify_arrival(workspace, read_endpoint(workspace, record.endpoint), probes) if probes else ()
    journal.try_write(JournalEvent.ARRIVED, arrived)
    done = "was restored" if receipt.changed else "is as it was before"
    said = f"traffic {done}: {describe_traffic(returns_to)}"
    return "; ".join(part for part in (said, describe_arrival(arrived, returns_to)) if part)


def _take_back(
    record: Record, journal: Journal, workspace: Workspace, begun: Event, progress: Progress, deadline_s: float
) -> str:
    """Remove a deployment that was begun (a failed one keeps billing), or scale back."""
    settle(workspace, record.endpoint, deadline_s, progress)
    made = read_endpoint(workspace, record.endpoint).find(begun["deployment"])
    if made is None:
        return ""
    step: Step = DeleteDeployment(record.endpoint, made.name)
    said = f"the unfinished deployment {made.name} was removed"
    if record.runbook == "scale":
        step = SetInstanceCount(record.endpoint, made.name, begun["after"], begun["before"])
        said = f"{made.name} was scaled back to {begun['before']} instances"
    journal.try_write(JournalEvent.UNDOING, step)
    journal.try_write(JournalEvent.UNDONE, apply(step, workspace, deadline_s, progress))
    return said
