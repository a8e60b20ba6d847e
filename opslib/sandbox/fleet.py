"""The instances of all deployments: started, replaced, drained, ended. Sets no provisioningState."""

import asyncio
import contextlib
import os
import shutil
import uuid
from collections.abc import Coroutine
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import aiohttp

from . import ids, skus
from .arm_errors import OperationFailed
from .clock import now_us
from .diagnostics import logged
from .instance import Instance, InstanceLog
from .payload import Payload, resolve
from .pool import Pool
from .process import group_usage, groups
from .settings import Settings
from .store import InstanceRecord, Resource, Store
from .telemetry import Telemetry

CRASHED = (
    "User container has crashed or terminated. Please see troubleshooting guide, available here: "
    "https://aka.ms/oe-tsg#error-resourcenotready"
)
_STARTING_AT_ONCE = 4
_BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_SAMPLE_EVERY_S = 10.0
_KEEP_LOGS = 120  # files of one deployment: more than its instances can be


class Fleet:
    """Pools of instances by deployment."""

    def __init__(self, state: Path, store: Store, telemetry: Telemetry, settings: Settings) -> None:
        self._blobs = state / "blobs"
        self._roots = state / "instances"
        self._logs = state / "logs"
        self._store = store
        self._telemetry = telemetry
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Semaphore(_STARTING_AT_ONCE)
        self._closing = False
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    def pool(self, deployment_id: str) -> Pool:
        """Return a deployment's pool; an empty one when it has none."""
        return self._pools.setdefault(ids.key(deployment_id), Pool())

    async def converge(self, deployment: Resource) -> None:
        """Make the running instances what the deployment's body asks for.

        New instances are ready before they take traffic; old ones finish what they hold. When a new one
        does not become ready, those that served go on serving.

        Raises
        ------
        OperationFailed
            ResourceNotReady, if an instance does not become ready.
        """
        payload = resolve(self._store, deployment)
        pool = self.pool(deployment.id)
        async with pool.lock:
            await self._fill(pool, payload)

    async def drop(self, deployment_id: str, *, drain: bool) -> None:
        """End all instances of a deployment."""
        pool = self._pools.pop(ids.key(deployment_id), None)
        if pool is not None:
            async with pool.lock:
                payload = pool.payload
                retired = pool.replace(payload, []) if payload is not None else []
                await self._retire(retired, drain=drain)
        shutil.rmtree(self._log_folder(deployment_id), ignore_errors=True)

    def end_orphans(self) -> None:
        """End instances that a killed sandbox has left behind, known by pid and start time."""
        for record in self._store.instances():
            record.process.end(grace_s=0.2)
            self._store.delete_instance(record.id)
        shutil.rmtree(self._roots, ignore_errors=True)
        self._roots.mkdir(parents=True)

    async def close(self) -> None:
        """End everything."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        instances = [instance for pool in self._pools.values() for instance in pool.instances]
        await self._retire(instances, drain=False)
        await self.http.close()

    def ready_instances(self) -> list[tuple[str, str, Instance]]:
        """Return every instance in rotation after the names of its endpoint and deployment."""
        return [
            (ids.name(ids.parent(key)), ids.name(key), instance)
            for key, pool in self._pools.items()
            for instance in pool.instances
            if instance.running()
        ]

    def container_log(self, deployment_id: str, container: str, lines: int) -> str:
        """Return the last lines of an instance chosen for the caller: the one that wrote last."""
        if container == "StorageInitializer":
            return InstanceLog(self._log_folder(deployment_id) / "storage-initializer.log").tail(lines)
        logs = sorted(self._log_folder(deployment_id).glob("instance-*.log"), key=lambda path: path.stat().st_mtime)
        if not logs:
            return ""
        return f"Instance status:\n{self._status(deployment_id)}\nContainer logs:\n" + InstanceLog(logs[-1]).tail(
            lines
        )

    def sample(self) -> None:
        """Record what each instance used since the last time."""
        pids, at_us = groups(), now_us()
        for key, pool in self._pools.items():
            deployment = self._store.get(key)
            if deployment is None:
                continue
            sku = skus.find(deployment.properties["instanceType"])
            for instance in pool.instances:
                before, instance.usage = instance.usage, group_usage(instance.identity.pid, pids)
                if before is None or sku is None:
                    continue
                cores = min(sku.cores, os.cpu_count() or 1)
                cpu = 100 * max(0.0, instance.usage.cpu_s - before.cpu_s) / _SAMPLE_EVERY_S / cores
                memory = 100 * instance.usage.memory_bytes / (sku.memory_gb * 2**30)
                disk = shutil.disk_usage(self._roots)
                row = (at_us, key, instance.id, cpu, memory, 100 * disk.used / disk.total, len(pool.instances))
                self._telemetry.add("samples", row)

    async def sample_for_ever(self) -> None:
        """Sample at a steady pace."""
        while True:
            self.sample()
            await asyncio.sleep(_SAMPLE_EVERY_S)

    async def _fill(self, pool: Pool, payload: Payload) -> None:
        good = [i for i in pool.instances if i.payload.generation == payload.generation and i.running()]
        good = good[: payload.capacity]
        fresh = [self._new(payload) for _ in range(payload.capacity - len(good))]
        try:
            started = await asyncio.gather(*(self._start(instance) for instance in fresh))
        except BaseException:
            await self._retire(fresh, drain=False)
            raise
        if not all(started):
            await self._retire(fresh, drain=False)
            raise OperationFailed("ResourceNotReady", CRASHED)
        for instance in fresh:
            self.spawn(self._watch(pool, instance))
        await self._retire(pool.replace(payload, good + fresh), drain=True)

    def _new(self, payload: Payload) -> Instance:
        instance_id = f"instance-{uuid.uuid4().hex[:12]}"
        folder = self._log_folder(payload.deployment)
        for old in sorted(folder.glob("instance-*"), key=lambda path: path.stat().st_mtime)[:-_KEEP_LOGS]:
            old.unlink(missing_ok=True)
        log = InstanceLog(folder / f"{instance_id}.log")
        return Instance(instance_id, payload, self._roots / instance_id, log)

    async def _start(self, instance: Instance) -> bool:
        """Start one instance and wait until it is ready; answer whether it is."""
        payload = instance.payload
        self._note(payload)
        async with self._starting:
            self._event(instance, "Pulled", "Container image is the sandbox's own Python")
            await instance.start(self._blobs, lambda line: self._console(instance, line))
            self._store.put_instance(
                InstanceRecord(instance.id, ids.key(payload.deployment), instance.identity, instance.port)
            )
            self._event(instance, "Created", "Created container inference-server")
            limit_s = min(payload.ready_within_s, self._settings.startup_timeout_s)
            ready = await instance.ready(self.http, limit_s)
        name, message = ("Started", "Started container inference-server") if ready else ("BackOff", CRASHED)
        self._event(instance, name, message)
        if not ready and not instance.running():
            await instance.ended()
        return ready

    async def _watch(self, pool: Pool, instance: Instance) -> None:
        """Notice the death of an instance and put another in its place."""
        code = await instance.ended()
        if instance.stopping or self._closing:
            return
        pool.remove(instance)
        self._forget(instance)
        self._event(instance, "BackOff", f"Container inference-server ended with code {code}; replacing it")
        for delay_s in chain(_BACK_OFF_S, repeat(_BACK_OFF_S[-1])):
            await asyncio.sleep(delay_s)
            async with pool.lock:
                if pool.payload is None or self._pools.get(ids.key(pool.payload.deployment)) is not pool:
                    return
                with contextlib.suppress(OperationFailed):
                    await self._fill(pool, pool.payload)
                    return

    async def _retire(self, instances: list[Instance], *, drain: bool) -> None:
        await asyncio.gather(*(self._end(instance, drain=drain) for instance in instances))

    async def _end(self, instance: Instance, *, drain: bool) -> None:
        instance.stopping = True
        waited_s = 0.0
        while drain and instance.in_flight and waited_s < instance.payload.timeout_s + 1:
            await asyncio.sleep(0.02)
            waited_s += 0.02
        self._event(instance, "Killing", "Stopping container inference-server")
        await instance.stop()
        self._forget(instance)

    def _forget(self, instance: Instance) -> None:
        self._store.delete_instance(instance.id)
        shutil.rmtree(instance.root, ignore_errors=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work run until it ends or the fleet does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log_folder(self, deployment_id: str) -> Path:
        return self._logs / uuid.uuid5(uuid.NAMESPACE_URL, ids.key(deployment_id)).hex

    def _status(self, deployment_id: str) -> str:
        pool = self.pool(deployment_id)
        return "".join(f"{instance.id}: Ready\n" for instance in pool.instances) or "no instance is ready\n"

    def _note(self, payload: Payload) -> None:
        log = InstanceLog(self._log_folder(payload.deployment) / "storage-initializer.log")
        for line in payload.notes:
            log.append(line)

    def _console(self, instance: Instance, line: str) -> None:
        deployment = instance.payload.deployment
        if logged(self._store, ids.parent(deployment), "AmlOnlineEndpointConsoleLog"):
            where = (ids.key(ids.parent(deployment)), ids.name(deployment).lower(), instance.id)
            self._telemetry.add("console", (now_us(), *where, "inference-server", line))

    def _event(self, instance: Instance, name: str, message: str) -> None:
        deployment = instance.payload.deployment
        if logged(self._store, ids.parent(deployment), "AmlOnlineEndpointEventLog"):
            where = (ids.key(ids.parent(deployment)), ids.name(deployment).lower(), instance.id)
            self._telemetry.add("events", (now_us(), *where, name, message))
