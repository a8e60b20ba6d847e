"""Undo for a run whose kernel can no longer do it itself: what its journal says was begun is taken back."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import read_endpoint, settle
from opslib.change.apply import apply
from opslib.errors import Drift
from opslib.evidence.journal import Journal, read_journal
from opslib.evidence.record import Record, read_record, write_record
from opslib.model import DeleteDeployment, SetTraffic, Step

DEADLINE_S = 900.0
"""Longest wait for one undo; a traffic update takes minutes at Azure."""

Event = Mapping[str, Any]


def recover(folder: Path) -> str:
    """Take back what a run began and neither ended nor undid.

    Idempotent: what is as it was before is left alone, and a state that the run did not make is never overwritten.

    Parameters
    ----------
    folder
        The run's folder.

    Returns
    -------
    str
        What was done, for the record; empty where there was nothing to do.

    Raises
    ------
    Drift
        If somebody else changed the endpoint meanwhile.
    """
    record = read_record(folder)
    journal = Journal(folder)
    begun = _begun(list(read_journal(journal.path))) if journal.path.exists() else []
    if not begun:
        return ""
    workspace = connect(str(record.parameters["target"]))
    settle(workspace, record.endpoint, DEADLINE_S, lambda _: None)
    step = _undo(record, begun, workspace)
    if step is not None:
        journal.write("undoing", step)
        journal.write("undone", apply(step, workspace, DEADLINE_S, lambda _: None))
    after = read_endpoint(workspace, record.endpoint)
    write_record(folder, replace(record, traffic_after=dict(after.traffic)))
    return _said(step)


def _begun(events: list[Event]) -> list[Event]:
    """Steps that were begun, unless the run reached its decision or undid them."""
    if any(event["event"] in {"rollout", "undone", "finished"} for event in events):
        return []
    return [event["data"] for event in events if event["event"] == "applying"]


def _undo(record: Record, begun: list[Event], workspace: Workspace) -> Step | None:
    """The step that takes back what was begun; None where the endpoint is as it was."""
    endpoint = read_endpoint(workspace, record.endpoint)
    if record.runbook == "deploy":
        made = endpoint.find(begun[-1]["deployment"])
        return DeleteDeployment(endpoint.name, made.name) if made else None
    if record.runbook != "canary" or record.traffic_before == endpoint.traffic:
        return None
    if all(endpoint.traffic != step["after"] for step in begun):
        raise Drift(
            f"traffic of {endpoint.name} is {dict(endpoint.traffic)}, which this run did not set: it was left "
            f"alone. Before this run it was {dict(record.traffic_before or {})}"
        )
    return SetTraffic(endpoint.name, endpoint.traffic, record.traffic_before or {})


def _said(step: Step | None) -> str:
    match step:
        case SetTraffic():
            return f"traffic was given back: {dict(step.after)}"
        case DeleteDeployment():
            return f"the unfinished deployment {step.deployment} was removed"
        case _:
            return ""
