"""Two doors, one client: where the workspace is, and proof that it is the one that was meant.

azure-ai-ml only warns when it cannot load cloud metadata and then talks to the public cloud. A run that was meant
for the sandbox must never do that, so `connect` refuses unless the resolved base URL is the one meant.
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
import httpx
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential

from opslib.azure.arm import ArmClient
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


@dataclass(frozen=True)
class Workspace:
    """A workspace that has answered: its scope, its clients, and the cloud around it."""

    scope: Scope
    arm: ArmClient = field(repr=False)
    credential: TokenCredential = field(repr=False)
    log_analytics: str

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """The trust that every HTTP client of this workspace shares."""
        return trust()


def connect(target: str = "sandbox") -> Workspace:
    """Open the workspace that `target` names.

    Parameters
    ----------
    target
        ``"sandbox"``: the local Azure ML that `opslib sandbox up` started. ``"azure"``: the workspace of the
        ``config.json`` in this folder or above. Anything else: the path of a ``config.json``.

    Raises
    ------
    ConnectError
        If the workspace is not there, its certificate is not trusted, there is no credential, or the
        environment's variables lead to another cloud than the one meant.
    """
    if target == "sandbox":
        resource_manager, config = _enter_sandbox()
    else:
        config = _find_config(target)
        resource_manager = _cloud(target)
    document = _ask_cloud(resource_manager)
    credential = DefaultAzureCredential()
    scope = Scope(
        subscription_id=config["subscription_id"],
        resource_group=config["resource_group"],
        workspace_name=config["workspace_name"],
        resource_manager=resource_manager,
        principal=_principal(credential, resource_manager),
    )
    arm = ArmClient(resource_manager, credential)
    return Workspace(scope, arm, credential, document["logAnalyticsResourceId"].rstrip("/"))


def sandbox_home() -> Path:
    """Folder of the sandbox: ``OPSLIB_SANDBOX_HOME``, or one in the user's home."""
    return Path(os.environ.get("OPSLIB_SANDBOX_HOME") or Path.home() / ".opslib" / "sandbox")


def trust() -> ssl.SSLContext:
    """Trust what azure-core trusts: ``REQUESTS_CA_BUNDLE`` where it is set, else certifi's authorities."""
    return ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())


def _enter_sandbox() -> tuple[str, dict[str, str]]:
    """Set the variables that `opslib sandbox env` prints; return the base URL and the workspace."""
    path = sandbox_home() / "sandbox.json"
    try:
        sandbox = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConnectError(
            f"the sandbox is not up: {path} does not exist. Start it with: opslib sandbox up "
            '(or pass target="azure" to work on your own workspace)'
        ) from None
    meant = sandbox["environment"]["ARM_CLOUD_METADATA_URL"]
    seen = os.environ.get("ARM_CLOUD_METADATA_URL", meant)
    if seen != meant:
        raise ConnectError(
            f'target is "sandbox" ({meant}), but ARM_CLOUD_METADATA_URL leads to {seen}: nothing was sent. '
            'Unset it, or run: eval "$(opslib sandbox env)"'
        )
    os.environ.update(sandbox["environment"])
    return sandbox["url"].rstrip("/"), sandbox["workspace"]


def _find_config(target: str) -> dict[str, str]:
    """Read the ecosystem's ``config.json``, looked for as azure-ai-ml's `MLClient.from_config` does."""
    if target == "azure":
        folders = [Path.cwd(), *Path.cwd().parents]
        candidates = [folder / sub / "config.json" for folder in folders for sub in (".azureml", ".")]
    else:
        candidates = [Path(target)]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise ConnectError(
            f"no workspace: found no config.json for target {target!r} (looked from {Path.cwd()} upwards). "
            "Download it from the workspace's page in the portal, or write "
            '{"subscription_id": ..., "resource_group": ..., "workspace_name": ...}'
        )
    try:
        config = json.loads(path.read_text())
        return {key: str(config[key]) for key in ("subscription_id", "resource_group", "workspace_name")}
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectError(
            f"{path} is not a workspace's config.json: expected subscription_id, resource_group and "
            f"workspace_name, {error!r}"
        ) from error


def _cloud(target: str) -> str:
    """Base URL of the cloud that azure-ai-ml would choose; never a loopback one."""
    url = os.environ.get("ARM_CLOUD_METADATA_URL", "")
    if url:
        parts = urlsplit(url)
        if parts.hostname in {"127.0.0.1", "localhost", "::1"}:
            raise ConnectError(
                f"target is {target!r}, but ARM_CLOUD_METADATA_URL leads to the sandbox ({url}): nothing was "
                'sent. Unset the variables of `opslib sandbox env`, or pass target="sandbox"'
            )
        return f"{parts.scheme}://{parts.netloc}"
    name = os.environ.get("AZUREML_CURRENT_CLOUD", "AzureCloud")
    if name not in _RESOURCE_MANAGERS:
        raise ConnectError(
            f"AZUREML_CURRENT_CLOUD is {name!r}; expected one of {', '.join(_RESOURCE_MANAGERS)}: unset it"
        )
    return _RESOURCE_MANAGERS[name]


def _ask_cloud(resource_manager: str) -> dict[str, Any]:
    """Fetch the cloud's own description, and insist that it is the cloud we called."""
    url = f"{resource_manager}/metadata/endpoints?api-version={METADATA_API_VERSION}"
    try:
        with httpx.Client(verify=trust(), timeout=10.0) as client:
            document = client.get(url).raise_for_status().json()
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise ConnectError(_why_silent(resource_manager, error)) from error
    clouds = document if isinstance(document, list) else [document]
    for cloud in clouds:
        if str(cloud.get("resourceManager", "")).rstrip("/") == resource_manager:
            return dict(cloud)
    seen = [cloud.get("resourceManager") for cloud in clouds]
    raise ConnectError(f"{url} describes another cloud: expected {resource_manager}, saw {seen}. Nothing was sent")


def _why_silent(resource_manager: str, error: Exception) -> str:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where()
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error, ssl.SSLError | FileNotFoundError):
        return (
            f"{resource_manager} shows a certificate that {bundle} does not vouch for ({error}). A stale CA of the "
            "sandbox? Run: opslib sandbox down && opslib sandbox up. Nothing was sent"
        )
    return (
        f"{resource_manager} does not answer ({error}). If it is the sandbox, look at `opslib sandbox status`, "
        "and start it with: opslib sandbox up"
    )


def _principal(credential: TokenCredential, resource_manager: str) -> str:
    """Name who is asking, from the token's own claims (they are read, not verified: ARM verifies them)."""
    try:
        token = credential.get_token(f"{resource_manager}/.default").token
    except ClientAuthenticationError as error:
        raise ConnectError(
            "no credential that azure-identity can use. Sign in with `az login`, or set the variables of a service "
            f"principal or managed identity. {error.message}"
        ) from error
    register(token)
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return "unknown"
    return str(
        claims.get("upn") or claims.get("unique_name") or claims.get("oid") or claims.get("sub") or "unknown"
    )
