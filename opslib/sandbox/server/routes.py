"""Every operation that the sandbox knows, in the order of the services' specifications."""

from opslib.sandbox.arm.routing import Route
from opslib.sandbox.endpoints import (
    assets,
    dependencies,
    deployments,
    endpoints,
    operations,
    packages,
    prices,
    providers,
    registries,
    subscriptions,
    workspace_keys,
    workspaces,
)
from opslib.sandbox.graph import api as graph_api
from opslib.sandbox.graph import lists as resource_lists
from opslib.sandbox.identity import authorization, entra, managed_identity, principals_api, roles_api
from opslib.sandbox.insights.alerts import api as alerts_api
from opslib.sandbox.insights.alerts import fired_api
from opslib.sandbox.insights.autoscale import api as autoscale_api
from opslib.sandbox.scoring import api as scoring_api
from opslib.sandbox.server import faults_api, instance_logs_api
from opslib.sandbox.storage import accounts, blobs, datastores
from opslib.sandbox.telemetry import (
    activity_api,
    diagnostics_api,
    logs_api,
    metrics_api,
    subscription_metrics_api,
)
from opslib.sandbox.templates import api as templates_api

ROUTES: tuple[Route, ...] = (
    # Microsoft.Resources, Microsoft.MachineLearningServices
    *subscriptions.ROUTES,
    *providers.ROUTES,
    *resource_lists.ROUTES,
    *templates_api.ROUTES,
    *workspaces.ROUTES,
    *workspace_keys.ROUTES,
    *operations.ROUTES,
    *packages.ROUTES,
    *assets.ROUTES,
    *registries.ROUTES,
    *datastores.ROUTES,
    *endpoints.ROUTES,
    *deployments.ROUTES,
    # Microsoft.ResourceGraph
    *graph_api.ROUTES,
    # Microsoft.Insights, Microsoft.AlertsManagement
    *subscription_metrics_api.ROUTES,
    *metrics_api.ROUTES,
    *diagnostics_api.ROUTES,
    *activity_api.ROUTES,
    *autoscale_api.ROUTES,
    *alerts_api.ROUTES,
    *fired_api.ROUTES,
    # Microsoft.Authorization, Microsoft.ManagedIdentity; the sandbox's own principals
    *authorization.ROUTES,
    *roles_api.ROUTES,
    *principals_api.ROUTES,
    # Microsoft.Storage
    *accounts.ROUTES,
    # Microsoft.OperationalInsights, the Log Analytics query API
    *logs_api.ROUTES,
    # Microsoft.KeyVault, Microsoft.ContainerRegistry and others that a workspace depends on
    *dependencies.ROUTES,
    # retail prices
    *prices.ROUTES,
    # cloud metadata, managed identity, Microsoft Entra ID
    *managed_identity.ROUTES,
    *entra.ROUTES,
    # the sandbox's own faults
    *faults_api.ROUTES,
    *instance_logs_api.ROUTES,
    # the data planes: blobs, scoring
    *blobs.ROUTES,
    *scoring_api.ROUTES,
)
