"""A deployment's definition (``deployment.yml`` of CLI v2): read it, and create the deployment with azure-ai-ml.

azure-ai-ml is imported where it is used: the import takes seconds, and only `deploy` needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from azure.core.exceptions import HttpResponseError

from opslib.azure.arm import Progress, await_operation, mapped_errors
from opslib.azure.connect import Workspace
from opslib.errors import ConnectError, DefinitionError


@dataclass(frozen=True)
class Definition:
    """The fields of a ``deployment.yml`` (CLI v2) that plan and preflight use."""

    path: Path
    name: str
    endpoint: str
    model: str
    instance_type: str
    instance_count: int


def read_definition(path: str) -> Definition:
    """Read the definition of a managed online deployment.

    Raises
    ------
    DefinitionError
        If the file does not exist, is not YAML, or lacks a field that a managed online deployment needs.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise DefinitionError(f"definition {path!r} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DefinitionError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise DefinitionError(
            f"{path} is not a deployment definition: expected a mapping with name and model, got a "
            f"{type(content).__name__}"
        )
    missing = [key for key in ("name", "endpoint_name", "model", "instance_type") if not content.get(key)]
    if missing:
        raise DefinitionError(f"{path} lacks {', '.join(missing)}, required for a managed online deployment")
    count = content.get("instance_count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise DefinitionError(f"{path}: instance_count must be a whole number of at least 1, got {count!r}")
    return Definition(
        path=Path(path),
        name=str(content["name"]),
        endpoint=str(content["endpoint_name"]),
        model=_model(content["model"]),
        instance_type=str(content["instance_type"]),
        instance_count=count,
    )


def _model(model: Any) -> str:
    """Return the model as the definition names it: a registered version, or the local path to upload."""
    return str(model.get("path", model)) if isinstance(model, Mapping) else str(model)


def create_deployment(workspace: Workspace, definition: Definition, deadline_s: float, progress: Progress) -> None:
    """Upload the files of the definition, create the deployment at 0 % traffic, and wait until it is ready.

    Raises
    ------
    DefinitionError
        If azure-ai-ml finds the definition invalid.
    AzureError
        If Azure rejects the request.
    OperationFailed
        If the deployment does not become ready.
    """
    from azure.ai.ml import load_online_deployment  # noqa: PLC0415 - takes seconds
    from azure.ai.ml.exceptions import MlException  # noqa: PLC0415

    client = _ml_client(workspace)
    what = f"create deployment {definition.name}"
    try:
        entity = load_online_deployment(source=str(definition.path))
        progress("uploading model, code and environment")
        with mapped_errors(what):
            poller = client.online_deployments.begin_create_or_update(entity)
    except MlException as error:
        if isinstance(error.__cause__, HttpResponseError):
            with mapped_errors(what):
                raise error.__cause__ from error
        raise DefinitionError(f"{definition.path}: {error}") from error
    await_operation(poller, what, deadline_s, progress)


def _ml_client(workspace: Workspace) -> Any:
    """Return azure-ai-ml's client; raise if it resolved another cloud than the workspace's."""
    from azure.ai.ml import MLClient  # noqa: PLC0415 - takes seconds

    scope = workspace.scope
    client = MLClient(
        workspace.credential,
        scope.subscription_id,
        scope.resource_group,
        scope.workspace_name,
        enable_telemetry=False,
    )
    # where azure-ai-ml cannot load cloud metadata, it only warns and uses the public cloud
    resolved = str(getattr(client, "_base_url", "")).rstrip("/")
    if resolved != scope.resource_manager:
        raise ConnectError(
            f"azure-ai-ml resolved {resolved or 'no address'}, expected {scope.resource_manager}: nothing was "
            "sent. Check ARM_CLOUD_METADATA_URL, REQUESTS_CA_BUNDLE and AZUREML_CURRENT_CLOUD"
        )
    return client
