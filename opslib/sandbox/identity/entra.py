"""Handlers: the part of Microsoft Entra ID that issues tokens to programs.

Source: Microsoft Learn, "Microsoft identity platform and the OAuth 2.0 client credentials flow" (secret, and
federated credential as assertion), OpenID Connect discovery, "Microsoft Entra authentication error codes".
MSAL checks an unknown authority at a public address, except for the tenant `adfs` (msal/authority.py);
therefore the sandbox serves that name too.
"""

import json
import uuid
from typing import Any
from urllib.parse import parse_qs

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import TENANT_ID, Principal
from opslib.sandbox.arm.routing import Auth, Route
from opslib.sandbox.core.clock import iso_now
from opslib.sandbox.core.context import Backend
from opslib.sandbox.identity.tokens import ALGORITHM, TokenRefused

TENANTS = (TENANT_ID, "common", "organizations", "adfs")
FEDERATION_AUDIENCE = "api://AzureADTokenExchange"
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def discovery(request: Request, sandbox: Backend) -> Response:
    """`GET /{tenant}[/v2.0]/.well-known/openid-configuration`: where tokens are issued."""
    tenant = request.path.strip("/").split("/", 1)[0]
    middle = "oauth2" if tenant == "adfs" else "oauth2/v2.0"
    base = f"{request.base_url}/{tenant}"
    return Response(
        200,
        {
            "issuer": sandbox.tokens.issuer,
            "token_endpoint": f"{base}/{middle}/token",
            "authorization_endpoint": f"{base}/{middle}/authorize",
            "jwks_uri": f"{base}/discovery/keys",
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        },
    )


def keys(request: Request, sandbox: Backend) -> Response:
    """`GET /{tenant}/discovery/keys`: the key that verifies the sandbox's tokens."""
    del request
    return Response(200, {"keys": [sandbox.tokens.public_jwk()]})


def instance(request: Request, sandbox: Backend) -> Response:
    """`GET /common/discovery/instance`: this authority is known."""
    del sandbox
    address = f"{request.base_url}/{TENANT_ID}/v2.0/.well-known/openid-configuration"
    host = request.base_url.split("//", 1)[1]
    metadata = [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]
    return Response(200, {"tenant_discovery_endpoint": address, "api-version": "1.1", "metadata": metadata})


def token(request: Request, sandbox: Backend) -> Response:
    """`POST /{tenant}/oauth2[/v2.0]/token`: client credentials, by secret or by a federated assertion."""
    form = {name: values[-1] for name, values in parse_qs(request.body.decode("utf-8", errors="replace")).items()}
    if form.get("grant_type") != "client_credentials":
        return _refused(
            400, "unsupported_grant_type", 70003, "The grant type is not supported: use client_credentials."
        )
    principal = sandbox.directory.find(form.get("client_id", ""))
    if principal is None:
        message = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
        return _refused(400, "unauthorized_client", 700016, message)
    if not _proven(form, principal, sandbox):
        return _refused(401, "invalid_client", 7000215, "Invalid client secret or client assertion provided.")
    audience = form.get("resource") or form.get("scope", "").removesuffix("/.default")
    if not audience or " " in audience:
        return _refused(400, "invalid_scope", 70011, "The scope must be one resource followed by /.default.")
    lifetime_s = sandbox.settings.token_lifetime_s
    issued = sandbox.tokens.issue_for(principal, audience, lifetime_s)
    answer = {"token_type": "Bearer", "expires_in": int(lifetime_s), "access_token": issued.token}
    return Response(200, {**answer, "expires_on": str(issued.expires_at)}, {"Cache-Control": "no-store"})


def federated_token(principal: Principal, sandbox: Backend) -> str:
    """Return what a workload's platform would put into its token file."""
    claims = {"sub": f"system:serviceaccount:sandbox:{principal.name}", "oid": principal.object_id}
    return sandbox.tokens.issue(FEDERATION_AUDIENCE, claims, 24 * 3600).token


def _proven(form: dict[str, str], principal: Principal, sandbox: Backend) -> bool:
    if form.get("client_assertion_type") == _JWT_BEARER:
        try:
            claims = sandbox.tokens.verify(form.get("client_assertion", ""), {FEDERATION_AUDIENCE})
        except TokenRefused:
            return False
        return bool(claims.get("oid") == principal.object_id)
    return sandbox.directory.knows_secret(principal.client_id, form.get("client_secret", ""))


def _refused(status: int, error: str, number: int, message: str) -> Response:
    body: dict[str, Any] = {
        "error": error,
        "error_description": f"AADSTS{number}: {message}",
        "error_codes": [number],
        "timestamp": iso_now(),
        "trace_id": str(uuid.uuid4()),
        "correlation_id": str(uuid.uuid4()),
    }
    return Response(status, json.loads(json.dumps(body)))


ROUTES = (
    Route("GET", "/common/discovery/instance", "Entra_DiscoverInstance", instance, Auth.OPEN),
    *(
        Route(method, f"/{tenant}{path}", operation, handler, Auth.OPEN)
        for tenant in TENANTS
        for method, path, operation, handler in (
            ("GET", "/.well-known/openid-configuration", "Entra_GetConfiguration", discovery),
            ("GET", "/v2.0/.well-known/openid-configuration", "Entra_GetConfiguration", discovery),
            ("GET", "/discovery/keys", "Entra_ListKeys", keys),
            ("POST", "/oauth2/token", "Entra_IssueToken", token),
            ("POST", "/oauth2/v2.0/token", "Entra_IssueToken", token),
        )
    ),
)
