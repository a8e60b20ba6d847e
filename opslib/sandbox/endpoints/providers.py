"""Handlers: resource providers, all of them registered, and the regions of a subscription."""

from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import SUBSCRIPTION, Route
from opslib.sandbox.core.context import Backend

_VERSIONS = {
    "Microsoft.Authorization": ("2022-04-01", ("permissions", "roleAssignments", "roleDefinitions")),
    "Microsoft.ContainerRegistry": ("2023-07-01", ("registries",)),
    "Microsoft.Insights": ("2022-10-01", ("autoscaleSettings", "components", "diagnosticSettings", "metricAlerts")),
    "Microsoft.KeyVault": ("2023-07-01", ("vaults",)),
    "Microsoft.MachineLearningServices": (
        "2024-10-01",
        ("registries", "workspaces", "workspaces/onlineEndpoints", "workspaces/onlineEndpoints/deployments"),
    ),
    "Microsoft.ManagedIdentity": ("2023-01-31", ("userAssignedIdentities",)),
    "Microsoft.OperationalInsights": ("2023-09-01", ("workspaces",)),
    "Microsoft.ResourceGraph": ("2022-10-01", ("resources",)),
    "Microsoft.Resources": ("2024-03-01", ("deployments", "resourceGroups", "subscriptions")),
    "Microsoft.Storage": ("2023-05-01", ("storageAccounts",)),
}
"""A recent api-version and the resource types that the sandbox serves, by namespace."""
_REGIONS = {
    "eastus": "East US",
    "eastus2": "East US 2",
    "northeurope": "North Europe",
    "uksouth": "UK South",
    "westeurope": "West Europe",
    "westus2": "West US 2",
}


def list_providers(request: Request, sandbox: Backend) -> Response:
    """`GET SUB/providers`: those that the sandbox serves."""
    return page(request, [_provider(name, request, sandbox) for name in _VERSIONS], "$top")


def get_provider(request: Request, sandbox: Backend) -> Response:
    """`GET SUB/providers/{namespace}`; POST `.../register` answers the same: each one is registered."""
    wanted = request.parameters["namespace"]
    name = next((one for one in _VERSIONS if one.lower() == wanted.lower()), None)
    if name is None:
        raise ArmError(
            404,
            "InvalidResourceNamespace",
            f"The resource namespace '{wanted}' is invalid, or the sandbox lacks it.",
        )
    return Response(200, _provider(name, request, sandbox))


def list_locations(request: Request, sandbox: Backend) -> Response:
    """`GET SUB/locations`: the sandbox's own and some that are widely used."""
    scope = f"/subscriptions/{request.parameters['subscription']}/locations"
    rows = [
        {
            "id": f"{scope}/{name}",
            "name": name,
            "type": "Region",
            "displayName": title,
            "regionalDisplayName": title,
        }
        for name, title in _regions(sandbox).items()
    ]
    return Response(200, {"value": rows})


def _regions(sandbox: Backend) -> dict[str, str]:
    """Return the regions' titles by their names, the sandbox's own first."""
    own = sandbox.settings.location
    return {own: _REGIONS.get(own, own), **_REGIONS}


def _provider(name: str, request: Request, sandbox: Backend) -> dict[str, Any]:
    version, types = _VERSIONS[name]
    locations = list(_regions(sandbox).values())
    return {
        "id": f"/subscriptions/{request.parameters['subscription']}/providers/{name}",
        "namespace": name,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": "Registered",
        "resourceTypes": [
            {"resourceType": one, "locations": locations, "apiVersions": [version], "capabilities": "None"}
            for one in types
        ],
    }


ROUTES = (
    Route("GET", SUBSCRIPTION + "/locations", "Subscriptions_ListLocations", list_locations),
    Route("GET", SUBSCRIPTION + "/providers", "Providers_List", list_providers),
    Route("GET", SUBSCRIPTION + "/providers/{namespace}", "Providers_Get", get_provider),
    Route("POST", SUBSCRIPTION + "/providers/{namespace}/register", "Providers_Register", get_provider),
)
