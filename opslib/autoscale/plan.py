"""A change of autoscale settings: its steps, its undo, and the file that keeps both."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from opslib.autoscale.change import Json, moved_body, moved_name, writable_body
from opslib.autoscale.setting import ScaleSetting
from opslib.errors import PlanError, RecordError
from opslib.model import Endpoint


@dataclass(frozen=True)
class AutoscaleStep:
    """One setting as it is and as it shall be; None where there is none. Bodies are as a PUT sends them."""

    name: str
    before: Json | None
    after: Json | None

    @property
    def undo(self) -> "AutoscaleStep":
        """The step back."""
        return AutoscaleStep(self.name, self.after, self.before)

    def __str__(self) -> str:
        """What it does, in one line."""
        shown: Mapping[str, Any] = self.after or self.before or {"properties": {}}
        target = str(shown["properties"].get("targetResourceUri", "")).rstrip("/").rsplit("/", 1)[-1]
        verb = "delete" if self.after is None else "create" if self.before is None else "replace"
        return f"{verb} autoscale setting {self.name} of {target}"


@dataclass(frozen=True)
class AutoscalePlan:
    """Steps in their order; the undo is the steps back in the reverse order."""

    endpoint: str
    steps: tuple[AutoscaleStep, ...]

    @property
    def undo(self) -> "AutoscalePlan":
        """The plan back."""
        return AutoscalePlan(self.endpoint, tuple(step.undo for step in reversed(self.steps)))


def plan_create(
    endpoint: Endpoint, deployment: str, name: str, body: Json, present: tuple[ScaleSetting, ...]
) -> AutoscalePlan:
    """Plan one setting of a deployment; one that it has already is replaced only by its own name.

    Raises
    ------
    PlanError
        If the deployment does not exist, or has a setting of another name, of which Azure allows one.
    """
    _require(endpoint, deployment)
    own = next((one for one in present if one.deployment.lower() == deployment.lower()), None)
    if own is not None and own.name.lower() != name.lower():
        raise PlanError(
            f"{deployment} has the autoscale setting {own.name}; a deployment has at most one. "
            f"Pass --setting {own.name} to replace it"
        )
    before = writable_body(own.arm) if own else None
    return AutoscalePlan(endpoint.name, (AutoscaleStep(own.name if own else name, before, body),))


def plan_move(endpoint: Endpoint, source: str, to: str, present: tuple[ScaleSetting, ...]) -> AutoscalePlan:
    """Plan to give a deployment another one's setting: the new one is made before the old one is deleted.

    Raises
    ------
    PlanError
        If a deployment or the setting does not exist, or the target has a setting of its own.
    """
    _require(endpoint, to)
    by_deployment = {one.deployment.lower(): one for one in present}
    moved, taken = by_deployment.get(source.lower()), by_deployment.get(to.lower())
    if moved is None:
        known = ", ".join(one.deployment for one in present) or "none"
        raise PlanError(f"no autoscale setting targets {source}; those with one: {known}")
    if taken is not None:
        raise PlanError(
            f"{to} has the autoscale setting {taken.name} already: nothing is overwritten. Delete one of the two: "
            f"az monitor autoscale delete --name {taken.name}"
        )
    new_id = moved.target.rstrip("/").rsplit("/", 1)[0] + f"/{to}"
    body = moved_body(moved.arm, moved.target, new_id)
    return AutoscalePlan(
        endpoint.name,
        (
            AutoscaleStep(moved_name(moved.name, source, to), None, body),
            AutoscaleStep(moved.name, writable_body(moved.arm), None),
        ),
    )


def as_json(plan: AutoscalePlan, **about: Any) -> str:
    """Return the file of a change: what it is about, its steps with both states, and the undo."""
    undo = [asdict(step) for step in plan.undo.steps]
    content = {"endpoint": plan.endpoint, **about, "steps": [asdict(step) for step in plan.steps], "undo": undo}
    return json.dumps(content, indent=2, default=str) + "\n"


def read_undo(text: str, path: str) -> AutoscalePlan:
    """Read the undo from the file of a change.

    Raises
    ------
    RecordError
        If it is no such file, or a secret in a setting was masked in it.
    """
    try:
        content = json.loads(text)
        steps = tuple(AutoscaleStep(one["name"], one["before"], one["after"]) for one in content["undo"])
        plan = AutoscalePlan(str(content["endpoint"]), steps)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not the file of a change of autoscale settings ({error})") from error
    if content.get("masked"):
        raise RecordError(
            f"{path}: a setting holds a secret, such as in a webhook's address, which is masked in this file. "
            "Put the setting back by hand; the file has the rest of it"
        )
    return plan


def _require(endpoint: Endpoint, deployment: str) -> None:
    if endpoint.find(deployment) is None:
        raise PlanError(
            f"deployment {deployment!r} does not exist; the endpoint has: {endpoint.deployment_names()}"
        )
