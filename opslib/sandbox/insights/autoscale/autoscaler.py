"""Acts on autoscale settings: measures, decides, scales through the one state machine.

Its last action is stored with the setting, so that a cooldown outlives the process.
"""

import asyncio
import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints import quota
from opslib.sandbox.endpoints.lifecycle import SETTLED, Kind
from opslib.sandbox.insights.autoscale.rules import (
    STATISTICS,
    Decision,
    Rule,
    decide,
    present_profile,
    read_profiles,
)
from opslib.sandbox.insights.stored_rules import AUTOSCALE
from opslib.sandbox.telemetry.activity import record_scaling
from opslib.sandbox.telemetry.series import MINUTE, find_metric, latest_us, read_series

logger = logging.getLogger("opslib.sandbox.autoscale")


class Autoscaler:
    """Evaluates every enabled setting at a fixed interval."""

    def __init__(self, sandbox: Backend) -> None:
        self._sandbox = sandbox
        self._refused: dict[str, tuple[int, int]] = {}  # counts that quota refused, recorded once

    async def run(self) -> None:
        """Evaluate for ever."""
        while True:
            for key in [setting.key for setting in self._sandbox.store.all(AUTOSCALE)]:
                setting = self._sandbox.store.get(key)
                try:
                    if setting is not None:
                        await self._evaluate(setting)
                except Exception:
                    logger.exception("autoscale setting %s cannot be evaluated", key)
            await asyncio.sleep(self._sandbox.settings.autoscale_every_s)

    async def _evaluate(self, setting: Resource) -> None:
        store = self._sandbox.store
        target = store.get(setting.properties["targetResourceUri"])
        endpoint = store.get(ids.parent(target.id)) if target is not None else None
        setting = self._conclude(setting)
        if target is None or endpoint is None or not setting.properties["enabled"]:
            return
        if target.state not in SETTLED or endpoint.state not in SETTLED:
            return
        profile = present_profile(read_profiles(setting.properties), datetime.now(UTC))
        if profile is None:
            return
        capacity = int(target.body["sku"]["capacity"])
        measured = {rule: await self._measure(rule, capacity) for rule in profile.rules}
        rested_s = (now_us() - setting.internal.get("acted_us", 0)) / MICROSECONDS
        decision = decide(profile, capacity, measured, rested_s)
        unwritten = store.get(target.id) == target and store.get(setting.id) == setting
        if decision is not None and unwritten:
            self._act(setting, endpoint, target, decision)

    async def _measure(self, rule: Rule, capacity: int) -> float | None:
        resource = self._sandbox.store.get(rule.resource)
        if resource is None:
            return None
        end = latest_us(resource, self._sandbox)
        end -= end % MINUTE
        window = (end - round(rule.window_s * MICROSECONDS) // MINUTE * MINUTE, end, MINUTE)
        self._sandbox.telemetry.flush()
        metric, split = find_metric(resource, rule.metric), list(rule.dimensions)
        series = await asyncio.to_thread(read_series, self._sandbox, metric, resource, split, window)
        points: list[dict[str, Any]] = [point for _, found in series for point in found]
        field = STATISTICS[rule.statistic]
        values = [point.get(field, point["average"]) for point in points if "average" in point]
        return rule.measure(values, capacity)

    def _act(self, setting: Resource, endpoint: Resource, target: Resource, decision: Decision) -> None:
        store, counts = self._sandbox.store, (int(target.body["sku"]["capacity"]), decision.capacity)
        wanted = replace(target, body={**target.body, "sku": {**target.body["sku"], "capacity": decision.capacity}})
        way = "Scaleup" if counts[1] > counts[0] else "Scaledown"
        try:
            quota.check(store, self._sandbox.settings, endpoint, wanted)
        except ArmError as refusal:
            logger.warning("autoscale %s wants %d of %s: %s", setting.name, decision.capacity, target.id, refusal)
            if self._refused.get(setting.key) != counts:
                correlation = str(uuid.uuid4())
                record_scaling(
                    store, setting, counts=counts, operation=way, correlation=correlation, status="Failed"
                )
            self._refused[setting.key] = counts
            return
        self._refused.pop(setting.key, None)
        logger.info("autoscale %s sets %s to %d: %s", setting.name, target.id, decision.capacity, decision.why)
        with store.transaction():
            _, operation = self._sandbox.lifecycle.begin(Kind.SCALE, wanted)
            memory = {"acted_us": now_us(), "acting": operation.id, "counts": counts}
            setting = store.put(replace(setting, internal=setting.internal | memory))
            correlation = _guid(operation.id)
            record_scaling(
                store, setting, counts=counts, operation=way, correlation=correlation, status="Succeeded"
            )

    def _conclude(self, setting: Resource) -> Resource:
        """Record the result of the last scaling once it has ended, also if an earlier process began it."""
        acting = setting.internal.get("acting")
        operation = self._sandbox.store.get_operation(acting) if acting else None
        if operation is None or operation.ended_us is None:
            return setting
        before, after = setting.internal["counts"]
        way = "ScaleupResult" if after > before else "ScaledownResult"
        status = "Succeeded" if operation.status == "Succeeded" else "Failed"
        correlation = _guid(operation.id)
        kept = {name: value for name, value in setting.internal.items() if name == "acted_us"}
        with self._sandbox.store.transaction():
            record_scaling(
                self._sandbox.store,
                setting,
                counts=(before, after),
                operation=way,
                correlation=correlation,
                status=status,
            )
            return self._sandbox.store.put(replace(setting, internal=kept))


def _guid(operation_id: str) -> str:
    """Return the guid that stands for an operation in the activity log."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, operation_id))
