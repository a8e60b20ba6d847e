"""A step of a plan for people: in words, and as the `az` command that does the same. Pure."""

import json
import shlex
from typing import Any

from opslib.model import (
    CreateDeployment,
    DeleteDeployment,
    DeleteRule,
    RestoreRule,
    Scope,
    SendProbes,
    SetInstanceCount,
    SetRule,
    SetTraffic,
    Step,
)
from opslib.model.traffic import describe_traffic


def describe_step(step: Step) -> str:  # noqa: PLR0911 - one for each kind
    """Describe a step for people."""
    match step:
        case SetTraffic():
            bake = f", baked for {step.bake_s:g} s" if step.bake_s else ""
            if step.mirrored:
                return f"mirror {describe_traffic(step.mirrored)} percent of live traffic{bake}"
            ends = "end the mirror, then " if step.mirror else ""
            return f"{ends}traffic {describe_traffic(step.before)} -> {describe_traffic(step.after)}{bake}"
        case CreateDeployment():
            return f"create deployment {step.deployment} at zero traffic"
        case DeleteDeployment():
            return f"delete deployment {step.deployment}"
        case DeleteRule():
            return f"delete {step.rule}"
        case RestoreRule():
            return f"create {step.rule} as it was"
        case SetRule():
            return f"{'create' if step.before is None else 'replace'} {step.rule}"
        case SetInstanceCount():
            return f"instances of {step.deployment} {step.before} -> {step.after}"
        case SendProbes():
            target = f"{step.deployment} directly" if step.deployment else "the endpoint"
            return f"send {step.requests} requests to {target} and check the answers"


def az_command(step: Step, scope: Scope) -> str:  # noqa: PLR0911 - one for each kind
    """Return the command for the same step by hand. Source: reference of the `az ml` extension, version 2."""
    where = f"--resource-group {scope.resource_group} --workspace-name {scope.workspace_name}"
    match step:
        case SetTraffic():
            return _az_traffic(step, where)
        case CreateDeployment():
            name = f"--name {step.deployment} --endpoint-name {step.endpoint}"
            changes = "".join(f" --set {shlex.quote(f'{k}={_written(v)}')}" for k, v in step.replacements.items())
            return f"az ml online-deployment create --file {shlex.quote(step.definition)} {name}{changes} {where}"
        case DeleteDeployment():
            name = f"--name {step.deployment} --endpoint-name {step.endpoint}"
            return f"az ml online-deployment delete {name} --yes {where}"
        case DeleteRule():
            return f"az resource delete --ids {shlex.quote(step.id)}"
        case RestoreRule() | SetRule():
            url, body = f"{step.id}?api-version={step.api_version}", json.dumps(step.body)
            return f"az rest --method put --url {shlex.quote(url)} --body {shlex.quote(body)}"
        case SetInstanceCount():
            name = f"--name {step.deployment} --endpoint-name {step.endpoint}"
            return f"az ml online-deployment update {name} --set instance_count={step.after} {where}"
        case SendProbes():
            forced = f" --deployment-name {step.deployment}" if step.deployment else ""
            return (
                f"az ml online-endpoint invoke --name {step.endpoint}{forced} --request-file request.json {where}"
            )


def _az_traffic(step: SetTraffic, where: str) -> str:
    """Return one command, or two: the mirror ends before its deployment takes live traffic."""
    update = f"az ml online-endpoint update --name {step.endpoint}"
    commands = []
    if step.mirror:
        mirror = " ".join(f"{name}={weight}" for name, weight in step.mirror.items())
        commands.append(f'{update} --mirror-traffic "{mirror}" {where}')
    if not step.mirrored:
        weights = " ".join(f"{n}={w}" for n, w in (dict.fromkeys(step.before, 0) | dict(step.after)).items())
        commands.append(f'{update} --traffic "{weights}" {where}')
    return " && ".join(commands)


def _written(value: Any) -> str:
    """Return a value as `az --set` takes it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
