"""Evaluates metric alerts on the measured metrics; raises alerts and resolves them.

The state of each series is stored with its rule, so that an alert outlives the process.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import KEEP_ALERTS
from opslib.sandbox.insights.alerts.rules import AlertRule, Criterion, Standing, judge, read_alert
from opslib.sandbox.insights.stored_rules import ALERTS
from opslib.sandbox.telemetry.activity import record_alert
from opslib.sandbox.telemetry.series import MINUTE, find_metric, latest_us, read_series

logger = logging.getLogger("opslib.sandbox.alerts")
FIRED = "alerts"
_TICK_S = 1.0
_FIELDS = {"Average": "average", "Minimum": "minimum", "Maximum": "maximum"}

Labels = tuple[tuple[str, str], ...]  # values of the dimensions that a series is of
Values = dict[Criterion, float | None]
Window = tuple[int, int, int]


class Alerter:
    """Evaluates every enabled rule when its time has come."""

    def __init__(self, sandbox: Backend) -> None:
        self._sandbox = sandbox
        self._due_s: dict[tuple[str, str], float] = {}  # by rule and its last change: a changed rule is due at once

    async def run(self) -> None:
        """Evaluate for ever."""
        pace_s = self._sandbox.settings.alerts_every_s
        while True:
            rules = {
                (one.key, one.properties.get("lastUpdatedTime", "")): one for one in self._sandbox.store.all(ALERTS)
            }
            self._due_s = {key: self._due_s.get(key, 0.0) for key in rules}
            for key, resource in rules.items():
                if self._due_s[key] > time.monotonic():
                    continue
                try:
                    rule = read_alert(resource.properties)
                    self._due_s[key] = time.monotonic() + (pace_s or rule.frequency_s)
                    await self._evaluate(resource, rule)
                except Exception:
                    logger.exception("metric alert %s cannot be evaluated", resource.id)
            await asyncio.sleep(pace_s or _TICK_S)

    async def _evaluate(self, resource: Resource, rule: AlertRule) -> None:
        store = self._sandbox.store
        target = store.get(rule.scope)
        if target is None or not rule.enabled:
            return
        end = latest_us(target, self._sandbox)
        end -= end % MINUTE
        span = round(rule.window_s) * MICROSECONDS
        series = await self._series(rule, target, (end - span, end, span))
        if store.get(resource.id) != resource:  # it was written meanwhile: it is due again
            return
        before, after = read_status(resource), {}
        names = (
            {name for one in rule.criteria for name, _, _ in one.dimensions} if len(rule.criteria) == 1 else set()
        )
        with store.transaction():
            for labels in before.keys() | series.keys():
                if {name.lower() for name, _ in labels} != {name.lower() for name in names}:  # of an older rule
                    self._resolve(resource, rule, target, before[labels][1])
                    continue
                standing, alert = before.get(labels, (Standing(), ""))
                values = series.get(labels, {})
                now = standing.next(judge(rule, values), rule, time.time())
                if now.fired_s > standing.fired_s:
                    alert = self._raise(resource, rule, target, labels, values, (end - span, end))
                elif standing.fired and not now.fired and rule.stateful:
                    self._resolve(resource, rule, target, alert)
                after[labels] = (now, alert)
            store.put(_with_status(resource, after))

    async def _series(self, rule: AlertRule, target: Resource, window: Window) -> dict[Labels, Values]:
        """Return the value of each criterion over the window; with one criterion, of each of its series."""
        self._sandbox.telemetry.flush()
        found: dict[Labels, Values] = {}
        for criterion in rule.criteria:
            metric, split = find_metric(target, criterion.metric), list(criterion.dimensions)
            series = await asyncio.to_thread(read_series, self._sandbox, metric, target, split, window)
            for labels, points in series:
                key = tuple(labels.items()) if len(rule.criteria) == 1 else ()
                value = points[0].get(_FIELDS[criterion.aggregation]) if points else None
                found.setdefault(key, {})[criterion] = value
        return found

    def _raise(
        self,
        resource: Resource,
        rule: AlertRule,
        target: Resource,
        labels: Labels,
        values: Values,
        span: tuple[int, int],
    ) -> str:
        """Store a fired alert, within the retention, and record it in the activity log; return its name."""
        store, name = self._sandbox.store, str(uuid.uuid4())
        for old in store.all(FIRED)[: -KEEP_ALERTS + 1]:
            store.delete(old.id)
        properties = {
            "essentials": _essentials(resource, rule, target),
            "context": _context(rule, labels, values, span),
        }
        address = (
            f"/subscriptions/{ids.subscription(target.id)}/providers/Microsoft.AlertsManagement/{FIRED}/{name}"
        )
        store.put(Resource(address, FIRED, {"rule": resource.name, "properties": properties}))
        logger.info("metric alert %s fired for %s %s", resource.name, target.id, dict(labels))
        self._tell(resource, rule, target, name, "Fired")
        return name

    def _resolve(self, resource: Resource, rule: AlertRule, target: Resource, name: str) -> None:
        """Resolve the alert of this name, unless it is resolved."""
        store, now = self._sandbox.store, iso(now_us())
        alert = next((one for one in store.all(FIRED) if one.name == name), None)
        if alert is None or alert.properties["essentials"]["monitorCondition"] == "Resolved":
            return
        changes = {
            "monitorCondition": "Resolved",
            "monitorConditionResolvedDateTime": now,
            "lastModifiedDateTime": now,
            "lastModifiedUserName": "System",
        }
        store.put(alert.with_properties(essentials=alert.properties["essentials"] | changes))
        logger.info("metric alert %s resolved for %s", resource.name, target.id)
        self._tell(resource, rule, target, name, "Resolved")

    def _tell(self, resource: Resource, rule: AlertRule, target: Resource, name: str, condition: str) -> None:
        first = rule.criteria[0]
        said = (
            f"'{first.metric} {first.operator} {first.threshold:g} in the last {rule.window_s / 60:g} minutes' "
            f"has been {'activated' if condition == 'Fired' else 'resolved'} for {target.name}"
        )
        properties = {
            "RuleUri": resource.id,
            "RuleName": resource.name,
            "RuleDescription": rule.description,
            "Threshold": f"{first.threshold:g}",
            "WindowSizeInMinutes": f"{rule.window_s / 60:g}",
            "Aggregation": first.aggregation,
            "Operator": first.operator,
            "MetricName": first.metric,
            "MetricUnit": find_metric(target, first.metric).unit,
        }
        store = self._sandbox.store
        record_alert(
            store, target.id, condition=condition, description=said, correlation=name, properties=properties
        )


def read_status(rule: Resource) -> dict[Labels, tuple[Standing, str]]:
    """Return the state of each series of a rule at its last evaluation, and the name of its last alert."""
    rows = rule.internal.get("status", [])
    return {
        tuple((name, value) for name, value in row["labels"]): (Standing(**row["standing"]), row["alert"])
        for row in rows
    }


def _with_status(rule: Resource, status: Mapping[Labels, tuple[Standing, str]]) -> Resource:
    rows = [
        {"labels": list(labels), "standing": asdict(standing), "alert": alert}
        for labels, (standing, alert) in status.items()
    ]
    return replace(rule, internal=rule.internal | {"status": rows, "checked_us": now_us()})


def _essentials(resource: Resource, rule: AlertRule, target: Resource) -> dict[str, Any]:
    """Shape: azure-rest-api-specs, alertsmanagement stable/2019-03-01/examples/Alerts_List.json."""
    now = iso(now_us())
    return {
        "severity": f"Sev{rule.severity}",
        "signalType": "Metric",
        "alertState": "New",
        "monitorCondition": "Fired",
        "monitorService": "Platform",
        "targetResource": target.key,
        "targetResourceName": target.name,
        "targetResourceGroup": target.id.split("/")[4],
        "targetResourceType": ids.resource_type(target.id).lower(),
        "sourceCreatedId": str(uuid.uuid5(uuid.NAMESPACE_URL, resource.key)),
        "alertRule": resource.id,
        "startDateTime": now,
        "lastModifiedDateTime": now,
        "lastModifiedUserName": "System",
        "actionStatus": {"isSuppressed": False},
        "description": rule.description,
    }


def _context(rule: AlertRule, labels: Labels, values: Values, span: tuple[int, int]) -> dict[str, Any]:
    """Shape: Microsoft Learn, "Common alert schema", platform metric alerts with a static threshold."""
    rows = [
        {
            "metricName": one.metric,
            "operator": one.operator,
            "threshold": f"{one.threshold:g}",
            "timeAggregation": one.aggregation,
            "dimensions": [{"name": name, "value": value} for name, value in labels],
            "metricValue": values[one],
        }
        for one in rule.criteria
    ]
    condition = {"windowSize": f"PT{rule.window_s / 60:g}M", "allOf": rows}
    times = {"windowStartTime": iso(span[0]), "windowEndTime": iso(span[1])}
    return {"conditionType": rule.criteria_type.rsplit(".", 1)[-1], "condition": condition | times}
