"""Connect to a workspace, in Azure or in the sandbox, and check that it is the intended one.

Where azure-ai-ml cannot load cloud metadata, it only warns and uses the public cloud. A sandbox run must never
reach it, so `connect` raises unless the cloud at the base URL describes itself with that same URL.
"""

import base64
import json
import os
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError as CoreError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential

from opslib.azure.arm import ArmClient
from opslib.azure.arm_transport import HTTP_TIMEOUTS
from opslib.azure.sign_in import get_token
from opslib.errors import ConnectError
from opslib.model import Scope
from opslib.redaction.redact import register

_RESOURCE_MANAGERS = {
    "AzureCloud": "https://management.azure.com",
    "AzureChinaCloud": "https://management.chinacloudapi.cn",
    "AzureUSGovernment": "https://management.usgovcloudapi.net",
}
"""Base URL of each cloud. Source: azure-mgmt-core `get_arm_endpoints`; the names are azure-ai-ml's."""

METADATA_API_VERSION = "2022-09-01"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Workspace:
    """A workspace in a cloud that has been checked; `log_analytics` is the cloud's query URL."""

    scope: Scope
    arm: ArmClient = field(repr=False)
    credential: TokenCredential = field(repr=False)
    log_analytics: str

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """TLS settings that all HTTP clients of this workspace share."""
        return tls_context()


def connect(target: str = "sandbox") -> Workspace:
    """Connect to the workspace that `target` names.

    Parameters
    ----------
    target
        ``"sandbox"``: the local Azure ML that `opslib sandbox up` started. ``"azure"``: the workspace of the
        nearest ``config.json`` in this or a parent folder. Anything else: the path of a ``config.json``.

    Raises
    ------
    ConnectError
        If the workspace is not found or not reachable, its certificate is not trusted, there is no credential,
        or the environment variables name another cloud.
    """
    if target == "sandbox":
        resource_manager, config = _use_sandbox()
    else:
        config = find_config(target)
        resource_manager = _cloud(target)
    http = RequestsTransport(**HTTP_TIMEOUTS)  # one connection for all requests to the base URL
    document = _fetch_cloud(resource_manager, http)
    credential = DefaultAzureCredential(transport=http)
    scope = Scope(
        subscription_id=config["subscription_id"],
        resource_group=config["resource_group"],
        workspace_name=config["workspace_name"],
        resource_manager=resource_manager,
        principal=_principal(credential, resource_manager),
    )
    arm = ArmClient(resource_manager, credential, http=http)
    return Workspace(scope, arm, credential, document["logAnalyticsResourceId"].rstrip("/"))


def sandbox_home() -> Path:
    """Return the sandbox's folder: ``OPSLIB_SANDBOX_HOME``, else ``~/.opslib/sandbox``."""
    return Path(os.environ.get("OPSLIB_SANDBOX_HOME") or Path.home() / ".opslib" / "sandbox")


def tls_context() -> ssl.SSLContext:
    """Return TLS settings with azure-core's authorities: ``REQUESTS_CA_BUNDLE`` if set, else certifi's."""
    return ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())


def _use_sandbox() -> tuple[str, dict[str, str]]:
    """Set the variables that `opslib sandbox env` prints; return the base URL and the workspace."""
    path = sandbox_home() / "sandbox.json"
    try:
        sandbox = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConnectError(
            f"the sandbox is not running: {path} does not exist. Start it with: opslib sandbox up "
            '(or pass target="azure" to work on your own workspace)'
        ) from None
    expected = sandbox["environment"]["ARM_CLOUD_METADATA_URL"]
    seen = os.environ.get("ARM_CLOUD_METADATA_URL", expected)
    if seen != expected:
        raise ConnectError(
            f'target is "sandbox" ({expected}), but ARM_CLOUD_METADATA_URL is {seen}: nothing was sent. '
            'Unset it, or run: eval "$(opslib sandbox env)"'
        )
    os.environ.update(sandbox["environment"])
    return sandbox["url"].rstrip("/"), sandbox["workspace"]


def find_config(target: str) -> dict[str, str]:
    """Return the workspace's ``config.json``, searched for in the same folders as `MLClient.from_config` does."""
    if target == "azure":
        folders = [Path.cwd(), *Path.cwd().parents]
        candidates = [folder / sub / "config.json" for folder in folders for sub in (".azureml", ".")]
    else:
        candidates = [Path(target)]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise ConnectError(
            f"found no config.json for target {target!r} (searched in {Path.cwd()} and its parent folders). "
            "Download it from the workspace's page in the Azure portal, or write one: "
            '{"subscription_id": ..., "resource_group": ..., "workspace_name": ...}'
        )
    try:
        config = json.loads(path.read_text())
        return {key: str(config[key]) for key in ("subscription_id", "resource_group", "workspace_name")}
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectError(
            f"{path} is not a workspace's config.json: expected subscription_id, resource_group and "
            f"workspace_name, got {error!r}"
        ) from error


def _cloud(target: str) -> str:
    """Return the base URL of the cloud that azure-ai-ml would choose; raise if it is on loopback."""
    url = os.environ.get("ARM_CLOUD_METADATA_URL", "")
    if url:
        parts = urlsplit(url)
        if parts.hostname in _LOOPBACK:
            raise ConnectError(
                f"target is {target!r}, but ARM_CLOUD_METADATA_URL is the sandbox's ({url}): nothing was "
                'sent. Unset the variables of `opslib sandbox env`, or pass target="sandbox"'
            )
        return f"{parts.scheme}://{parts.netloc}"
    name = os.environ.get("AZUREML_CURRENT_CLOUD", "AzureCloud")
    if name not in _RESOURCE_MANAGERS:
        raise ConnectError(
            f"AZUREML_CURRENT_CLOUD is {name!r}, expected one of {', '.join(_RESOURCE_MANAGERS)}. Unset it"
        )
    return _RESOURCE_MANAGERS[name]


def _fetch_cloud(resource_manager: str, http: RequestsTransport) -> dict[str, Any]:
    """Fetch the cloud's metadata, and check that its base URL is the one that was called."""
    url = f"{resource_manager}/metadata/endpoints?api-version={METADATA_API_VERSION}"
    try:
        answer = http.send(HttpRequest("GET", url), read_timeout=10.0)
        answer.raise_for_status()
        document = answer.json()
    except (CoreError, OSError, ValueError) as error:
        http.close()
        raise ConnectError(_describe_failure(resource_manager, error)) from error
    clouds = document if isinstance(document, list) else [document]
    for cloud in clouds:
        if str(cloud.get("resourceManager", "")).rstrip("/") == resource_manager:
            return dict(cloud)
    http.close()
    seen = [cloud.get("resourceManager") for cloud in clouds]
    raise ConnectError(f"{url} describes another cloud: expected {resource_manager}, got {seen}. Nothing was sent")


_BUNDLE_FAILURES = ("CERTIFICATE_VERIFY_FAILED", "[X509", "TLS CA certificate bundle")
"""What OpenSSL and requests write where a bundle does not trust a server, cannot be read, or is missing."""


def _describe_failure(resource_manager: str, error: Exception) -> str:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where()
    if any(mark in str(error) for mark in _BUNDLE_FAILURES):
        return (
            f"{resource_manager} presented a certificate that {bundle} does not trust ({error}). Nothing was sent. "
            "If the sandbox has a stale CA, run: opslib sandbox down && opslib sandbox up"
        )
    if urlsplit(resource_manager).hostname in _LOOPBACK:
        fix = "If it is the sandbox, check it with `opslib sandbox status` and start it with: opslib sandbox up"
    else:
        fix = f"Check this machine's network, DNS and proxy: curl {resource_manager}"
    return f"{resource_manager} does not answer ({error}). {fix}"


def _principal(credential: TokenCredential, resource_manager: str) -> str:
    """Return the signed-in principal's name from the token's claims; ARM verifies them, this does not."""
    token = get_token(credential, f"{resource_manager}/.default")
    register(token)
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return "unknown"
    return str(
        claims.get("upn") or claims.get("unique_name") or claims.get("oid") or claims.get("sub") or "unknown"
    )
