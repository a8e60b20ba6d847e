"""Changes of endpoints and deployments: one field, read back.

Every write reads the resource again first and raises on drift. Every write is idempotent: a resource that already
has the requested value is not written. Fields that opslib does not know are sent back as they were read.
"""

from collections.abc import Callable, Mapping
from time import monotonic

from opslib.azure.arm import Json, Progress
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import (
    API_VERSION,
    deployment_path,
    endpoint_path,
    read_arm,
    read_deployments,
    traffic_field,
)
from opslib.azure.mirror import require_own_mirror
from opslib.azure.resource import UNSTATED, instance_count, provisioning_state, writable
from opslib.azure.resource import tags as read_tags
from opslib.azure.waiting import Pending, await_end
from opslib.errors import ApplyError, Drift, OperationTimeout, UnexpectedAnswer
from opslib.model import Receipt, SetInstanceCount, SetTraffic, Traffic
from opslib.model.traffic import describe_traffic, normalize_traffic

READ_BACK_S = 60.0
"""Longest wait until reads show a traffic update, which is eventually consistent (azure-dev PR 3881) [seconds]."""

EditTags = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Returns an endpoint's tags after an edit; raises to prevent the write."""

TERMINAL_STATES = frozenset({"Succeeded", "Failed", "Canceled"})


def set_traffic(
    workspace: Workspace, step: SetTraffic, deadline_s: float, progress: Progress, tags: EditTags = dict
) -> Receipt:
    """Set live traffic and edit tags in one request, and read back until the traffic is visible.

    A mirror ends in a request before the one that moves live traffic: the service refuses both on one deployment.

    Raises
    ------
    Drift
        If the endpoint's traffic is neither the step's `before` nor its `after`: it was changed since it was read.
    """
    name, before, after = step.endpoint, step.before, step.after
    begun_s = monotonic()
    arm = settle(workspace, name, deadline_s, progress)
    seen, mirrored = (traffic_field(arm, field) for field in ("traffic", "mirrorTraffic"))
    mirror = mirrored if step.mirror is None else normalize_traffic(step.mirror)
    edited = dict(tags(read_tags(arm)))
    if (seen, mirrored, edited) == (normalize_traffic(after), mirror, read_tags(arm)):
        return Receipt.unchanged("PUT", endpoint_path(workspace, name))
    require_own_mirror(step, mirrored)
    if seen not in (normalize_traffic(before), normalize_traffic(after)):
        raise Drift(
            f"traffic of {name} is {describe_traffic(seen)}, expected {describe_traffic(before)}: it was changed "
            "after this run read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    if mirror != mirrored and seen != normalize_traffic(after):
        held = SetTraffic(name, seen, seen, mirror=dict.fromkeys(mirrored, 0) | mirror)
        set_traffic(workspace, held, deadline_s, progress)
        arm, mirrored = settle(workspace, name, deadline_s, progress), mirror
    body = writable(arm)
    body["properties"] |= {"traffic": normalize_traffic(after), "mirrorTraffic": mirror}
    body["tags"] = edited
    receipt = workspace.arm.write(
        "PUT",
        endpoint_path(workspace, name),
        API_VERSION,
        body=body,
        deadline_s=max(1.0, deadline_s - (monotonic() - begun_s)),
        progress=progress,
    )
    _read_back(workspace, name, (seen, mirrored), (normalize_traffic(after), mirror))
    return receipt


def edit_tags(workspace: Workspace, name: str, tags: EditTags, deadline_s: float, progress: Progress) -> Receipt:
    """Edit an endpoint's tags: by PATCH, which changes no other field, or by PUT if a tag is removed.

    It is not documented whether a PATCH removes the tags that it does not name.
    """
    arm = settle(workspace, name, deadline_s, progress)
    before = read_tags(arm)
    edited = dict(tags(before))
    if edited == before:
        return Receipt.unchanged("PATCH", endpoint_path(workspace, name))
    adds = edited.keys() >= before.keys()
    method, body = ("PATCH", {"tags": edited}) if adds else ("PUT", writable(arm) | {"tags": edited})
    return workspace.arm.write(
        method, endpoint_path(workspace, name), API_VERSION, body=body, deadline_s=deadline_s, progress=progress
    )


def scale(workspace: Workspace, step: SetInstanceCount, deadline_s: float, progress: Progress) -> Receipt:
    """Set a deployment's number of instances by PATCH of its sku, which changes no other field.

    Raises
    ------
    Drift
        If it is neither the step's `before` nor its `after`: a person or autoscale changed it since it was read.
    """
    path = deployment_path(workspace, step.endpoint, step.deployment)
    settle(workspace, step.endpoint, deadline_s, progress)
    arm = read_arm(workspace, path)
    seen = instance_count(arm, step.deployment)
    if seen == step.after:
        return Receipt.unchanged("PATCH", path)
    if seen != step.before:
        raise Drift(
            f"{step.deployment} has {seen} instances, expected {step.before}: it was changed after this run "
            "read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    body = {
        "sku": {key: value for key, value in arm["sku"].items() if value is not None} | {"capacity": step.after}
    }
    receipt = workspace.arm.write("PATCH", path, API_VERSION, body=body, deadline_s=deadline_s, progress=progress)
    seen = instance_count(read_arm(workspace, path), step.deployment)
    if seen != step.after:
        raise ApplyError(
            f"{step.deployment} has {seen} instances after scaling, expected {step.after}; an autoscale setting "
            "may have changed it"
        )
    return receipt


def delete_deployment(
    workspace: Workspace, name: str, deployment: str, deadline_s: float, progress: Progress
) -> Receipt:
    """Delete a deployment. The service rejects one that takes live traffic; an absent one is not an error."""
    path = deployment_path(workspace, name, deployment)
    return workspace.arm.write("DELETE", path, API_VERSION, deadline_s=deadline_s, progress=progress)


def settle(workspace: Workspace, name: str, deadline_s: float, progress: Progress) -> Json:
    """Wait until no operation runs on the endpoint or its deployments; return the endpoint's JSON.

    The service rejects a write during an operation ("... because it is in Updating provisioning state").
    """

    def read() -> Json | Pending:
        arm = read_arm(workspace, endpoint_path(workspace, name))
        states = {one["name"]: provisioning_state(one) for one in (arm, *read_deployments(workspace, name))}
        busy = {one: state for one, state in states.items() if state not in TERMINAL_STATES}
        if not busy:
            return arm
        state = ", ".join(f"{one} {state}" for one, state in busy.items())
        if UNSTATED in busy.values():
            raise UnexpectedAnswer(
                f"{name}: provisioningState is missing ({state}), expected one such as Succeeded. It is not known "
                "whether an operation runs; nothing was changed. Read the endpoint again; if it repeats, report it"
            )
        overdue = OperationTimeout(
            f"another operation on {name} did not end within {deadline_s:.0f} s ({state}). Nothing was "
            "changed. Wait for it to end, then run again"
        )
        return Pending(f"waiting for {state}", overdue)

    return await_end(read, deadline_s, progress)


def _read_back(
    workspace: Workspace, name: str, before: tuple[Traffic, Traffic], wanted: tuple[Traffic, Traffic]
) -> None:
    """Wait until live and mirrored traffic read as they were set.

    Raises
    ------
    Drift
        If they are neither as they were before nor as they were set: another change was made.
    ApplyError
        If they are as they were before: the update is not visible yet or was lost, and can be repeated.
    """

    def read() -> Pending | None:
        arm = read_arm(workspace, endpoint_path(workspace, name))
        seen = traffic_field(arm, "traffic"), traffic_field(arm, "mirrorTraffic")
        if seen == wanted:
            return None
        still = (
            f"traffic of {name} reads {describe_traffic(seen[0])} {READ_BACK_S:.0f} s after it was set to "
            f"{describe_traffic(wanted[0])}"
        )
        if seen == before:
            return Pending("", ApplyError(f"{still}, as before: the service is late or lost the update"))
        return Pending("", Drift(f"{still}: another change was made meanwhile"))

    await_end(read, READ_BACK_S, lambda _: None)
