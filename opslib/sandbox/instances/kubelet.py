"""The life of one instance: started, probed, drained, ended; as the kubelet of a node does it for a pod."""

import asyncio
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from opslib.sandbox.arm.records import InstanceRecord
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.instances.environment import InstanceEnvironment
from opslib.sandbox.instances.instance import Instance
from opslib.sandbox.instances.launcher import Launcher
from opslib.sandbox.instances.logs import FleetLog
from opslib.sandbox.instances.payload import Payload
from opslib.sandbox.instances.probes import keep_ready, until_dead

CRASHED = (
    "User container has crashed or terminated. Please see troubleshooting guide, available here: "
    "https://aka.ms/oe-tsg#error-resourcenotready"
)
_STARTING_AT_ONCE = 4


class Kubelet:
    """Starts, probes and ends single instances; which ones there are is the fleet's decision."""

    def __init__(
        self, state: Path, store: Store, log: FleetLog, environment: InstanceEnvironment, settings: Settings
    ) -> None:
        self._blobs = state / "blobs"
        self.roots = state / "instances"
        self._store = store
        self._log = log
        self._environment = environment
        self._settings = settings
        self._launcher = Launcher()
        self._starting = asyncio.Semaphore(_STARTING_AT_ONCE)

    def end_orphans(self) -> None:
        """End instances that a killed sandbox has left behind, known by pid and start time."""
        for record in self._store.instances():
            record.process.end(grace_s=0.2)
            self._store.delete_instance(record.id)
        shutil.rmtree(self.roots, ignore_errors=True)
        self.roots.mkdir(parents=True)

    def new(self, payload: Payload, instance_id: str = "") -> Instance:
        """Return an instance that is not started yet; it takes up the id of one that has ended, if given."""
        instance_id = instance_id or f"instance-{uuid.uuid4().hex[:12]}"
        log = self._log.open(payload, instance_id)
        instance = Instance(instance_id, payload, self.roots / instance_id, log, self._launcher)
        instance.given = self._environment.variables(payload.deployment)
        return instance

    async def start(self, instance: Instance) -> bool:
        """Start an instance and wait until it is ready; return whether it is."""
        payload = instance.payload
        self._log.note(payload)
        async with self._starting:
            container = payload.container
            pulled = container.described if container else "Container image is the sandbox's own Python"
            self._log.event(instance, "Pulled", pulled)
            await instance.start(self._blobs, lambda lines: self._log.console(instance, lines))
            self._store.put_instance(
                InstanceRecord(instance.id, ids.key(payload.deployment), instance.identity, instance.port)
            )
            self._log.event(instance, "Created", "Created container inference-server")
            limit_s = min(payload.probes.start_within_s, self._settings.startup_timeout_s)
            ready = await instance.become_ready(limit_s)
        if not ready and instance.running():
            late = f"Liveness probe failed: no 200 from inference-server within {limit_s:g} s of its start"
            self._log.event(instance, "LivenessProbeFailed", late)
        name, message = ("Started", "Started container inference-server") if ready else ("BackOff", CRASHED)
        self._log.event(instance, name, message)
        if not ready and not instance.running():
            await instance.ended()
        return ready

    async def probe(self, instance: Instance, on_readiness: Callable[[], None]) -> None:
        """Keep `ready` of an instance true to its readiness probe; end it when it is not alive any more."""

        def turn(ready: bool) -> None:
            instance.ready = ready
            on_readiness()

        def failed(name: str) -> None:
            self._log.event(instance, f"{name}ProbeFailed", f"{name} probe failed: no 200 from inference-server")

        probes = instance.payload.probes
        readiness = asyncio.create_task(
            keep_ready(probes.readiness, instance.is_ready, turn, lambda: failed("Readiness")), name=instance.id
        )
        death = asyncio.create_task(instance.ended())
        alive = asyncio.create_task(until_dead(probes.liveness, instance.is_alive, lambda: failed("Liveness")))
        try:
            await asyncio.wait({death, alive}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (readiness, death, alive):
                task.cancel()
            await asyncio.gather(readiness, death, alive, return_exceptions=True)
        if instance.running() and not instance.stopping:
            self._log.event(
                instance, "Killing", "Container inference-server failed liveness probe, will be restarted"
            )
            instance.kill()

    async def end(self, instance: Instance, *, drain: bool) -> None:
        """End an instance; `drain` lets it first finish the requests that it works on."""
        instance.stopping = True
        waited_s = 0.0
        while drain and instance.in_flight and waited_s < instance.payload.timeout_s + 1:
            await asyncio.sleep(0.02)
            waited_s += 0.02
        self._log.event(instance, "Killing", "Stopping container inference-server")
        await instance.stop()
        self.forget(instance)

    def forget(self, instance: Instance) -> None:
        """Remove the record and the files of an instance that has ended."""
        self._store.delete_instance(instance.id)
        shutil.rmtree(instance.root, ignore_errors=True)

    def close(self) -> None:
        """End the process that starts instances."""
        self._launcher.close()
