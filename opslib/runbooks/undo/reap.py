"""Reap expired leases: restore the traffic of every unwatched canary of a workspace, each as a run of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.endpoint_changes import edit_tags
from opslib.azure.endpoints import list_endpoints, read_endpoint
from opslib.errors import Drift, NotFound, OpsError
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run, end_run, end_unfinished, unfinished_runs
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.provenance import find_executor, find_versions
from opslib.evidence.run.record import Record
from opslib.model import Endpoint, Outcome
from opslib.model.traffic import describe_traffic
from opslib.runbooks.lease.tags import Lease, damage_of, describe, lease_tags, read_lease, release
from opslib.runbooks.undo.restore_traffic import DEADLINE_S, Undo, restore_traffic

RUNBOOK = "sweep"
"""Name of a recovery in archives, since the first of them."""

BeforeSeal = Callable[[Path, Record], None]


@dataclass(frozen=True)
class ReapedLease:
    """One lease that was found, or an endpoint whose lease could not be read or reaped.

    Attributes
    ----------
    endpoint
        Its name.
    lease
        None where the endpoint could not be read.
    outcome
        None where the lease was left to its holder.
    reason
        For the outcome.
    """

    endpoint: str
    lease: Lease | None
    outcome: Outcome | None
    reason: str


def reap(
    workspace: Workspace,
    archive: Path,
    progress: Progress,
    endpoint: str = "",
    *,
    take_over: bool = False,
    before_seal: BeforeSeal = lambda _folder, _record: None,
) -> Iterator[ReapedLease]:
    """Restore the traffic of every expired lease.

    Parameters
    ----------
    workspace
        Whose endpoints are read.
    archive
        Archive folder; each recovery is recorded there as a run of its own.
    progress
        Is called with what the undo waits for.
    endpoint
        Only this one; empty for all.
    take_over
        Also end leases that have not expired.
    before_seal
        Is called with each recovery's folder and record after the traffic was restored, before it is sealed.

    Yields
    ------
    ReapedLease
        Each lease that was found, and each endpoint of which it is unknown whether it has one.
    """
    names = [endpoint] if endpoint else sorted(str(e["name"]) for e in list_endpoints(workspace))
    for name in names:
        lease = None
        try:
            found = read_endpoint(workspace, name)
            lease, damage = read_lease(found.tags), damage_of(found.tags)
            if lease is None and not damage:
                continue
            if take_over or (lease is not None and lease.expired(datetime.now(UTC))):
                yield _reap_one(workspace, archive, found, lease, progress, before_seal)
            elif lease is not None:
                why = f"not expired, left to its holder: {describe(lease)}"
                yield ReapedLease(found.name, lease, None, why)
            else:
                why = f"{damage}. Remove it, then roll back: opslib recover --endpoint {name} --take-over"
                yield ReapedLease(found.name, None, Outcome.FAILED, why)
        except NotFound as error:
            progress(f"could not read {name}: {error}")
        except OpsError as error:  # the canaries of the other endpoints are unwatched too
            yield ReapedLease(name, lease, Outcome.FAILED, str(error))


def _reap_one(
    workspace: Workspace,
    archive: Path,
    endpoint: Endpoint,
    lease: Lease | None,
    progress: Progress,
    before_seal: BeforeSeal,
) -> ReapedLease:
    """Give one endpoint's traffic back, as a run of its own; a damaged lease is removed only."""
    folder = new_folder(archive, RUNBOOK, endpoint.name)
    record = Record(
        run_id=folder.name,
        runbook=RUNBOOK,
        endpoint=endpoint.name,
        parameters={"lease": lease_tags(endpoint.tags)},
        started_at=datetime.now(UTC),
        scope=workspace.scope,
        traffic_before=dict(endpoint.traffic),
        executor=find_executor(),
        versions=find_versions(),
    )
    record = begin_run(folder, record)
    journal = Journal(folder)
    if lease is None:
        outcome, reason = _discard(workspace, endpoint, journal, progress)
    else:
        undo = Undo(endpoint.name, lease.change, lease.returns_to, (lease.holds,), lease.mirrors)
        outcome, reason = _restore(workspace, undo, journal, progress)
    journal.write(JournalEvent.FINISHED, {"outcome": outcome, "reason": reason})
    record = record.ended(outcome, reason)
    before_seal(folder, record)
    end_run(folder, record)
    return ReapedLease(endpoint.name, lease, outcome, reason)


def _restore(workspace: Workspace, undo: Undo, journal: Journal, progress: Progress) -> tuple[Outcome, str]:
    """Restore the traffic; return how the recovery ended, and why."""
    journal.write(JournalEvent.UNDOING, undo)
    try:
        journal.write(JournalEvent.UNDONE, restore_traffic(workspace, undo, progress))
    except Drift as error:
        return Outcome.HELD, str(error)
    except OpsError as error:
        return Outcome.FAILED, str(error)
    return Outcome.SUCCEEDED, f"traffic moved by {undo.change} was restored: {describe_traffic(undo.returns_to)}"


def _discard(workspace: Workspace, endpoint: Endpoint, journal: Journal, progress: Progress) -> tuple[Outcome, str]:
    """Remove a damaged lease and leave the traffic: what it was before is unknown. Return the outcome, and why."""
    journal.write(JournalEvent.UNDOING, {"endpoint": endpoint.name, "tags": lease_tags(endpoint.tags)})
    try:
        receipt = edit_tags(workspace, endpoint.name, release(""), DEADLINE_S, progress)
    except OpsError as error:
        return Outcome.FAILED, str(error)
    journal.write(JournalEvent.UNDONE, receipt)
    kept = describe_traffic(endpoint.traffic)
    return Outcome.HELD, f"{damage_of(endpoint.tags)}. It was removed; the traffic was left as it is: {kept}"


def close_left_open(archive: Path) -> tuple[str, ...]:
    """Seal the runs whose process died, as aborted; return their ids."""
    folders = [archive / entry.folder for entry, alive in unfinished_runs(archive) if not alive]
    return tuple(end_unfinished(folder).record.run_id for folder in folders if folder.is_dir())
