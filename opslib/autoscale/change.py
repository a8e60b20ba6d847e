"""Bodies of autoscale settings: made from bounds and rules, or moved from one deployment to another.

Source: Microsoft Learn, "Autoscale online endpoints in Azure Machine Learning", and "Autoscale with multiple
profiles": a recurring profile has no end, so that each schedule has a second profile which begins when it ends.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from opslib.errors import ParameterError

Json = dict[str, Any]

DEFAULT_NAME = "default"
_WRITABLE = ("location", "tags", "properties")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SCHEDULE = re.compile(
    r"(?P<name>[\w-]+)=(?P<days>[A-Za-z,]+)@"
    r"(?P<start>([01]\d|2[0-3]):[0-5]\d)-(?P<end>([01]\d|2[0-3]):[0-5]\d)/(?P<low>\d+)-(?P<high>\d+)"
)


@dataclass(frozen=True)
class Bounds:
    """Fewest, most and default number of instances [count]."""

    minimum: int
    maximum: int
    default: int


@dataclass(frozen=True)
class RulePair:
    """A rule that scales out and one that scales in, on one metric.

    Attributes
    ----------
    metric
        A metric of the deployment, or RequestLatency of the endpoint.
    above, below
        Thresholds of the rule that adds instances, and of the one that removes them [unit of the metric].
    step
        Instances that one action adds or removes [count].
    window_min, cooldown_min
        Time that is averaged, and rest after an action [minutes].
    """

    metric: str
    above: float
    below: float
    step: int = 1
    window_min: int = 5
    cooldown_min: int = 5


@dataclass(frozen=True)
class Schedule:
    """Other bounds on some days of the week, between two times of the day, in a time zone by Windows' names."""

    name: str
    days: tuple[str, ...]
    start: str
    end: str
    bounds: Bounds
    time_zone: str = "UTC"


def read_schedule(text: str, time_zone: str) -> Schedule:
    """Read a schedule such as ``workday=Mon,Tue,Wed,Thu,Fri@08:00-18:00/4-10``.

    Raises
    ------
    ParameterError
        If it has another form.
    """
    found = _SCHEDULE.fullmatch(text)
    days = [_day(part) for part in found["days"].split(",")] if found else []
    if found is None or "" in days or found["start"] >= found["end"]:
        raise ParameterError(
            f"schedule: expected NAME=DAYS@HH:MM-HH:MM/MIN-MAX, start before end on the same day, such as "
            f"workday=Mon,Tue,Wed,Thu,Fri@08:00-18:00/4-10; got {text!r}"
        )
    low, high = int(found["low"]), int(found["high"])
    return Schedule(found["name"], tuple(days), found["start"], found["end"], Bounds(low, high, low), time_zone)


def _day(text: str) -> str:
    """Return the day that a text of three letters or more begins; empty for any other text."""
    return next((day for day in _DAYS if len(text) >= 3 and day.lower().startswith(text.lower())), "")


def make_body(
    location: str, deployment_id: str, bounds: Bounds, pairs: Sequence[RulePair], schedules: Sequence[Schedule] = ()
) -> Json:
    """Return the body of a setting: one profile that holds otherwise, and two for each schedule.

    Raises
    ------
    ParameterError
        If two schedules overlap: at the end of one of them the usual bounds would hold.
    """
    _require_apart(schedules)
    rules = [rule for pair in pairs for rule in _rules(pair, deployment_id)]
    usual = {"name": DEFAULT_NAME, "capacity": _capacity(bounds), "rules": rules}
    profiles = [usual]
    for one in schedules:
        capacity, ended = _capacity(one.bounds), json.dumps({"name": DEFAULT_NAME, "for": one.name})
        profiles.append(
            {"name": one.name, "capacity": capacity, "rules": rules, "recurrence": _from(one, one.start, one.days)}
        )
        followed = {day for other in schedules if other.start == one.end for day in other.days}
        if days := [day for day in one.days if day not in followed]:
            profiles.append({**usual, "name": ended, "recurrence": _from(one, one.end, days)})
    properties = {"enabled": True, "targetResourceUri": deployment_id, "profiles": profiles}
    return {"location": location, "properties": properties}


def replaced_body(before: Json, body: Json) -> Json:
    """Return the body that replaces a setting's, with the tags and notifications that it has."""
    tags = {"tags": before["tags"]} if "tags" in before else {}
    notifications = before["properties"].get("notifications")
    properties = body["properties"] | ({"notifications": notifications} if notifications else {})
    return {**body, **tags, "properties": properties}


def moved_body(arm: Mapping[str, Any], old_id: str, new_id: str) -> Json:
    """Return a setting's body with another deployment as its target, and as what its rules measure.

    Rules on the endpoint stay as they are, but for a dimension that names the deployment.
    """
    body = writable_body(arm)
    properties = body["properties"]
    properties["targetResourceUri"] = new_id
    old_name, new_name = (one.rstrip("/").rsplit("/", 1)[-1] for one in (old_id, new_id))
    for profile in properties.get("profiles") or []:
        for rule in profile.get("rules") or []:
            trigger = rule["metricTrigger"]
            if str(trigger.get("metricResourceUri") or "").strip("/").lower() == old_id.strip("/").lower():
                trigger["metricResourceUri"] = new_id
            for dimension in trigger.get("dimensions") or []:
                values = dimension.get("Values") or []
                dimension["Values"] = [new_name if one.lower() == old_name.lower() else one for one in values]
    return body


def writable_body(arm: Mapping[str, Any]) -> Json:
    """Return a copy of what a PUT sends; Azure names the setting by its path."""
    body = {name: copy.deepcopy(arm[name]) for name in _WRITABLE if arm.get(name) is not None}
    body["properties"].pop("name", None)
    return body


def moved_name(name: str, old: str, new: str) -> str:
    """Return the name of a moved setting: the old deployment's name in it is replaced, else the new one added.

    Examples
    --------
    >>> moved_name("scale-blue", "blue", "green"), moved_name("scale", "blue", "green")
    ('scale-green', 'scale-green')
    """
    return (
        re.sub(re.escape(old), new, name, flags=re.IGNORECASE) if old.lower() in name.lower() else f"{name}-{new}"
    )


def _capacity(bounds: Bounds) -> Json:
    return {"minimum": str(bounds.minimum), "maximum": str(bounds.maximum), "default": str(bounds.default)}


def _require_apart(schedules: Sequence[Schedule]) -> None:
    for one, other in combinations(schedules, 2):
        shared = [day for day in one.days if day in other.days]
        if shared and one.start < other.end and other.start < one.end:
            raise ParameterError(
                f"schedules {one.name} and {other.name} overlap on {shared[0]}: Azure returns to the usual bounds "
                "where the first of them ends. Write schedules that follow each other"
            )


def _from(schedule: Schedule, time: str, days: Sequence[str]) -> Json:
    hours, minutes = (int(part) for part in time.split(":"))
    fields = {"timeZone": schedule.time_zone, "days": list(days), "hours": [hours], "minutes": [minutes]}
    return {"frequency": "Week", "schedule": fields}


def _rules(pair: RulePair, deployment_id: str) -> list[Json]:
    of_endpoint = pair.metric == "RequestLatency"
    resource = deployment_id.rsplit("/deployments/", 1)[0] if of_endpoint else deployment_id
    name = deployment_id.rsplit("/", 1)[-1]
    split = [{"DimensionName": "deployment", "Operator": "Equals", "Values": [name]}] if of_endpoint else None
    trigger = {
        "metricName": pair.metric,
        "metricResourceUri": resource,
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": f"PT{pair.window_min}M",
        "timeAggregation": "Average",
        **({"dimensions": split} if split else {}),
    }
    action = {"type": "ChangeCount", "value": str(pair.step), "cooldown": f"PT{pair.cooldown_min}M"}
    out = {**trigger, "operator": "GreaterThan", "threshold": pair.above}
    inward = {**trigger, "operator": "LessThan", "threshold": pair.below}
    return [
        {"metricTrigger": out, "scaleAction": {"direction": "Increase", **action}},
        {"metricTrigger": inward, "scaleAction": {"direction": "Decrease", **action}},
    ]
