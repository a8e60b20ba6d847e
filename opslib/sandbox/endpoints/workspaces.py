"""Handlers: workspaces, and what a region offers - VM sizes, usage, quota.

Every workspace exists: any subscription, group and name are served.
"""

import uuid
from typing import Any

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import OPERATOR, TENANT_ID
from opslib.sandbox.arm.routing import GROUP, LOCATION, MACHINE_LEARNING, SUBSCRIPTION, WORKSPACE, Route
from opslib.sandbox.core import ids, skus
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.endpoints import prices, quota


def get_workspace(request: Request, sandbox: Sandbox) -> Response:
    """`GET W`."""
    return Response(200, _workspace(ids.workspace_id(request.parameters), sandbox.settings.location))


def list_workspaces(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../workspaces` of a group or a subscription: those in use, and the one in config.json."""
    settings = sandbox.settings
    home = {
        "subscription": settings.subscription_id,
        "group": settings.resource_group,
        "workspace": settings.workspace_name,
    }
    found = {ids.key(ids.workspace_id(home)): ids.workspace_id(home)}
    for endpoint in sandbox.store.all("onlineEndpoints"):
        found.setdefault(ids.key(ids.parent(endpoint.id)), ids.parent(endpoint.id))
    prefix = ids.key(request.path.split("/providers/", 1)[0]) + "/"
    chosen = [value for key, value in found.items() if key.startswith(prefix)]
    return Response(200, {"value": [_workspace(value, settings.location) for value in chosen]})


def list_subscriptions(request: Request, sandbox: Sandbox) -> Response:
    """`GET /subscriptions`: the one in config.json; any other is served too."""
    del request
    return Response(200, {"value": [_subscription(sandbox.settings.subscription_id)]})


def list_tenants(request: Request, sandbox: Sandbox) -> Response:
    """`GET /tenants`: the only one."""
    del request, sandbox
    tenant = {"id": f"/tenants/{TENANT_ID}", "tenantId": TENANT_ID, "displayName": "sandbox"}
    return Response(200, {"value": [tenant]})


def get_subscription(request: Request, sandbox: Sandbox) -> Response:
    """`GET /subscriptions/{subscription}`: every subscription exists."""
    del sandbox
    return Response(200, _subscription(request.parameters["subscription"]))


def list_groups(request: Request, sandbox: Sandbox) -> Response:
    """`GET /subscriptions/{subscription}/resourceGroups`: the one in config.json; any other is served too."""
    return Response(
        200, {"value": [_group(request.parameters["subscription"], sandbox.settings.resource_group, sandbox)]}
    )


def check_group(request: Request, sandbox: Sandbox) -> Response:
    """`HEAD .../resourceGroups/{group}`: it exists."""
    del request, sandbox
    return Response(204)


def get_group(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../resourceGroups/{group}`: every resource group exists."""
    return Response(200, _group(request.parameters["subscription"], request.parameters["group"], sandbox))


def list_vm_sizes(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../locations/{location}/vmSizes`."""
    del request, sandbox
    return Response(200, {"value": [_size(sku) for sku in skus.SKUS.values()]})


def list_usages(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../locations/{location}/usages`: cores per VM family, in use by online deployments."""
    rows = [_usage(request, sandbox, family) for family in skus.families()]
    return Response(200, {"value": rows})


def list_quotas(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../locations/{location}/quotas`."""
    rows = [
        {key: row[key] for key in ("id", "amlWorkspaceLocation", "type", "unit", "limit", "name")}
        for row in (_usage(request, sandbox, family) for family in skus.families())
    ]
    return Response(200, {"value": rows})


def _group(subscription: str, name: str, sandbox: Sandbox) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription}/resourceGroups/{name}",
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": sandbox.settings.location,
        "properties": {"provisioningState": "Succeeded"},
    }


def _subscription(name: str) -> dict[str, Any]:
    state = {"id": f"/subscriptions/{name}", "subscriptionId": name, "displayName": "sandbox", "state": "Enabled"}
    return {**state, "tenantId": TENANT_ID, "homeTenantId": TENANT_ID, "managedByTenants": []}


def _usage(request: Request, sandbox: Sandbox, family: str) -> dict[str, Any]:
    subscription, location = request.parameters["subscription"], request.parameters["location"]
    used = quota.cores_in_use(sandbox.store, subscription, location, family)
    return {
        "id": f"/subscriptions/{subscription}/providers/{ids.PROVIDER}/locations/{location}/usages/{family}",
        "amlWorkspaceLocation": location,
        "type": f"{ids.PROVIDER}/usages",
        "unit": "Count",
        "currentValue": used,
        "limit": sandbox.settings.quota_cores,
        "name": {"value": family, "localizedValue": family},
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


def _workspace(workspace: str, location: str) -> dict[str, Any]:
    providers = f"{workspace.split('/providers/', maxsplit=1)[0]}/providers"
    return {
        "id": workspace,
        "name": ids.name(workspace),
        "type": f"{ids.PROVIDER}/workspaces",
        "location": location,
        "tags": {},
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": {"type": "SystemAssigned", "principalId": OPERATOR.object_id, "tenantId": TENANT_ID},
        "properties": {
            "friendlyName": ids.name(workspace),
            "description": "served by the opslib sandbox",
            "workspaceId": str(uuid.uuid5(uuid.NAMESPACE_URL, ids.key(workspace))),
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
            "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/sandbox",
            "containerRegistry": f"{providers}/Microsoft.ContainerRegistry/registries/sandbox",
            "keyVault": f"{providers}/Microsoft.Keyvault/vaults/sandbox",
            "applicationInsights": f"{providers}/Microsoft.insights/components/sandbox",
        },
    }


ROUTES = (
    Route("GET", "/tenants", "Tenants_List", list_tenants),
    Route("GET", "/subscriptions", "Subscriptions_List", list_subscriptions),
    Route("GET", SUBSCRIPTION, "Subscriptions_Get", get_subscription),
    Route("GET", SUBSCRIPTION + "/locations", "Subscriptions_ListLocations", None),
    Route("GET", SUBSCRIPTION + "/resourceGroups", "ResourceGroups_List", list_groups),
    Route("HEAD", GROUP, "ResourceGroups_CheckExistence", check_group),
    Route("GET", GROUP, "ResourceGroups_Get", get_group),
    Route("PUT", GROUP, "ResourceGroups_CreateOrUpdate", None),
    Route("DELETE", GROUP, "ResourceGroups_Delete", None),
    Route("GET", SUBSCRIPTION + "/resources", "Resources_List", None),
    Route("GET", GROUP + "/resources", "Resources_ListByResourceGroup", None),
    Route("GET", SUBSCRIPTION + "/providers", "Providers_List", None),
    Route("GET", SUBSCRIPTION + "/providers/{namespace}", "Providers_Get", None),
    Route("GET", GROUP + MACHINE_LEARNING + "/workspaces", "Workspaces_ListByResourceGroup", list_workspaces),
    Route("GET", SUBSCRIPTION + MACHINE_LEARNING + "/workspaces", "Workspaces_ListBySubscription", list_workspaces),
    Route("GET", WORKSPACE, "Workspaces_Get", get_workspace),
    Route("PUT", WORKSPACE, "Workspaces_CreateOrUpdate", None),
    Route("PATCH", WORKSPACE, "Workspaces_Update", None),
    Route("DELETE", WORKSPACE, "Workspaces_Delete", None),
    Route("GET", LOCATION + "/usages", "Usages_List", list_usages),
    Route("GET", LOCATION + "/vmSizes", "VirtualMachineSizes_List", list_vm_sizes),
    Route("GET", LOCATION + "/quotas", "Quotas_List", list_quotas),
    Route("POST", LOCATION + "/updateQuotas", "Quotas_Update", None),
)
