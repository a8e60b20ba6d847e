"""The instances of all deployments: as many as each wants, rolled and restarted. Sets no provisioningState."""

import asyncio
import contextlib
import math
import sys
from collections.abc import Coroutine
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.errors import ProvisioningFailed
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.instances.containers import Runtime
from opslib.sandbox.instances.environment import InstanceEnvironment
from opslib.sandbox.instances.instance import Instance
from opslib.sandbox.instances.kubelet import CRASHED, Kubelet
from opslib.sandbox.instances.logs import FleetLog
from opslib.sandbox.instances.payload import Payload
from opslib.sandbox.instances.pool import Pool
from opslib.sandbox.instances.resolution import resolve

_OUT_OF_MEMORY = 137  # exit code and reason of a container that the kernel killed, as Kubernetes shows them
_BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROLLED_AT_ONCE = 0.2  # share of the instances; how-to-deploy-online-endpoints.md


class Fleet:
    """Pools of instances by deployment."""

    def __init__(
        self,
        state: Path,
        store: Store,
        log: FleetLog,
        environment: InstanceEnvironment,
        settings: Settings,
        runtime: Runtime,
    ) -> None:
        self._store = store
        self._log = log
        self._kubelet = Kubelet(state, store, log, environment, settings)
        self.runtime = runtime
        self._pools: dict[str, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def pool(self, deployment_id: str) -> Pool:
        """Return a deployment's pool; an empty one when it has none."""
        key = ids.key(deployment_id)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool()
        return pool

    def by_deployment(self) -> dict[str, list[Instance]]:
        """Return the instances of every deployment."""
        return {key: list(pool.instances) for key, pool in self._pools.items()}

    async def converge(self, deployment: Resource) -> None:
        """Make the running instances match the deployment's body.

        New instances are ready before they take traffic; old ones finish what they hold. When a new one
        does not become ready, those that served go on serving.

        Raises
        ------
        ProvisioningFailed
            ResourceNotReady, if an instance does not become ready; ImageBuildFailure, if this Python lacks what its
            curated environment promises.
        """
        payload = resolve(self._store, self.runtime, deployment)
        self._log.clear_failed_step(deployment.id)
        self._require_packages(payload)
        pool = self.pool(deployment.id)
        async with pool.lock:
            before = pool.payload
            if before is None or not pool.instances or before.generation == payload.generation:
                await self._fill(pool, payload)
                return
            await self._fill(pool, replace(before, capacity=payload.capacity))  # scaling first, then the rest
            try:
                await self._roll(pool, payload)
            except ProvisioningFailed:
                await self._fill(pool, before)
                raise

    async def drop(self, deployment_id: str, *, drain: bool) -> None:
        """End all instances of a deployment."""
        pool = self._pools.pop(ids.key(deployment_id), None)
        if pool is not None:
            async with pool.lock:
                payload = pool.payload
                retired = pool.replace(payload, []) if payload is not None else []
                await self._retire(retired, drain=drain)
        self._log.forget(deployment_id)

    def end_orphans(self) -> None:
        """End instances that a killed sandbox has left behind."""
        if any(one.internal.get("engine") for one in self._store.all("deployments")):
            self.runtime.engine.remove_all(str(self._kubelet.roots))
        self._kubelet.end_orphans()

    async def close(self) -> None:
        """End everything."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        instances = [instance for pool in self._pools.values() for instance in pool.instances]
        await self._retire(instances, drain=False)
        self._kubelet.close()

    def container_log(self, deployment_id: str, container: str, lines: int) -> str:
        """Return the last lines of a container."""
        instances = self.pool(deployment_id).instances
        for one in instances:
            one.read_console()
        ready = any(one.ready for one in instances)
        return self._log.container(deployment_id, container, lines, ready=ready)

    def logs(self, lines: int) -> list[tuple[str, str]]:
        """Return name and last lines of every instance's log, also of those that have ended."""
        self.read_consoles()
        return self._log.tails(lines)

    def read_consoles(self) -> None:
        """Take in what instances have printed."""
        for pool in self._pools.values():
            for instance in pool.instances:
                instance.read_console()

    def _require_packages(self, payload: Payload) -> None:
        if not payload.missing:
            return
        names = ", ".join(payload.missing)
        message = (
            f"The environment {payload.environment} promises {names}, which the Python that runs deployments here "
            f"lacks: {sys.executable} -m pip install {' '.join(payload.missing)}"
        )
        self._log.note_failed_step(payload.deployment, "UserContainerImagePull", message)
        raise ProvisioningFailed("ImageBuildFailure", message)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work run until it ends or the fleet does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fill(self, pool: Pool, payload: Payload, restarted: str = "") -> None:
        """Have as many instances of one payload as it wants, and no other; one may take up another's id."""
        good = [i for i in pool.instances if i.payload.generation == payload.generation and i.running()]
        good = good[: payload.capacity]
        fresh = await self._started(payload, payload.capacity - len(good), restarted)
        await self._switch(pool, payload, good, fresh)

    async def _roll(self, pool: Pool, payload: Payload) -> None:
        """Replace the instances a few at a time, the new on top of the old: the reserve is there for that."""
        at_once = math.ceil(_ROLLED_AT_ONCE * payload.capacity)
        while stale := [i for i in pool.instances if i.payload.generation != payload.generation]:
            fresh = await self._started(payload, min(at_once, len(stale)))
            await self._switch(pool, payload, [i for i in pool.instances if i not in stale[: len(fresh)]], fresh)
        await self._fill(pool, payload)

    async def _started(self, payload: Payload, count: int, restarted: str = "") -> list[Instance]:
        """Start instances; all of them become ready, or none stays."""
        fresh = [self._kubelet.new(payload, "" if index else restarted) for index in range(count)]
        try:
            started = await asyncio.gather(*(self._kubelet.start(instance) for instance in fresh))
        except BaseException:
            await self._discard(fresh)
            raise
        if not all(started):
            await self._discard(fresh)
            raise ProvisioningFailed("ResourceNotReady", CRASHED)
        return fresh

    async def _discard(self, instances: list[Instance]) -> None:
        """End instances that never took traffic; their logs are closed when what they print has ended."""
        await self._retire(instances, drain=False)
        for instance in instances:
            self.spawn(_ended(instance))

    async def _switch(self, pool: Pool, payload: Payload, kept: list[Instance], fresh: list[Instance]) -> None:
        for instance in fresh:
            self.spawn(self._watch(pool, instance))
            self.spawn(self._kubelet.probe(instance, pool.hand_out))
        await self._retire(pool.replace(payload, kept + fresh), drain=True)

    async def _watch(self, pool: Pool, instance: Instance) -> None:
        """Notice the death of an instance and start it again under its id, as a pod restarts its container."""
        code = await instance.ended()
        if instance.stopping or self._closing:
            return
        pool.remove(instance)
        self._kubelet.forget(instance)
        why = f"{_OUT_OF_MEMORY} (OOMKilled)" if instance.out_of_memory else code
        self._log.event(instance, "BackOff", f"Container inference-server ended with code {why}; restarting it")
        for delay_s in chain(_BACK_OFF_S, repeat(_BACK_OFF_S[-1])):
            await asyncio.sleep(delay_s)
            async with pool.lock:
                if pool.payload is None or self._pools.get(ids.key(pool.payload.deployment)) is not pool:
                    return
                same = pool.payload.generation == instance.payload.generation
                with contextlib.suppress(ProvisioningFailed):
                    await self._fill(pool, pool.payload, instance.id if same else "")
                    return

    async def _retire(self, instances: list[Instance], *, drain: bool) -> None:
        await asyncio.gather(*(self._kubelet.end(instance, drain=drain) for instance in instances))


async def _ended(instance: Instance) -> None:
    await instance.ended()
