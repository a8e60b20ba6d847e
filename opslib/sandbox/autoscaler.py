"""Acts on autoscale settings: measures, decides, scales through the same state machine as everybody."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

from . import ids, quota
from .arm_errors import ArmError
from .autoscale_rules import STATISTICS, Decision, Rule, decide, read_profiles
from .clock import MICROSECONDS
from .context import Sandbox
from .insights import AUTOSCALE
from .lifecycle import SETTLED, Kind
from .metrics import MINUTE, find_metric, latest_us, read_series
from .store import Resource

logger = logging.getLogger("opslib.sandbox.autoscale")


class Autoscaler:
    """Evaluates every enabled setting at a steady pace."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._acted_s: dict[str, float] = {}

    async def run(self) -> None:
        """Evaluate for ever."""
        while True:
            for setting in self._sandbox.store.all(AUTOSCALE):
                try:
                    await self._evaluate(setting)
                except Exception:
                    logger.exception("autoscale setting %s cannot be evaluated", setting.id)
            await asyncio.sleep(self._sandbox.settings.autoscale_every_s)

    async def _evaluate(self, setting: Resource) -> None:
        store = self._sandbox.store
        target = store.get(setting.properties["targetResourceUri"])
        endpoint = store.get(ids.parent(target.id)) if target is not None else None
        if target is None or endpoint is None or not setting.properties["enabled"]:
            return
        if target.state not in SETTLED or endpoint.state not in SETTLED:
            return
        profile = read_profiles(setting.properties)[0]
        measured = {rule: await self._measure(rule) for rule in profile.rules}
        rested_s = time.monotonic() - self._acted_s.get(setting.key, float("-inf"))
        decision = decide(profile, int(target.body["sku"]["capacity"]), measured, rested_s)
        if decision is not None and store.get(target.id) == target:  # nobody wrote it meanwhile
            self._act(setting, endpoint, target, decision)

    async def _measure(self, rule: Rule) -> float | None:
        resource = self._sandbox.store.get(rule.resource)
        if resource is None:
            return None
        end = latest_us(resource, self._sandbox)
        end -= end % MINUTE
        window = (end - round(rule.window_s * MICROSECONDS) // MINUTE * MINUTE, end, MINUTE)
        self._sandbox.telemetry.flush()
        metric = find_metric(resource, rule.metric)
        series = await asyncio.to_thread(read_series, self._sandbox, metric, resource, [], window)
        points: list[dict[str, Any]] = series[0][1] if series else []
        field = STATISTICS[rule.statistic]
        return rule.measure([point.get(field, point["average"]) for point in points if "average" in point])

    def _act(self, setting: Resource, endpoint: Resource, target: Resource, decision: Decision) -> None:
        sku = {**target.body["sku"], "capacity": decision.capacity}
        wanted = replace(target, body={**target.body, "sku": sku})
        try:
            quota.check(self._sandbox.store, self._sandbox.settings, endpoint, wanted)
        except ArmError as refusal:
            logger.warning("autoscale %s wants %d of %s: %s", setting.name, decision.capacity, target.id, refusal)
            return
        self._acted_s[setting.key] = time.monotonic()
        logger.info("autoscale %s sets %s to %d: %s", setting.name, target.id, decision.capacity, decision.why)
        self._sandbox.lifecycle.begin(Kind.SCALE, wanted)
