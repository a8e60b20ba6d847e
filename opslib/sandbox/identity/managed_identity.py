"""Handlers: cloud metadata and the managed-identity token endpoint."""

import hmac
from typing import Any

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import IDENTITY_SECRET, OPERATOR, Principal, assigned_identity
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import Auth, Route
from opslib.sandbox.core.azure_hosts import SANDBOX_STORAGE_SUFFIX
from opslib.sandbox.core.context import Backend


def cloud_name(base_url: str) -> str:
    """Return the cloud's name; it carries the port because azure-ai-ml keeps the first URLs of a name."""
    return "OpslibSandbox" + base_url.rsplit(":", 1)[-1]


def metadata(request: Request, sandbox: Backend) -> Response:
    """`GET /metadata/endpoints`: one document for a recent api-version, else a list, as on Azure.

    azure-ai-ml reads `$ARM_CLOUD_METADATA_URL` unchanged and takes a list or one object
    (`azure/ai/ml/_azure_environments.py`, `_convert_arm_to_cli`); the list is what old api-versions and
    no api-version get from Azure. Shape: https://management.azure.com/metadata/endpoints?api-version=2022-09-01.
    """
    document = _document(sandbox.base_url)
    dated = request.query.get("api-version", "")
    return Response(200, document if dated >= "2022" else [document])


def _document(base: str) -> dict[str, Any]:
    return {
        "name": cloud_name(base),
        "portal": "https://portal.azure.com/",
        "authentication": {
            "loginEndpoint": f"{base}/",
            "audiences": [f"{base}/", "https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": f"{base}/",
        "logAnalyticsResourceId": f"{base}/",
        "suffixes": {"storage": SANDBOX_STORAGE_SUFFIX},
    }


def token(request: Request, sandbox: Backend) -> Response:
    """`GET /msi/token`: the App Service flavours of managed identity (api-version 2019-08-01 and 2017-09-01).

    Source: azure/identity/_credentials/app_service.py sends `X-IDENTITY-HEADER` and `resource`;
    azure_ml.py, and scoring scripts of Azure Machine Learning's, send `secret` and `clientid`.
    Microsoft Learn, "How to use managed identities for App Service", REST endpoint reference.
    """
    given = request.headers.get("x-identity-header") or request.headers.get("secret", "")
    mine = hmac.compare_digest(given.encode(), sandbox.identity_header.encode())
    endpoint = None if mine else _endpoint(given, sandbox)
    if not mine and endpoint is None:
        return _refused(401, "unauthorized_client", "The X-IDENTITY-HEADER is missing or wrong.")
    resource = request.query.get("resource", "")
    if not resource:
        return _refused(400, "invalid_request", "The resource parameter is missing: name an audience.")
    principal = _chosen(request, sandbox) if endpoint is None else _own(request, endpoint, sandbox)
    if principal is None:
        return _refused(400, "invalid_request", "No managed identity has this client_id, object_id or mi_res_id.")
    issued = sandbox.tokens.issue_for(principal, resource, sandbox.settings.token_lifetime_s)
    answer = {
        "access_token": issued.token,
        "client_id": principal.client_id,
        "expires_on": str(issued.expires_at),
        "resource": resource,
        "token_type": "Bearer",
    }
    return Response(200, answer, {"Cache-Control": "no-store"})


def _wanted(request: Request) -> str | None:
    """Return the client id, object id or ARM id of the identity that a request names; None without one."""
    names = ("client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id")
    return next((request.query[name] for name in names if request.query.get(name)), None)


def _chosen(request: Request, sandbox: Backend) -> Principal | None:
    """Return the requested identity; without a name, the operator."""
    wanted = _wanted(request)
    return OPERATOR if wanted is None else sandbox.directory.find(wanted)


def _endpoint(secret: str, sandbox: Backend) -> Resource | None:
    """Return the endpoint whose instances were given this secret."""
    for endpoint in sandbox.store.all("onlineEndpoints"):
        own = endpoint.secrets.get(IDENTITY_SECRET)
        if own is not None and hmac.compare_digest(own.encode(), secret.encode()):
            return endpoint
    return None


def _own(request: Request, endpoint: Resource, sandbox: Backend) -> Principal | None:
    """Return an endpoint's own identity, or one of those assigned to it."""
    identity, wanted = endpoint.body.get("identity") or {}, _wanted(request)
    assigned = {name: assigned_identity(name) for name in identity.get("userAssignedIdentities", {})}
    own = {"": sandbox.directory.find(str(identity["principalId"]))} if "principalId" in identity else {}
    for name, principal in (own | assigned).items():
        names = (principal.client_id, principal.object_id, name.lower()) if principal is not None else ()
        if wanted is None or wanted.lower() in names:
            return principal
    return None


def _refused(status: int, code: str, message: str) -> Response:
    return Response(status, {"error": code, "error_description": message, "statusCode": status, "message": message})


ROUTES = (
    Route("GET", "/metadata/endpoints", "CloudMetadata_Get", metadata, Auth.OPEN),
    Route("GET", "/msi/token", "ManagedIdentity_IssueToken", token, Auth.OPEN),
)
