"""A canary's hold on its endpoint: taken with the first traffic, renewed while watched, given up at the end."""

from datetime import UTC, datetime, timedelta
from time import monotonic

from opslib.azure.endpoints import edit_tags, read_endpoint
from opslib.errors import ApplyError, AzureError, Drift, OperationTimeout
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Endpoint, Plan, SetTraffic, Traffic
from opslib.model.traffic import describe_traffic, same_traffic
from opslib.parameters import CanaryParameters
from opslib.runbooks.lease.tags import Lease, acquire, read_lease, release, renew
from opslib.runbooks.run import Run
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.undo.restore_traffic import (
    Undo,
    describe_arrival,
    read_available_probes,
    restore_traffic,
    retry,
    verify_arrival,
)


class TrafficLease:
    """What one canary run may do with its endpoint's traffic while it holds the lease."""

    def __init__(self, run: Run[CanaryParameters], plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._deadline = datetime.now(UTC)
        self._deadline_s = monotonic()
        self._made: list[Traffic] = []

    def move(self, step: SetTraffic) -> None:
        """Move traffic, and take or renew the lease in the same request.

        Raises
        ------
        LeaseHeld
            If another change holds the endpoint.
        """
        run = self._run
        run.journal.write(JournalEvent.APPLYING, step)
        self._made.append(step.after)
        lease, since_s = self._lease(step), monotonic()
        run.note(
            JournalEvent.APPLIED,
            apply(step, run.workspace, run.parameters.operation_timeout_s, run.say, acquire(lease)),
        )
        self._extend(lease, since_s)

    def renew_if_due(self, step: SetTraffic) -> None:
        """Stop if somebody else moved the traffic; renew the lease when a third of it has passed.

        A service that does not answer ends nothing until the lease has run out.

        Raises
        ------
        Drift
            If the traffic or the lease is no longer this run's.
        ApplyError
            If the lease ran out while Azure did not answer.
        """
        run = self._run
        run.journal.touch()
        try:
            endpoint = read_endpoint(run.workspace, run.parameters.endpoint)
            self._require_held(endpoint, step)
            if self._left_s() < run.parameters.lease_s * 2 / 3:
                lease, since_s = self._lease(step), monotonic()
                edit_tags(run.workspace, endpoint.name, renew(lease), self._edit_timeout_s(), run.say)
                self._extend(lease, since_s)
        except (AzureError, OperationTimeout) as error:
            run.say(f"the endpoint cannot be read: {error}")
            if self._left_s() <= 0:
                raise ApplyError("the lease ran out while Azure did not answer: the canary is ended") from error

    def release(self) -> None:
        """Remove the lease at the good end; the traffic stays."""
        run, name = self._run, self._plan.endpoint
        retry(
            lambda left_s: edit_tags(run.workspace, name, release(run.record.run_id), left_s, run.say),
            f"the lease on {name} could not be removed",
            run.say,
            self._edit_timeout_s(),
        )

    def restore_traffic(self) -> None:
        """Undo: return the traffic that was there before, from wherever the walk has got to, and see it arrive."""
        run, plan = self._run, self._plan
        undo = Undo(plan.endpoint, run.record.run_id, plan.before.traffic, tuple(self._made))
        run.journal.try_write(JournalEvent.UNDOING, undo)
        receipt = restore_traffic(run.workspace, undo, lambda text: print(text, flush=True))
        run.journal.write(JournalEvent.UNDONE, receipt)
        run.say(f"traffic was given back: {describe_traffic(undo.returns_to)}")
        arrived = verify_arrival(run.workspace, plan.before, read_available_probes(run.parameters.probes))
        run.journal.write(JournalEvent.ARRIVED, arrived)
        if arrived:
            run.say(describe_arrival(arrived, undo.returns_to))

    def _require_held(self, endpoint: Endpoint, step: SetTraffic) -> None:
        held = read_lease(endpoint.tags)
        holder = held.change if held else "nobody"
        if holder != self._run.record.run_id or not same_traffic(endpoint.traffic, step.after):
            raise Drift(
                f"traffic of {endpoint.name} is {describe_traffic(endpoint.traffic)}, held by {holder}; expected "
                f"{describe_traffic(step.after)}, held by this run: somebody else took over"
            )

    def _lease(self, step: SetTraffic) -> Lease:
        run = self._run
        return Lease(
            change=run.record.run_id,
            owner=f"{run.workspace.scope.principal}@{run.record.host}",
            returns_to=self._plan.before.traffic,
            holds=step.after,
            deadline=datetime.now(UTC) + timedelta(seconds=run.parameters.lease_s),
        )

    def _extend(self, lease: Lease, since_s: float) -> None:
        self._deadline = lease.deadline
        self._deadline_s = since_s + self._run.parameters.lease_s

    def _left_s(self) -> float:
        """Until the lease runs out, by the clock that says so first: one sleeps, the other may be set [seconds]."""
        return min(self._deadline_s - monotonic(), (self._deadline - datetime.now(UTC)).total_seconds())

    def _edit_timeout_s(self) -> float:
        """Longest wait for an edit of the lease [seconds]."""
        return min(self._run.parameters.lease_s, self._run.parameters.operation_timeout_s)
