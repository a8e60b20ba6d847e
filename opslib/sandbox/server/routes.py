"""Every operation that the sandbox knows, in the order of the services' specifications, and nothing else.

`{name}` is one segment, `{name*}` any number of them; literal segments match in any case, as in ARM. An
operation's group (the word before `_`) says through which door it is reached: see `server`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.core import azure_hosts
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.endpoints import assets, deployments, endpoints, operations, prices, workspaces
from opslib.sandbox.identity import authorization, entra, managed_identity, principals_api, roles_api
from opslib.sandbox.insights.alerts import api as alerts_api
from opslib.sandbox.insights.alerts import fired_api
from opslib.sandbox.insights.autoscale import api as autoscale_api
from opslib.sandbox.scoring.gateway import score
from opslib.sandbox.server import faults_api
from opslib.sandbox.storage import accounts, blobs, datastores
from opslib.sandbox.telemetry import activity_api
from opslib.sandbox.telemetry.logs_api import get_log_workspace, query_resource, query_workspace
from opslib.sandbox.telemetry.metrics_api import list_definitions, list_metrics, list_namespaces

Handler = Callable[[Request, Sandbox], Response | Awaitable[Response]]

SUB = "/subscriptions/{subscription}"
GROUP = SUB + "/resourceGroups/{group}"
ML = "/providers/Microsoft.MachineLearningServices"
W = GROUP + ML + "/workspaces/{workspace}"
EP = W + "/onlineEndpoints/{endpoint}"
DEP = EP + "/deployments/{deployment}"
LOC = SUB + ML + "/locations/{location}"
ASSET = W + "/{kind:codes|environments|models|data}"
ROLES = "/providers/Microsoft.Authorization/roleDefinitions"
GRANTS = "/providers/Microsoft.Authorization/roleAssignments"
IDENTITY = GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
INSIGHTS = "/providers/Microsoft.Insights"
FIRED = "/providers/Microsoft.AlertsManagement/alerts"
ACCOUNTS = "/providers/Microsoft.Storage/storageAccounts"
ACCOUNT = GROUP + ACCOUNTS + "/{account}"
CONTAINER = ACCOUNT + "/blobServices/default/containers/{container}"
BLOB = "/blob/{account}/{container}"
STORE = f"/blob.blob.{azure_hosts.SANDBOX_STORAGE_SUFFIX}/{{container}}"


@dataclass(frozen=True)
class Route:
    """One operation; without a handler it is known and not built."""

    method: str
    template: str
    operation: str
    handler: Handler | None


ROUTES = (
    Route("GET", "/tenants", "Tenants_List", workspaces.list_tenants),
    Route("GET", "/subscriptions", "Subscriptions_List", workspaces.list_subscriptions),
    Route("GET", SUB, "Subscriptions_Get", workspaces.get_subscription),
    Route("GET", SUB + "/locations", "Subscriptions_ListLocations", None),
    Route("GET", SUB + "/resourceGroups", "ResourceGroups_List", workspaces.list_groups),
    Route("HEAD", GROUP, "ResourceGroups_CheckExistence", workspaces.check_group),
    Route("GET", GROUP, "ResourceGroups_Get", workspaces.get_group),
    Route("PUT", GROUP, "ResourceGroups_CreateOrUpdate", None),
    Route("DELETE", GROUP, "ResourceGroups_Delete", None),
    Route("GET", SUB + "/resources", "Resources_List", None),
    Route("GET", GROUP + "/resources", "Resources_ListByResourceGroup", None),
    Route("GET", SUB + "/providers", "Providers_List", None),
    Route("GET", SUB + "/providers/{namespace}", "Providers_Get", None),
    Route("GET", GROUP + ML + "/workspaces", "Workspaces_ListByResourceGroup", workspaces.list_workspaces),
    Route("GET", SUB + ML + "/workspaces", "Workspaces_ListBySubscription", workspaces.list_workspaces),
    Route("GET", W, "Workspaces_Get", workspaces.get_workspace),
    Route("PUT", W, "Workspaces_CreateOrUpdate", None),
    Route("PATCH", W, "Workspaces_Update", None),
    Route("DELETE", W, "Workspaces_Delete", None),
    Route("GET", LOC + "/usages", "Usages_List", workspaces.list_usages),
    Route("GET", LOC + "/vmSizes", "VirtualMachineSizes_List", workspaces.list_vm_sizes),
    Route("GET", LOC + "/quotas", "Quotas_List", workspaces.list_quotas),
    Route("POST", LOC + "/updateQuotas", "Quotas_Update", None),
    Route("GET", LOC + "/mfeOperationsStatus/{operation}", "Operations_GetStatus", operations.get_status),
    Route("GET", LOC + "/mfeOperationResults/{operation}", "Operations_GetResult", operations.get_result),
    Route("GET", ASSET, "Assets_ListContainers", assets.list_containers),
    Route("GET", ASSET + "/{name}", "Assets_GetContainer", assets.get_container),
    Route("PUT", ASSET + "/{name}", "Assets_PutContainer", assets.put_container),
    Route("GET", ASSET + "/{name}/versions", "Assets_ListVersions", assets.list_versions),
    Route("GET", ASSET + "/{name}/versions/{version}", "Assets_GetVersion", assets.get_version),
    Route("PUT", ASSET + "/{name}/versions/{version}", "Assets_PutVersion", assets.put_version),
    Route("DELETE", ASSET + "/{name}/versions/{version}", "Assets_DeleteVersion", assets.delete_version),
    Route(
        "POST",
        ASSET + "/{name}/versions/{version}/startPendingUpload",
        "Assets_StartPendingUpload",
        assets.start_pending_upload,
    ),
    Route("GET", W + "/datastores", "Datastores_List", datastores.list_datastores),
    Route("GET", W + "/datastores/{name}", "Datastores_Get", datastores.get_datastore),
    Route("PUT", W + "/datastores/{name}", "Datastores_CreateOrUpdate", None),
    Route("POST", W + "/datastores/{name}/listSecrets", "Datastores_ListSecrets", datastores.list_secrets),
    Route("GET", W + "/onlineEndpoints", "OnlineEndpoints_List", endpoints.list_endpoints),
    Route("GET", EP, "OnlineEndpoints_Get", endpoints.get_endpoint),
    Route("PUT", EP, "OnlineEndpoints_CreateOrUpdate", endpoints.put_endpoint),
    Route("PATCH", EP, "OnlineEndpoints_Update", endpoints.patch_endpoint),
    Route("DELETE", EP, "OnlineEndpoints_Delete", endpoints.delete_endpoint),
    Route("POST", EP + "/listKeys", "OnlineEndpoints_ListKeys", endpoints.list_keys),
    Route("POST", EP + "/regenerateKeys", "OnlineEndpoints_RegenerateKeys", endpoints.regenerate_keys),
    Route("POST", EP + "/token", "OnlineEndpoints_GetToken", endpoints.get_token),
    Route("GET", EP + "/deployments", "OnlineDeployments_List", deployments.list_deployments),
    Route("GET", DEP, "OnlineDeployments_Get", deployments.get_deployment),
    Route("PUT", DEP, "OnlineDeployments_CreateOrUpdate", deployments.put_deployment),
    Route("PATCH", DEP, "OnlineDeployments_Update", deployments.patch_deployment),
    Route("DELETE", DEP, "OnlineDeployments_Delete", deployments.delete_deployment),
    Route("POST", DEP + "/getLogs", "OnlineDeployments_GetLogs", deployments.get_logs),
    Route("GET", DEP + "/skus", "OnlineDeployments_ListSkus", deployments.list_skus),
    # Microsoft.Insights
    Route("GET", "/{scope*}" + INSIGHTS + "/metrics", "Metrics_List", list_metrics),
    Route("GET", "/{scope*}" + INSIGHTS + "/metricDefinitions", "MetricDefinitions_List", list_definitions),
    Route("GET", "/{scope*}" + INSIGHTS + "/metricNamespaces", "MetricNamespaces_List", list_namespaces),
    Route(
        "GET", "/{scope*}" + INSIGHTS + "/diagnosticSettings", "DiagnosticSettings_List", activity_api.list_settings
    ),
    Route(
        "GET",
        "/{scope*}" + INSIGHTS + "/diagnosticSettings/{name}",
        "DiagnosticSettings_Get",
        activity_api.get_setting,
    ),
    Route(
        "PUT",
        "/{scope*}" + INSIGHTS + "/diagnosticSettings/{name}",
        "DiagnosticSettings_Put",
        activity_api.put_setting,
    ),
    Route(
        "DELETE",
        "/{scope*}" + INSIGHTS + "/diagnosticSettings/{name}",
        "DiagnosticSettings_Delete",
        activity_api.delete_setting,
    ),
    Route("GET", SUB + INSIGHTS + "/eventtypes/management/values", "ActivityLogs_List", activity_api.list_activity),
    *(
        Route(method, base + INSIGHTS + path, f"{group}_{word}", handler)
        for group, path, listing, getting, putting, deleting in (
            (
                "AutoscaleSettings",
                "/autoscaleSettings",
                autoscale_api.list_autoscale,
                autoscale_api.get_autoscale,
                autoscale_api.put_autoscale,
                autoscale_api.delete_autoscale,
            ),
            (
                "MetricAlerts",
                "/metricAlerts",
                alerts_api.list_alerts,
                alerts_api.get_alert,
                alerts_api.put_alert,
                alerts_api.delete_alert,
            ),
        )
        for method, base, path, word, handler in (
            ("GET", GROUP, path, "ListByResourceGroup", listing),
            ("GET", SUB, path, "ListBySubscription", listing),
            ("GET", GROUP, path + "/{name}", "Get", getting),
            ("PUT", GROUP, path + "/{name}", "CreateOrUpdate", putting),
            ("DELETE", GROUP, path + "/{name}", "Delete", deleting),
        )
    ),
    Route(
        "PATCH",
        GROUP + INSIGHTS + "/autoscaleSettings/{name}",
        "AutoscaleSettings_Update",
        autoscale_api.patch_autoscale,
    ),
    Route("PATCH", GROUP + INSIGHTS + "/metricAlerts/{name}", "MetricAlerts_Update", alerts_api.patch_alert),
    Route(
        "GET",
        GROUP + INSIGHTS + "/metricAlerts/{name}/status",
        "MetricAlertsStatus_List",
        fired_api.list_statuses,
    ),
    Route(
        "GET",
        GROUP + INSIGHTS + "/metricAlerts/{name}/status/{status}",
        "MetricAlertsStatus_ListByName",
        fired_api.list_statuses,
    ),
    # Microsoft.AlertsManagement
    Route("GET", "/{scope*}" + FIRED, "Alerts_GetAll", fired_api.list_alerts),
    Route("GET", "/{scope*}" + FIRED + "/{alert}", "Alerts_GetById", fired_api.get_alert),
    Route("GET", "/{scope*}" + FIRED + "/{alert}/history", "Alerts_GetHistory", None),
    Route("POST", "/{scope*}" + FIRED + "/{alert}/changestate", "Alerts_ChangeState", fired_api.change_state),
    Route("GET", "/{scope*}/providers/Microsoft.AlertsManagement/alertsSummary", "Alerts_GetSummary", None),
    Route(
        "GET",
        GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{name}",
        "LogWorkspaces_Get",
        get_log_workspace,
    ),
    # Microsoft.Authorization
    Route(
        "GET",
        "/{scope*}/providers/Microsoft.Authorization/permissions",
        "Permissions_List",
        authorization.permissions,
    ),
    Route("GET", "/{scope*}/providers/Microsoft.Authorization/locks", "Locks_List", authorization.locks),
    Route("GET", ROLES, "RoleDefinitions_List", roles_api.list_definitions),
    Route("GET", ROLES + "/{name}", "RoleDefinitions_Get", roles_api.get_definition),
    Route("GET", "/{scope*}" + ROLES, "RoleDefinitions_List", roles_api.list_definitions),
    Route("GET", "/{scope*}" + ROLES + "/{name}", "RoleDefinitions_Get", roles_api.get_definition),
    Route("PUT", "/{scope*}" + ROLES + "/{name}", "RoleDefinitions_CreateOrUpdate", roles_api.put_definition),
    Route("DELETE", "/{scope*}" + ROLES + "/{name}", "RoleDefinitions_Delete", roles_api.delete_definition),
    Route("GET", "/{scope*}" + GRANTS, "RoleAssignments_ListForScope", roles_api.list_assignments),
    Route("GET", "/{scope*}" + GRANTS + "/{name}", "RoleAssignments_Get", roles_api.get_assignment),
    Route("PUT", "/{scope*}" + GRANTS + "/{name}", "RoleAssignments_Create", roles_api.put_assignment),
    Route("DELETE", "/{scope*}" + GRANTS + "/{name}", "RoleAssignments_Delete", roles_api.delete_assignment),
    Route(
        "PUT",
        "/{scope*}/providers/Microsoft.Authorization/roleAssignmentScheduleRequests/{name}",
        "RoleAssignmentScheduleRequests_Create",
        roles_api.put_schedule_request,
    ),
    # Microsoft.ManagedIdentity
    Route("GET", IDENTITY, "UserAssignedIdentities_Get", principals_api.get_identity),
    Route("PUT", IDENTITY, "UserAssignedIdentities_CreateOrUpdate", principals_api.put_identity),
    Route("DELETE", IDENTITY, "UserAssignedIdentities_Delete", principals_api.delete_identity),
    # Microsoft.Storage
    Route("GET", SUB + ACCOUNTS, "StorageAccounts_List", accounts.list_accounts),
    Route("GET", GROUP + ACCOUNTS, "StorageAccounts_ListByResourceGroup", accounts.list_accounts),
    Route("GET", ACCOUNT, "StorageAccounts_GetProperties", accounts.get_account),
    Route("PUT", ACCOUNT, "StorageAccounts_Create", accounts.put_account),
    Route("DELETE", ACCOUNT, "StorageAccounts_Delete", accounts.delete_account),
    Route("POST", ACCOUNT + "/listKeys", "StorageAccounts_ListKeys", accounts.list_keys),
    Route("POST", ACCOUNT + "/regenerateKey", "StorageAccounts_RegenerateKey", None),
    Route("GET", CONTAINER, "BlobContainers_Get", accounts.get_container),
    Route("PUT", CONTAINER, "BlobContainers_Create", accounts.put_container),
    # Log Analytics query API
    Route("POST", "/v1/workspaces/{workspace}/query", "Logs_QueryWorkspace", query_workspace),
    Route("POST", "/v1/{scope*}/query", "Logs_QueryResource", query_resource),
    Route("POST", "/v1/$batch", "Logs_Batch", None),
    # retail prices
    Route("GET", "/api/retail/prices", "Open_RetailPrices", prices.list_prices),
    # cloud metadata and managed identity
    Route("GET", "/metadata/endpoints", "Open_Metadata", managed_identity.metadata),
    Route("GET", "/msi/token", "Open_Token", managed_identity.token),
    # the sandbox's own: faults and principals
    Route("GET", "/sandbox/principals", "Own_ListPrincipals", principals_api.list_principals),
    Route("POST", "/sandbox/principals", "Own_AddPrincipal", principals_api.add_principal),
    Route("DELETE", "/sandbox/principals/{name}", "Own_RemovePrincipal", principals_api.remove_principal),
    Route("GET", "/sandbox/faults", "Own_ListFaults", faults_api.list_faults),
    Route("POST", "/sandbox/faults", "Own_DeclareFaults", faults_api.declare_faults),
    Route("DELETE", "/sandbox/faults", "Own_ClearFaults", faults_api.clear_faults),
    Route("DELETE", "/sandbox/faults/{name}", "Own_ClearFault", faults_api.clear_faults),
    # Microsoft Entra ID
    Route("GET", "/common/discovery/instance", "Open_Instance", entra.instance),
    *(
        Route(method, f"/{tenant}{path}", operation, handler)
        for tenant in entra.TENANTS
        for method, path, operation, handler in (
            ("GET", "/.well-known/openid-configuration", "Open_Discovery", entra.discovery),
            ("GET", "/v2.0/.well-known/openid-configuration", "Open_Discovery", entra.discovery),
            ("GET", "/discovery/keys", "Open_Keys", entra.keys),
            ("POST", "/oauth2/token", "Open_IssueToken", entra.token),
            ("POST", "/oauth2/v2.0/token", "Open_IssueToken", entra.token),
        )
    ),
    # blob storage, in the two ways in which the SDK addresses it
    *(
        Route(method, base + path, operation, handler)
        for base in (BLOB, STORE)
        for method, path, operation, handler in (
            ("GET", "", "Blob_Container", blobs.container),
            ("PUT", "", "Blob_Container", blobs.container),
            ("GET", "/{name*}", "Blob_Get", blobs.get_blob),
            ("HEAD", "/{name*}", "Blob_Get", blobs.get_blob),
            ("PUT", "/{name*}", "Blob_Put", blobs.put_blob),
            ("DELETE", "/{name*}", "Blob_Delete", blobs.delete_blob),
        )
    ),
    # the data plane
    *(
        Route(method, "/inference/{location}/{endpoint}/{rest*}", "Scoring_Score", score)
        for method in ("GET", "POST", "PUT", "OPTIONS")
    ),
)
