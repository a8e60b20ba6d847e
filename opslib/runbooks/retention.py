"""How long a deployment has been without live traffic, and which releases came after, by the archive's records."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from opslib.azure.monitor_time import read_time
from opslib.evidence.run.record import Record
from opslib.model import ActivityEvent, Deployment, Endpoint, Outcome, Traffic

_NOT_STARTED = frozenset({Outcome.PLANNED, Outcome.WAITING, Outcome.REFUSED})
"""Outcomes of a run that moved no traffic."""


@dataclass(frozen=True)
class Rest:
    """The time since a deployment last took live traffic.

    Attributes
    ----------
    since
        Last time at which it may have taken some [UTC]; None where neither a record nor Azure has one.
    by
        What shows this: a run's id, or its creation.
    releases
        Ids of the runs that promoted another version since, and were not rolled back, oldest first.
    """

    since: datetime | None
    by: str
    releases: tuple[str, ...]


def find_rest(deployment: Deployment, history: Sequence[Record]) -> Rest:
    """Find when a deployment last took live traffic, from the records of its endpoint's runs.

    A run counts until its end: it may have returned the traffic only then. A deployment that no record shows with
    traffic has rested since it was created.
    """
    live = [(_last_time(record), record.run_id) for record in history if _took_traffic(record, deployment.name)]
    created = str((deployment.arm.get("systemData") or {}).get("createdAt") or "")
    if created:
        live.append((read_time(created), "its creation"))
    since, by = max(live, default=(None, ""))
    return Rest(since, by, () if since is None else _releases(history, since))


def _took_traffic(record: Record, name: str) -> bool:
    """Return whether a deployment took live traffic before, during or after a run."""
    states: tuple[Traffic, ...] = (record.traffic_before or {}, record.traffic_after or {})
    if any(weight and one.lower() == name.lower() for one, weight in chain(*(state.items() for state in states))):
        return True
    on_trial = str(record.parameters.get("canary") or "").lower() == name.lower()
    return record.runbook == "canary" and on_trial and record.outcome not in _NOT_STARTED


def _last_time(record: Record) -> datetime:
    return record.finished_at or record.started_at


def _releases(history: Sequence[Record], since: datetime) -> tuple[str, ...]:
    """Return the promotions after a time; a rollback takes back the newest one whose version it left."""
    promoted: dict[str, str] = {}
    for record in sorted(history, key=_last_time):
        if record.outcome is not Outcome.SUCCEEDED or _last_time(record) <= since:
            continue
        if record.runbook == "canary" and not record.parameters.get("rehearse"):
            promoted[str(record.parameters.get("canary")).lower()] = record.run_id
        elif record.runbook == "rollback":
            left = {name.lower() for name, weight in (record.traffic_before or {}).items() if weight}
            for name in left - {str(record.results.get("to") or "").lower()}:
                promoted.pop(name, None)
    return tuple(promoted.values())


def find_foreign_changes(
    endpoint: Endpoint, events: Sequence[ActivityEvent], history: Sequence[Record], since: datetime
) -> tuple[ActivityEvent, ...]:
    """Return the writes of the endpoint since a time that no archived run made, newest first.

    Only a write of the endpoint can move traffic. A run made those of its correlation ids, and those of its time.
    """
    known = {correlation_id for record in history for correlation_id in record.correlation_ids}
    return tuple(
        event
        for event in events
        if event.at > since
        and event.resource_id.lower() == endpoint.id.lower()
        and event.operation.lower().endswith("onlineendpoints/write")
        and event.correlation_id not in known
        and not any(record.started_at <= event.at <= _last_time(record) for record in history)
    )
