"""A canary's lease on its endpoint: acquired with the first traffic, renewed while watched, released at the end."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.endpoint_changes import edit_tags
from opslib.azure.endpoints import read_endpoint
from opslib.errors import ApplyError, AzureError, Drift, OperationTimeout, OpsError
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.model import Endpoint, Plan, SetTraffic, Traffic
from opslib.model.traffic import describe_traffic, same_traffic
from opslib.runbooks.lease.tags import Lease, acquire, read_lease, release, renew
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.undo.restore_traffic import (
    Undo,
    describe_arrival,
    print_progress,
    read_available_probes,
    restore_traffic,
    retry,
    verify_arrival,
)


@dataclass(frozen=True)
class LeaseTerms:
    """The change that holds the lease and its owner; length of a lease, and limit of one operation [seconds]."""

    change: str
    owner: str
    lease_s: float
    operation_timeout_s: float

    @property
    def edit_timeout_s(self) -> float:
        """Longest wait for an edit of the lease [seconds]."""
        return min(self.lease_s, self.operation_timeout_s)


class TrafficLease:
    """Moves one canary's traffic while its lease is held."""

    def __init__(
        self, workspace: Workspace, journal: Journal, progress: Progress, plan: Plan, terms: LeaseTerms
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._progress = progress
        self._plan = plan
        self._terms = terms
        self._deadline = datetime.now(UTC)
        self._deadline_s = monotonic()
        self._made: list[Traffic] = []
        self._mirrored: Traffic = {}
        self._prevented = False

    @property
    def longest_pause_s(self) -> float:
        """Longest pause between two looks: a lease of a few seconds would end between them [seconds]."""
        return self._terms.lease_s / 6

    def move(self, step: SetTraffic) -> None:
        """Move traffic, and acquire or renew the lease in the same request.

        Raises
        ------
        LeaseHeld
            If another change holds the endpoint.
        """
        self._journal.write(JournalEvent.APPLYING, step)
        first = not self._made
        self._made.append(step.after)
        self._mirrored = step.mirrored or self._mirrored
        lease, since_s = self._lease(step), monotonic()
        timeout_s = self._terms.operation_timeout_s
        try:
            receipt = apply(step, self._workspace, timeout_s, self._progress, acquire(lease))
        except Drift:
            self._prevented = first and not self._may_hold()
            raise
        self._journal.write(JournalEvent.APPLIED, receipt)
        self._extend(lease, since_s)

    def renew_if_due(self, step: SetTraffic) -> None:
        """Require that this run still holds traffic and lease; renew the lease when a third of it has passed.

        While Azure does not respond, the watch continues until the lease has run out.

        Raises
        ------
        Drift
            If the traffic or the lease is no longer this run's.
        ApplyError
            If the lease ran out while Azure did not respond.
        """
        self._journal.touch()
        try:
            endpoint = read_endpoint(self._workspace, self._plan.endpoint)
            self._require_held(endpoint, step)
            if self._left_s() < self._terms.lease_s * 2 / 3:
                lease, since_s = self._lease(step), monotonic()
                # once the lease has ended, any process may restore the traffic: no wait goes beyond it
                timeout_s = min(self._terms.edit_timeout_s, max(1.0, self._left_s()))
                edit_tags(self._workspace, endpoint.name, renew(lease), timeout_s, self._progress)
                self._extend(lease, since_s)
        except (AzureError, OperationTimeout) as error:
            self._progress(f"could not read the endpoint or renew its lease: {error}")
            if self._left_s() <= 0:
                raise ApplyError("the lease ran out while Azure did not respond: the canary was ended") from error

    def release(self) -> None:
        """Remove the lease after the last promotion; the traffic stays."""
        name, edit = self._plan.endpoint, release(self._terms.change)
        retry(
            lambda left_s: edit_tags(self._workspace, name, edit, left_s, self._progress),
            f"the lease on {name} could not be removed",
            self._progress,
            self._terms.edit_timeout_s,
        )

    def restore(self, probes: str) -> None:
        """Undo: restore the traffic from before, whichever stage was reached, and verify that it arrives.

        There is nothing to undo where another change prevented the first move: its traffic and lease are its own.

        Parameters
        ----------
        probes
            Path of the probes that verify it; empty for none.
        """
        if self._prevented:
            return
        plan = self._plan
        undo = Undo(plan.endpoint, self._terms.change, plan.before.traffic, tuple(self._made), self._mirrored)
        self._journal.try_write(JournalEvent.UNDOING, undo)
        with self._journal.noted(JournalEvent.UNDO_FAILED):
            receipt = restore_traffic(self._workspace, undo, self._show_undo)
        self._journal.write(JournalEvent.UNDONE, receipt)
        self._progress(f"traffic restored: {describe_traffic(undo.returns_to)}")
        arrived = verify_arrival(self._workspace, plan.before, read_available_probes(probes))
        self._journal.write(JournalEvent.ARRIVED, arrived)
        if arrived:
            self._progress(describe_arrival(arrived, undo.returns_to))

    def _may_hold(self) -> bool:
        """Return whether the endpoint has this run's lease, which a request that moves traffic writes too."""
        try:
            held = read_lease(read_endpoint(self._workspace, self._plan.endpoint).tags)
        except OpsError:
            return True
        return held is not None and held.change == self._terms.change

    def _show_undo(self, text: str) -> None:
        """Show how the undo goes on, and that the run is alive: else it is killed as one that hangs."""
        print_progress(text)
        with suppress(OSError):
            self._journal.touch()

    def _require_held(self, endpoint: Endpoint, step: SetTraffic) -> None:
        held = read_lease(endpoint.tags)
        if held is None or held.change != self._terms.change or not _is_set(endpoint, step):
            raise Drift(
                f"another change took over {endpoint.name}: its traffic is {describe_traffic(endpoint.traffic)}, "
                f"mirrored {describe_traffic(endpoint.mirror_traffic)}, expected {describe_traffic(step.after)}, "
                f"mirrored {describe_traffic(step.mirrored)}; its lease is held by "
                f"{held.change if held else 'no run'}, expected {self._terms.change}"
            )

    def _lease(self, step: SetTraffic) -> Lease:
        return Lease(
            change=self._terms.change,
            owner=self._terms.owner,
            returns_to=self._plan.before.traffic,
            holds=step.after,
            deadline=datetime.now(UTC) + timedelta(seconds=self._terms.lease_s),
            mirrors=step.mirrored,
        )

    def _extend(self, lease: Lease, since_s: float) -> None:
        self._deadline = lease.deadline
        self._deadline_s = since_s + self._terms.lease_s

    def _left_s(self) -> float:
        """Return the time left by the clock that is ahead: one stops in sleep, the other can be set [seconds]."""
        return min(self._deadline_s - monotonic(), (self._deadline - datetime.now(UTC)).total_seconds())


def _is_set(endpoint: Endpoint, step: SetTraffic) -> bool:
    """Return whether live and mirrored traffic are as the step set them; a mirror that it left alone may be any."""
    mirrored = step.mirror is None or same_traffic(endpoint.mirror_traffic, step.mirrored)
    return mirrored and same_traffic(endpoint.traffic, step.after)
