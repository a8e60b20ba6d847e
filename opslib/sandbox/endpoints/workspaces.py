"""Handlers: workspaces, and what a region offers - VM sizes, usage, quota.

Every workspace exists, unless it was deleted: any subscription, group and name are served.
"""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import OPERATOR, TENANT_ID
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page, system_data
from opslib.sandbox.arm.routing import GROUP, LOCATION, MACHINE_LEARNING, RECORDED, SUBSCRIPTION, WORKSPACE, Route
from opslib.sandbox.core import ids, skus
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import LIMITS
from opslib.sandbox.endpoints import prices, quota
from opslib.sandbox.endpoints.subscriptions import DELETED, known_workspaces
from opslib.sandbox.endpoints.subscriptions import WORKSPACES as KIND


def get_workspace(request: Request, sandbox: Backend) -> Response:
    """`GET W`: 404 for one that was deleted."""
    workspace = ids.workspace_id(request.parameters)
    require(workspace, sandbox)
    return Response(200, render(workspace, sandbox))


def list_workspaces(request: Request, sandbox: Backend) -> Response:
    """`GET .../workspaces` of a group or a subscription: those in use, created, and the one in config.json."""
    prefix = ids.key(request.path.split("/providers/", 1)[0]) + "/"
    chosen = [one for one in known_workspaces(sandbox) if ids.key(one).startswith(prefix)]
    return page(request, [render(one, sandbox) for one in chosen], "$top")


def put_workspace(request: Request, sandbox: Backend) -> Response:
    """`PUT W`: its location, tags and properties; it succeeds at once."""
    workspace, body = ids.workspace_id(request.parameters), request.json()
    before = sandbox.store.get(workspace)
    kept = {
        "location": str(body.get("location") or sandbox.settings.location).lower().replace(" ", ""),
        "tags": body.get("tags") or {},
        "systemData": system_data(request, before),
        "properties": body.get("properties") or {},
    }
    stored = Resource(workspace, KIND, kept) if before is None else replace(before, body=kept)
    sandbox.store.delete(_deleted(workspace))
    return Response(201 if before is None else 200, render(sandbox.store.put(stored).id, sandbox))


def patch_workspace(request: Request, sandbox: Backend) -> Response:
    """`PATCH W`: the tags and properties that are sent, the rest as it was."""
    workspace, body = ids.workspace_id(request.parameters), request.json()
    require(workspace, sandbox)
    before = sandbox.store.get(workspace)
    kept: dict[str, Any] = {"location": sandbox.settings.location, "tags": {}, "properties": {}}
    kept |= before.body if before is not None else {"systemData": system_data(request, None)}
    tags = body["tags"] if body.get("tags") is not None else kept["tags"]
    sent = {name: value for name, value in (body.get("properties") or {}).items() if value is not None}
    kept |= {"tags": tags, "properties": {**kept["properties"], **sent}}
    stored = Resource(workspace, KIND, kept) if before is None else replace(before, body=kept)
    return Response(200, render(sandbox.store.put(stored).id, sandbox))


async def delete_workspace(request: Request, sandbox: Backend) -> Response:
    """`DELETE W`: with its endpoints and assets; 204 when it is deleted already."""
    workspace = ids.workspace_id(request.parameters)
    if sandbox.store.get(_deleted(workspace)) is not None:
        return Response(204)
    endpoints = sandbox.store.children(workspace, "onlineEndpoints")
    deployments = [one for endpoint in endpoints for one in sandbox.store.children(endpoint.id, "deployments")]
    await asyncio.gather(*(sandbox.fleet.drop(one.id, drain=False) for one in deployments))
    with sandbox.store.transaction():
        sandbox.store.delete(workspace)
        sandbox.store.put(Resource(_deleted(workspace), DELETED, {"properties": {}}))
    return Response(200)


def _deleted(workspace: str) -> str:
    """Return the id under which a deletion is kept: every workspace that was not deleted exists."""
    return workspace.replace("/workspaces/", "/deletedWorkspaces/")


def require(workspace: str, sandbox: Backend) -> None:
    """Refuse what concerns a workspace that was deleted."""
    if sandbox.store.get(_deleted(workspace)) is not None:
        raise ArmError.not_found("workspace", ids.name(workspace))


def list_vm_sizes(request: Request, sandbox: Backend) -> Response:
    """`GET .../locations/{location}/vmSizes`."""
    del request, sandbox
    return Response(200, {"value": [_size(sku) for sku in skus.SKUS.values()]})


def list_usages(request: Request, sandbox: Backend) -> Response:
    """`GET .../locations/{location}/usages`: clusters, cores in all and per VM family, of online deployments."""
    subscription, location = request.parameters["subscription"], request.parameters["location"]
    families = skus.families()
    used = {one: quota.cores_in_use(sandbox.store, subscription, location, one) for one in families}
    limit = sandbox.settings.quota_cores
    deployments = quota.deployments_in(sandbox.store, subscription, location)
    scope = f"/subscriptions/{subscription}"
    totals = [
        _usage(
            scope, "totalClusters", ("totalClusters", "Total Clusters"), deployments, LIMITS.deployments_per_region
        ),
        _usage(
            scope,
            "totalDedicatedCores",
            ("totalDedicatedCores", "Total Cluster Dedicated Regional vCPUs"),
            sum(used.values()),
            limit * len(families),
        ),
    ]
    rows = [
        _usage(f"{scope}/usages/{one}", "vmFamily/dedicatedCores", (one, skus.described(one)), used[one], limit)
        for one in families
    ]
    return Response(200, {"value": totals + rows})


def list_quotas(request: Request, sandbox: Backend) -> Response:
    """`GET .../locations/{location}/quotas`."""
    subscription, location = request.parameters["subscription"], request.parameters["location"]
    rows = [
        {
            "id": f"/subscriptions/{subscription}/providers/{ids.PROVIDER}/locations/{location}/quotas/{family}",
            "amlWorkspaceLocation": location,
            "type": f"{ids.PROVIDER}/vmFamily/dedicatedCores/quotas",
            "unit": "Count",
            "limit": sandbox.settings.quota_cores,
            "name": {"value": family, "localizedValue": skus.described(family)},
        }
        for family in skus.families()
    ]
    return Response(200, {"value": rows})


def _usage(usage_id: str, kind: str, name: tuple[str, str], used: int, limit: int) -> dict[str, Any]:
    return {
        "id": usage_id,
        "type": f"{ids.PROVIDER}/{kind}/usages",
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name[0], "localizedValue": name[1]},
    }


def _size(sku: skus.Sku) -> dict[str, Any]:
    return {
        "name": sku.name,
        "family": sku.family,
        "vCPUs": sku.cores,
        "gpus": sku.gpus,
        "osVhdSizeMB": 1047552,
        "maxResourceVolumeMB": 16384,
        "memoryGB": sku.memory_gb,
        "lowPriorityCapable": True,
        "premiumIO": True,
        "estimatedVMPrices": {
            "billingCurrency": "USD",
            "unitOfMeasure": "OneHour",
            "values": prices.estimated(sku),
        },
        "supportedComputeTypes": ["AmlCompute"],
    }


def workspace_guid(workspace: str) -> str:
    """Return the GUID that Azure ML gives a workspace."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, ids.key(workspace)))


def render(workspace: str, sandbox: Backend) -> dict[str, Any]:
    """Return a workspace as ARM shows it: what was put, on top of what every workspace has."""
    providers = f"{workspace.split('/providers/', maxsplit=1)[0]}/providers"
    stored = sandbox.store.get(workspace)
    put: dict[str, Any] = {"location": sandbox.settings.location, "tags": {}} if stored is None else stored.body
    return {
        "id": workspace,
        "name": ids.name(workspace),
        "type": f"{ids.PROVIDER}/workspaces",
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": {"type": "SystemAssigned", "principalId": OPERATOR.object_id, "tenantId": TENANT_ID},
        **put,
        "properties": {
            "friendlyName": ids.name(workspace),
            "description": "served by the opslib sandbox",
            "publicNetworkAccess": "Enabled",
            "managedNetwork": {"isolationMode": "Disabled"},
            "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/sandbox",
            "containerRegistry": f"{providers}/Microsoft.ContainerRegistry/registries/sandbox",
            "keyVault": f"{providers}/Microsoft.Keyvault/vaults/sandbox",
            "applicationInsights": f"{providers}/Microsoft.insights/components/sandbox",
            **put.get("properties", {}),
            "workspaceId": workspace_guid(workspace),
            "provisioningState": "Succeeded",
        },
    }


ROUTES = (
    Route("GET", GROUP + MACHINE_LEARNING + "/workspaces", "Workspaces_ListByResourceGroup", list_workspaces),
    Route("GET", SUBSCRIPTION + MACHINE_LEARNING + "/workspaces", "Workspaces_ListBySubscription", list_workspaces),
    Route("GET", WORKSPACE, "Workspaces_Get", get_workspace),
    Route("PUT", WORKSPACE, "Workspaces_CreateOrUpdate", put_workspace),
    Route("PATCH", WORKSPACE, "Workspaces_Update", patch_workspace),
    Route("DELETE", WORKSPACE, "Workspaces_Delete", delete_workspace),
    Route("GET", LOCATION + "/usages", "Usages_List", list_usages, known=RECORDED),
    Route("GET", LOCATION + "/vmSizes", "VirtualMachineSizes_List", list_vm_sizes),
    Route("GET", LOCATION + "/quotas", "Quotas_List", list_quotas),
    Route("POST", LOCATION + "/updateQuotas", "Quotas_Update", None),
)
