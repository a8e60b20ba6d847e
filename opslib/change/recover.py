"""Undo for a run that can no longer do it itself: what its journal says was begun is taken back."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import read_endpoint, settle
from opslib.azure.scoring import read_probes
from opslib.change.apply import apply
from opslib.change.undo import DEADLINE_S, Undo, describe_arrival, give_back, verify_arrival
from opslib.evidence.journal import Journal, read_journal
from opslib.evidence.record import Record, read_record, write_record
from opslib.model import DeleteDeployment

Event = Mapping[str, Any]


def recover(folder: Path, progress: Progress = lambda _: None, deadline_s: float = DEADLINE_S) -> str:
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
    begun = _begun(list(read_journal(journal.path))) if journal.path.exists() else []
    if not begun or record.runbook not in {"canary", "deploy"}:
        return ""
    workspace = connect(str(record.parameters["target"]))
    if record.runbook == "deploy":
        said = _remove(record, journal, workspace, begun[-1]["deployment"], progress)
    else:
        said = _return_traffic(record, journal, workspace, begun, progress, deadline_s)
    after = read_endpoint(workspace, record.endpoint)
    write_record(folder, replace(record, traffic_after=dict(after.traffic)))
    return said


def _begun(events: list[Event]) -> list[Event]:
    """Steps that were begun, unless the run reached its decision or undid them."""
    if any(event["event"] in {"rollout", "undone", "finished"} for event in events):
        return []
    return [event["data"] for event in events if event["event"] == "applying"]


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
    journal.write("undoing", undo)
    receipt = give_back(workspace, undo, progress, deadline_s)
    journal.write("undone", receipt)
    path = str(record.parameters.get("probes") or "")
    probes = read_probes(path) if path and Path(path).is_file() else ()
    arrived = verify_arrival(workspace, read_endpoint(workspace, record.endpoint), probes)
    journal.write("arrived", arrived)
    said = f"traffic was given back: {dict(returns_to)}" if receipt.changed else ""
    return "; ".join(part for part in (said, describe_arrival(arrived, returns_to)) if part)


def _remove(record: Record, journal: Journal, workspace: Workspace, deployment: str, progress: Progress) -> str:
    """Remove a deployment that was begun: a failed one keeps billing until it is deleted."""
    settle(workspace, record.endpoint, DEADLINE_S, progress)
    made = read_endpoint(workspace, record.endpoint).find(deployment)
    if made is None:
        return ""
    step = DeleteDeployment(record.endpoint, made.name)
    journal.write("undoing", step)
    journal.write("undone", apply(step, workspace, DEADLINE_S, progress))
    return f"the unfinished deployment {made.name} was removed"
