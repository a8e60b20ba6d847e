"""The one state machine: sets every provisioningState and runs every long-running operation.

An operation is stored before it is answered, and its work is repeatable: an operation that a crash interrupts
is run again when the sandbox starts.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum

from opslib.sandbox.arm.errors import ArmError, ProvisioningFailed
from opslib.sandbox.arm.records import Operation, Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_offset, now_us
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.endpoints.artifacts import Artifacts
from opslib.sandbox.instances.fleet import Fleet

logger = logging.getLogger("opslib.sandbox")
RUNNING = "InProgress"
SETTLED = ("Succeeded", "Failed", "Canceled")
_SERVING = "serving"  # the body that a deployment's instances were last made from


class Kind(StrEnum):
    """What an operation does; the value is the resource's state meanwhile."""

    CREATE = "Creating"
    UPDATE = "Updating"
    SCALE = "Scaling"
    DELETE = "Deleting"


class Lifecycle:
    """Begins and ends operations."""

    def __init__(self, store: Store, fleet: Fleet, settings: Settings, artifacts: Artifacts) -> None:
        self._store = store
        self._fleet = fleet
        self._settings = settings
        self._artifacts = artifacts
        self._faults = artifacts.faults
        self._tasks: set[asyncio.Task[None]] = set()

    def require_settled(self, resource: Resource, action: str) -> None:
        """Refuse a write while another operation runs.

        Words: Azure/azure-sdk-for-net#36961, "Cannot create a deployment in endpoint X because it is in
        Updating provisioning state."
        """
        if resource.state not in SETTLED:
            raise ArmError.conflict(
                f"Cannot {action} {resource.name} because it is in {resource.state} provisioning state."
            )

    def begin(self, kind: Kind, resource: Resource) -> tuple[Resource, Operation]:
        """Store a resource in its transitional state together with the operation that will end it.

        Ids look like the live service's: `oeidp:{guid}:{guid}` for endpoints, `odidp:...` for deployments
        (Azure/azure-cli#30154).
        """
        prefix = "odidp" if resource.kind == "deployments" else "oeidp"
        operation = Operation(
            id=f"{prefix}:{uuid.uuid4()}:{uuid.uuid4()}",
            kind=kind.value,
            resource=resource.id,
            status=RUNNING,
            started_us=now_us(),
        )
        internal = {**resource.internal, "operation": operation.id, "changed_us": operation.started_us}
        stored = replace(resource, internal=internal)
        with self._store.transaction():
            stored = self._store.put(stored.with_properties(provisioningState=kind.value))
            self._store.put_operation(operation)
        self._run(operation)
        return stored, operation

    async def recover(self) -> None:
        """After a start: end orphans, start the instances that should serve, run interrupted operations again.

        The operations of a deployment that served wait until it serves again: an update that then fails leaves it.
        """
        self._fleet.end_orphans()
        unfinished = {ids.key(one.resource): one for one in self._store.unfinished_operations()}
        served = [
            one
            for one in self._store.all("deployments")
            if _SERVING in one.internal and one.state in (*SETTLED, Kind.UPDATE, Kind.SCALE)
        ]
        for operation in unfinished.values():
            if ids.key(operation.resource) not in {one.key for one in served}:
                self._run(operation)
        await asyncio.gather(*(self._restore(one, unfinished.get(one.key)) for one in served))

    async def close(self) -> None:
        """Stop working; unfinished operations stay on record."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _restore(self, deployment: Resource, operation: Operation | None) -> None:
        """Start the body that served last, after a failed update the one before it; then run an operation again."""
        try:
            await self._fleet.converge(replace(deployment, body=deployment.internal[_SERVING]))
        except Exception:
            logger.exception("deployment %s does not come up again", deployment.id)
            if operation is None:
                self._store.put(deployment.with_properties(provisioningState="Failed"))
        if operation is not None:
            self._run(operation)

    def _run(self, operation: Operation) -> None:
        task = asyncio.create_task(self._work(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, operation: Operation) -> None:
        resource = self._store.get(operation.resource)
        if resource is None:
            self._end(operation, "Canceled", None)
            return
        try:
            least = asyncio.sleep(self._settings.operation_s)
            await asyncio.gather(self._work_with_faults(operation, resource), least)
        except ProvisioningFailed as error:
            self._end(operation, "Failed", error)
        except ArmError as error:
            self._end(operation, "Failed", ProvisioningFailed(error.code, error.message))
        except Exception as error:
            logger.exception("operation %s on %s broke", operation.id, operation.resource)
            self._end(operation, "Failed", ProvisioningFailed("InternalServerError", str(error)))
        else:
            gone = operation.kind != Kind.DELETE and self._store.get(resource.id) is None  # with its workspace
            self._end(operation, "Canceled" if gone else "Succeeded", None)

    async def _work_with_faults(self, operation: Operation, resource: Resource) -> None:
        """Do an operation's work, after the faults declared for it."""
        of_deployment = resource.kind == "deployments"
        name = f"{'OnlineDeployments' if of_deployment else 'OnlineEndpoints'}_{operation.kind}"
        endpoint = ids.name(ids.parent(resource.id)) if of_deployment else resource.name
        await self._faults.disturb_operation(name, endpoint, resource.name if of_deployment else "")
        if of_deployment and operation.kind in (Kind.CREATE, Kind.UPDATE):
            self._artifacts.check(resource, name)
        if self._store.get(resource.id) is not None:
            await self._steps(operation.kind, resource.kind)(resource)

    def _steps(self, kind: str, of: str) -> Callable[[Resource], Awaitable[None]]:
        if of == "deployments":
            return self._drop_deployment if kind == Kind.DELETE else self._fleet.converge
        return self._drop_endpoint if kind == Kind.DELETE else self._settle

    async def _settle(self, _resource: Resource) -> None:
        """Do nothing: the stored body already holds."""

    async def _drop_deployment(self, deployment: Resource) -> None:
        await self._fleet.drop(deployment.id, drain=True)
        with self._store.transaction():
            self._store.delete(deployment.id)
            endpoint = self._store.get(ids.parent(deployment.id))
            if endpoint is not None:
                self._store.put(_without(endpoint, deployment.name))

    async def _drop_endpoint(self, endpoint: Resource) -> None:
        deployments = self._store.children(endpoint.id, "deployments")
        await asyncio.gather(*(self._fleet.drop(one.id, drain=False) for one in deployments))
        self._store.delete(endpoint.id)

    def _end(self, operation: Operation, status: str, error: ProvisioningFailed | None) -> None:
        body = None if error is None else error.body()
        with self._store.transaction():
            self._store.put_operation(replace(operation, status=status, error=body, ended_us=now_us()))
            resource = self._store.get(operation.resource)
            if (
                resource is not None and resource.internal.get("operation") == operation.id
            ):  # no later one of its name
                self._store.put(_ended(resource, status, created=operation.kind == Kind.CREATE))
                if resource.kind == "deployments" and status == "Succeeded":
                    self._show_scoring_path(resource)

    def _show_scoring_path(self, deployment: Resource) -> None:
        """Keep the scoring route for the endpoint's address, which a deployment's creation updates on Azure."""
        endpoint, path = self._store.get(ids.parent(deployment.id)), deployment.internal.get("scoring_path", "")
        if endpoint is not None and path and endpoint.internal.get("scoring_path", "/score") != path:
            self._store.put(replace(endpoint, internal={**endpoint.internal, "scoring_path": path}))


def _ended(resource: Resource, status: str, *, created: bool) -> Resource:
    """Return the resource in its final state; a deployment that succeeded keeps the body that it serves."""
    ended = resource.with_properties(provisioningState=status)
    if created:
        times = {**ended.body["systemData"], "lastModifiedAt": iso_offset(now_us())}
        ended = replace(ended, body={**ended.body, "systemData": times})
    if resource.kind != "deployments" or status != "Succeeded":
        return ended
    return replace(ended, internal={**ended.internal, _SERVING: ended.body})


def _without(endpoint: Resource, deployment: str) -> Resource:
    """Return the endpoint with a deleted deployment's (zero) weights forgotten."""
    kept = {
        field: {
            name: percent
            for name, percent in endpoint.properties[field].items()
            if name.lower() != deployment.lower()
        }
        for field in ("traffic", "mirrorTraffic")
    }
    return endpoint.with_properties(**kept)
