"""The runbook, or where there is none the `az` command, that returns a resource to what it should be. Pure."""

import shlex
from collections.abc import Iterator

from opslib.drift.autoscale import TARGET
from opslib.drift.compare import AUTOSCALE, DEPLOYMENT, ResourceChange
from opslib.drift.fields import Settings
from opslib.model import ResourceName

_TRAFFIC = "properties.traffic."


def fixes(change: ResourceChange) -> Iterator[str]:
    """Yield the commands for one resource, in order; none where it has not drifted."""
    if not change.drifted:
        return
    if change.kind == AUTOSCALE:
        yield _autoscale_fix(change)
    elif change.kind == DEPLOYMENT:
        yield from _deployment_fixes(change)
    else:
        yield from _endpoint_fixes(change)


def _autoscale_fix(change: ResourceChange) -> str:
    """Set the range that should be, or remove the setting; the rules are the runbook's other parameters."""
    wanted = change.after or {}
    known = wanted or change.before or {}
    name = ResourceName.of(str(known[TARGET].shown))
    where = f"{name.endpoint} --deployment {name.deployment}"
    if not wanted:
        return f"opslib autoscale remove {where}"
    low = min(value.compared for path, value in wanted.items() if path.endswith(".minimum"))
    high = max(value.compared for path, value in wanted.items() if path.endswith(".maximum"))
    return f"opslib autoscale set {where} --min {low} --max {high} # with its metric, thresholds and schedules"


def _deployment_fixes(change: ResourceChange) -> Iterator[str]:
    name = ResourceName.of(change.id)
    where = f"-p endpoint={name.endpoint}"
    if change.actions == ("delete",):
        both = f"--name {name.deployment} --endpoint-name {name.endpoint}"
        yield f"az ml online-deployment delete {both} {_where(change)} # or add its definition"
        return
    definition = shlex.quote(change.source or f"{name.deployment}.yml")
    if change.actions == ("create",):
        yield f"opslib run deploy {where} -p deployment={name.deployment} -p definition={definition}"
        return
    paths = {field.path for field in change.fields}
    if "sku.capacity" in paths:
        count = next(field.after for field in change.fields if field.path == "sku.capacity") or 1
        yield f"opslib run scale {where} -p deployment={name.deployment} -p instances={count}"
    if tags := {path for path in paths if path.startswith("tags.")}:
        values = " ".join(_set(field.path, field.after) for field in change.fields if field.path in tags)
        yield (
            f"az ml online-deployment update --name {name.deployment} --endpoint-name {name.endpoint} {values} "
            f"{_where(change)}"
        )
    if paths - tags - {"sku.capacity"}:
        fresh = f"{name.deployment[:29].rstrip('-')}-2"
        yield f"opslib run deploy {where} -p definition={definition} -p set='[name={fresh}]'"
        yield f"opslib run canary {where} -p canary={fresh}"


def _endpoint_fixes(change: ResourceChange) -> Iterator[str]:
    name = ResourceName.of(change.id)
    if change.actions == ("delete",):
        yield f"az ml online-endpoint delete --name {name.endpoint} {_where(change)} # or add its definition"
        return
    file = f" --file {shlex.quote(change.source)}" if change.source else ""
    if change.actions == ("create",):
        yield f"az ml online-endpoint create --name {name.endpoint}{file} {_where(change)}"
        return
    if change.actions == ("delete", "create"):
        yield f"# {', '.join(one.path for one in change.fields)}: cannot be changed in place, make another endpoint"
        return
    if any(field.path.startswith(_TRAFFIC) for field in change.fields):
        yield _traffic_fix(name, change.after or {}, _where(change))
    rest = [field for field in change.fields if not field.path.startswith(_TRAFFIC)]
    if rest and file:
        yield f"az ml online-endpoint update --name {name.endpoint}{file} {_where(change)}"
    elif rest:
        values = " ".join(_set(field.path, field.after) for field in rest)
        yield f"az ml online-endpoint update --name {name.endpoint} {values} {_where(change)}"


def _traffic_fix(name: ResourceName, wanted: Settings, where: str) -> str:
    """Return all traffic to one deployment by a rollback; a split has no runbook that would end there."""
    weights = {
        path.removeprefix(_TRAFFIC): int(one.shown) for path, one in wanted.items() if path.startswith(_TRAFFIC)
    }
    if list(weights.values()) == [100]:
        return f"opslib run rollback -p endpoint={name.endpoint} -p to={next(iter(weights))}"
    text = " ".join(f"{deployment}={weight}" for deployment, weight in weights.items())
    return f'az ml online-endpoint update --name {name.endpoint} --traffic "{text}" {where}'


def _set(path: str, value: object) -> str:
    """Write one field as `az ... --set` takes it; a field that should be absent is removed."""
    short = path.removeprefix("properties.")
    return f"--remove {shlex.quote(short)}" if value is None else f"--set {shlex.quote(f'{short}={value}')}"


def _where(change: ResourceChange) -> str:
    name = ResourceName.of(change.id)
    return f"--workspace-name {name.workspace} --resource-group {name.group} --subscription {name.subscription}"
