"""What instances use and who is connected, at a steady pace: utilization, DeploymentCapacity, connections."""

import asyncio
import os
import shutil
from pathlib import Path

from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import skus
from opslib.sandbox.core.clock import now_us
from opslib.sandbox.core.process import group_usage, groups
from opslib.sandbox.instances.fleet import Fleet
from opslib.sandbox.scoring.connections import Connections
from opslib.sandbox.telemetry.telemetry import Telemetry

_INTERVAL_S = 10.0


class Sampler:
    """Writes samples of CPU, memory, disk and connections."""

    def __init__(
        self, root: Path, fleet: Fleet, store: Store, telemetry: Telemetry, connections: Connections
    ) -> None:
        self._root = root
        self._connections = connections
        self._fleet = fleet
        self._store = store
        self._telemetry = telemetry

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            running = any(self._fleet.by_deployment().values())  # a scan of /proc is long beside a request
            self.sample(await asyncio.to_thread(groups) if running else {})
            await asyncio.sleep(_INTERVAL_S)

    def sample(self, pids: dict[int, list[int]]) -> None:
        """Record what each instance used since the last time."""
        at_us = now_us()
        for endpoint in self._store.all("onlineEndpoints"):
            active, opened = self._connections.measure(endpoint.key)
            self._telemetry.add("connections", (at_us, endpoint.key, active, opened / _INTERVAL_S))
        for key, instances in self._fleet.by_deployment().items():
            deployment = self._store.get(key)
            sku = skus.find(deployment.properties["instanceType"]) if deployment is not None else None
            for instance in instances:
                before, instance.usage = instance.usage, group_usage(instance.identity.pid, pids)
                if before is None or sku is None:
                    continue
                cores = min(sku.cores, os.cpu_count() or 1)
                cpu = 100 * max(0.0, instance.usage.cpu_s - before.cpu_s) / _INTERVAL_S / cores
                memory = 100 * instance.usage.memory_bytes / (sku.memory_gb * 2**30)
                disk = shutil.disk_usage(self._root)
                row = (at_us, key, instance.id, cpu, memory, 100 * disk.used / disk.total, len(instances))
                self._telemetry.add("samples", row)
