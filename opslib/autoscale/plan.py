"""A change of autoscale settings as a plan: each setting as it is and as it shall be, and the way back. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opslib.autoscale.change import Json, moved_body, moved_name, replaced_body, writable_body
from opslib.autoscale.setting import API_VERSION, ScaleSetting, read_setting
from opslib.errors import PlanError
from opslib.model import Change, DeleteRule, Endpoint, Plan, RestoreRule, Rule, SetRule

Settings = Sequence[ScaleSetting]


def plan_set(endpoint: Endpoint, deployment: str, name: str, body: Json, present: Settings) -> Plan:
    """Plan one setting of a deployment; one that it has already is replaced, but for its tags and notifications.

    Parameters
    ----------
    name
        Name of the setting; empty: the one that the deployment has, else a new one's.

    Raises
    ------
    PlanError
        If the deployment does not exist, or has a setting of another name, of which Azure allows one.
    """
    _require(endpoint, deployment)
    own = _setting_of(present, deployment)
    if own is not None and name and own.name.lower() != name.lower():
        raise PlanError(
            f"{deployment} has the autoscale setting {own.name}; a deployment has at most one. "
            f"Name it to replace it: setting={own.name}"
        )
    made = own.name if own else name or f"autoscale-{endpoint.name}-{deployment}"
    before = writable_body(own.arm) if own else None
    return _plan(endpoint, [_set(endpoint, made, before, replaced_body(before, body) if before else body)])


def plan_move(endpoint: Endpoint, source: str, to: str, present: Settings) -> Plan:
    """Plan to give a deployment another one's setting: the new one is made before the old one is deleted.

    Raises
    ------
    PlanError
        If a deployment or the setting does not exist, or the target has a setting of its own.
    """
    _require(endpoint, to)
    moved, taken = _require_setting(present, source), _setting_of(present, to)
    if taken is not None:
        raise PlanError(
            f"{to} has the autoscale setting {taken.name} already: nothing is overwritten. Remove one of the two: "
            f"opslib autoscale remove {endpoint.name} --deployment {to}"
        )
    new_id = moved.target.rstrip("/").rsplit("/", 1)[0] + f"/{to}"
    made = _set(endpoint, moved_name(moved.name, source, to), None, moved_body(moved.arm, moved.target, new_id))
    return _plan(endpoint, [made, _delete(endpoint, moved)])


def plan_remove(endpoint: Endpoint, deployment: str, present: Settings) -> Plan:
    """Plan to delete a deployment's setting; the deployment keeps the instances that it has.

    Raises
    ------
    PlanError
        If it has none.
    """
    return _plan(endpoint, [_delete(endpoint, _require_setting(present, deployment))])


def plan_undo(endpoint: Endpoint, steps: Iterable[Mapping[str, Any]]) -> Plan:
    """Plan the undo that a run recorded.

    Raises
    ------
    PlanError
        If it holds no change of autoscale settings.
    """
    try:
        return _plan(endpoint, [read_step(step) for step in steps])
    except (KeyError, TypeError) as error:
        raise PlanError(f"the record's undo is no change of autoscale settings ({error!r})") from error


def read_step(stored: Mapping[str, Any]) -> Rule:
    """Read a step as a journal or a record holds it."""
    if "body" not in stored:
        return DeleteRule(**stored)
    return SetRule(**stored) if "before" in stored else RestoreRule(**stored)


def undo_of(step: Rule) -> Rule:
    """Return the step back."""
    where = (step.endpoint, step.rule, step.id, step.api_version)
    if isinstance(step, DeleteRule):
        return SetRule(*where, None, step.before or {})
    before = step.before if isinstance(step, SetRule) else None
    return DeleteRule(*where, step.body) if before is None else SetRule(*where, step.body, before)


def settings_after(present: Settings, steps: Iterable[Rule]) -> tuple[ScaleSetting, ...]:
    """Return the settings as they will be after a plan's steps."""
    found = {one.name.lower(): one for one in present}
    for step in steps:
        name = step.id.rpartition("/")[2]
        found.pop(name.lower(), None)
        if not isinstance(step, DeleteRule):
            found[name.lower()] = read_setting({**step.body, "name": name})
    return tuple(found.values())


def _plan(endpoint: Endpoint, steps: Sequence[Rule]) -> Plan:
    changes = [Change(step.rule, *(_shown(step, body) for body in _states(step))) for step in steps]
    undo = tuple(undo_of(step) for step in reversed(steps))
    return Plan(endpoint.name, endpoint, tuple(steps), undo, tuple(changes))


def _states(step: Rule) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return a setting's body before and after a step."""
    if isinstance(step, DeleteRule):
        return step.before, None
    return (step.before if isinstance(step, SetRule) else None), step.body


def _shown(step: Rule, body: Mapping[str, Any] | None) -> str:
    """Describe a setting in one line: its deployment, the range of each profile, and the rules."""
    if body is None:
        return "absent"
    setting = read_setting({**body, "name": step.id.rpartition("/")[2]})
    ranges = ", ".join(f"{one.minimum} to {one.maximum} ({one.when})" for one in setting.profiles)
    rules = "; ".join(dict.fromkeys(str(rule) for one in setting.profiles for rule in one.rules))
    return f"{setting.deployment}: {ranges} instances{f'; {rules}' if rules else ''}"


def _set(endpoint: Endpoint, name: str, before: Json | None, body: Json) -> SetRule:
    return SetRule(endpoint.name, f"autoscale setting {name}", _id(endpoint, name), API_VERSION, before, body)


def _delete(endpoint: Endpoint, setting: ScaleSetting) -> DeleteRule:
    where = (f"autoscale setting {setting.name}", _id(endpoint, setting.name), API_VERSION)
    return DeleteRule(endpoint.name, *where, writable_body(setting.arm))


def _id(endpoint: Endpoint, name: str) -> str:
    group = endpoint.id.rpartition("/providers/")[0]
    return f"{group}/providers/Microsoft.Insights/autoscaleSettings/{name}"


def _setting_of(present: Settings, deployment: str) -> ScaleSetting | None:
    return next((one for one in present if one.deployment.lower() == deployment.lower()), None)


def _require_setting(present: Settings, deployment: str) -> ScaleSetting:
    found = _setting_of(present, deployment)
    if found is None:
        known = ", ".join(one.deployment for one in present) or "none"
        raise PlanError(f"no autoscale setting targets {deployment or 'a deployment'}; those with one: {known}")
    return found


def _require(endpoint: Endpoint, deployment: str) -> None:
    if endpoint.find(deployment) is None:
        raise PlanError(
            f"deployment {deployment!r} does not exist; the endpoint has: {endpoint.deployment_names()}"
        )
