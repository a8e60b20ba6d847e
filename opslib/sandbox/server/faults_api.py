"""Handlers: the sandbox's own API for faults."""

import asyncio
import time

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import OWN, Auth, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.faults.model import FaultKind, read_scenario
from opslib.sandbox.faults.registry import STRIKES, Declared
from opslib.sandbox.instances.instance import Instance

_STRIKE_INTERVAL_S = 0.05


def list_faults(request: Request, sandbox: Backend) -> Response:
    """`GET /sandbox/faults`: every fault, the ended ones too, with the count of its hits."""
    del request
    return Response(200, {"value": [one.render() for one in sandbox.faults.listed()]})


def declare_faults(request: Request, sandbox: Backend) -> Response:
    """`POST /sandbox/faults`: one fault, or a scenario of several; if one of them is invalid, none begins."""
    declared = [sandbox.faults.declare(fault) for fault in read_scenario(request.json())]
    strike(declared, sandbox)
    return Response(201, {"value": [one.render() for one in declared]})


def clear_faults(request: Request, sandbox: Backend) -> Response:
    """`DELETE /sandbox/faults[/{name}]`: end one, or all."""
    name = request.parameters.get("name")
    ended = sandbox.faults.clear(name)
    if name is not None and not ended:
        raise ArmError.not_found("fault", name)
    return Response(200, {"value": [one.render() for one in ended]})


def strike(declared: list[Declared], sandbox: Backend) -> None:
    """Begin to hit instances with those faults that do."""
    for one in declared:
        if one.fault.kind in STRIKES and one.state != "ended":
            sandbox.fleet.spawn(_strike(one, sandbox))


async def _strike(declared: Declared, sandbox: Backend) -> None:
    """Hit instances, a fresh one each time, until the fault's count is reached or its time is over."""
    fault, struck = declared.fault, set[Instance]()
    await asyncio.sleep(max(0.0, declared.begins_s - time.monotonic()))
    while declared.state == "active":
        running = [(key, one) for key, found in sandbox.fleet.by_deployment().items() for one in found]
        for key, instance in running:
            if instance in struck or not instance.running() or declared.state != "active":
                continue
            endpoint, deployment = ids.name(ids.parent(key)), ids.name(key)
            if sandbox.faults.hit(fault.kind, "Instances", endpoint, deployment) is declared:
                struck.add(instance)
                if fault.kind is FaultKind.INSTANCE_HANG:
                    instance.freeze()
                elif fault.kind is FaultKind.INSTANCE_OOM:
                    _run_out_of_memory(key, instance, sandbox)
                else:
                    instance.kill()
        await asyncio.sleep(_STRIKE_INTERVAL_S)


def _run_out_of_memory(deployment: str, instance: Instance, sandbox: Backend) -> None:
    """Kill an instance as the kernel does where memory is short; what it used until then is recorded."""
    cpu, disk = 0.0, 0.0
    row = (now_us(), deployment, instance.id, cpu, 100.0, disk, len(sandbox.fleet.pool(deployment).instances))
    sandbox.telemetry.add("samples", row)
    instance.run_out_of_memory()


ROUTES = (
    Route("GET", "/sandbox/faults", "Sandbox_ListFaults", list_faults, Auth.ADMIN, known=OWN),
    Route("POST", "/sandbox/faults", "Sandbox_DeclareFaults", declare_faults, Auth.ADMIN, known=OWN),
    Route("DELETE", "/sandbox/faults", "Sandbox_ClearFaults", clear_faults, Auth.ADMIN, known=OWN),
    Route("DELETE", "/sandbox/faults/{name}", "Sandbox_ClearFault", clear_faults, Auth.ADMIN, known=OWN),
)
