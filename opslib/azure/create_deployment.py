"""Create a deployment from its definition, with azure-ai-ml.

azure-ai-ml is imported where it is used: the import takes seconds, and only `deploy` needs it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from opslib.azure.arm_errors import mapped_errors
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION, deployment_path
from opslib.azure.operations import OperationLost, Progress, await_operation
from opslib.definitions.deployment import DeploymentDefinition
from opslib.errors import AzureError, ConnectError, CreateRefused, DefinitionError
from opslib.import_shims import skip_iri_checks

NOT_OFFERED = 501
"""HTTP status of an operation that the service does not have."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ADVICE = re.compile(r"Visit this link to refer to the .*", re.DOTALL)


class _BeforePut(SansIOHTTPPolicy[Any, Any]):
    """Calls a check right before the request that creates the deployment: an upload takes minutes."""

    def __init__(self, path: str, check: Callable[[], None]) -> None:
        super().__init__()
        self._path = path.lower()
        self._check = check

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Call the check if this is the request."""
        http = request.http_request
        if http.method == "PUT" and urlsplit(http.url).path.lower() == self._path:
            self._check()


def create_deployment(
    workspace: Workspace,
    definition: DeploymentDefinition,
    deadline_s: float,
    progress: Progress,
    check: Callable[[], None],
) -> None:
    """Upload the files of the definition, create the deployment at 0 % traffic, and wait until it is ready.

    Parameters
    ----------
    workspace, definition
        Where, and what.
    deadline_s
        How long to wait until it is ready [seconds].
    progress
        Is called with what is waited for.
    check
        Is called after the upload; what it raises keeps the deployment from being created.

    Raises
    ------
    DefinitionError
        If azure-ai-ml finds the definition invalid: nothing was created.
    CreateRefused
        If Azure rejects the request: no deployment was created.
    AzureError
        If the request got no answer, or a server error.
    OperationFailed
        If the deployment does not become ready.
    """
    skip_iri_checks()  # before azure-ai-ml is imported
    from azure.ai.ml.exceptions import MlException  # noqa: PLC0415 - takes seconds

    path = deployment_path(workspace, definition.endpoint, definition.name)
    client = _ml_client(workspace, _BeforePut(path, check))
    what = f"create deployment {definition.name}"
    entity = _load(definition)
    try:
        progress("uploading model, code and environment")
        with _refused(what), mapped_errors(what):
            poller = client.online_deployments.begin_create_or_update(entity)
    except MlException as error:
        if isinstance(error.__cause__, HttpResponseError):
            with _refused(what), mapped_errors(what):
                raise error.__cause__ from error
        raise DefinitionError(f"{definition.path}: {_plain(error)}") from error
    begun_s = monotonic()
    try:
        await_operation(poller, what, deadline_s, progress)
    except OperationLost as lost:
        progress(f"{lost}; reading the deployment instead")
        left_s = max(1.0, deadline_s - (monotonic() - begun_s))
        workspace.arm.await_resource("PUT", path, API_VERSION, left_s, progress)


def _load(definition: DeploymentDefinition) -> Any:
    """Return azure-ai-ml's deployment; it reads the definition's files and sends nothing.

    Raises
    ------
    DefinitionError
        If it does not load it. Errors of its schema are no `MlException`; what only its constructors find are
        TypeErrors and the like.
    """
    from azure.ai.ml import load_online_deployment  # noqa: PLC0415 - takes seconds

    try:
        text = StringIO(definition.to_yaml())
        return load_online_deployment(source=text, relative_origin=str(definition.path.absolute()))
    except Exception as error:
        raise DefinitionError(f"{definition.path}: azure-ai-ml does not load it: {_plain(error)}") from error


def _plain(error: Exception) -> str:
    """Return an error's message in one line, without colour codes and without advice on other tools."""
    return " ".join(_ADVICE.sub("", _COLOURS.sub("", str(error))).split())


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Distinguish a refusal of the request (4xx, 501) from an answer that leaves open what happened."""
    try:
        yield
    except AzureError as error:
        status = error.status or 0
        if status == NOT_OFFERED or (400 <= status < 500 and status not in {408, 429}):
            message = f"{str(error).rstrip('.')}. {what}: refused by Azure, no deployment was created"
            raise CreateRefused(message) from error
        raise


def _ml_client(workspace: Workspace, *policies: SansIOHTTPPolicy[Any, Any]) -> Any:
    """Return azure-ai-ml's client; raise if it resolved another cloud than the workspace's."""
    from azure.ai.ml import MLClient  # noqa: PLC0415 - takes seconds

    scope = workspace.scope
    client = MLClient(
        workspace.credential,
        scope.subscription_id,
        scope.resource_group,
        scope.workspace_name,
        enable_telemetry=False,
        per_call_policies=policies,
    )
    # where azure-ai-ml cannot load cloud metadata, it only warns and uses the public cloud
    resolved = str(getattr(client, "_base_url", "")).rstrip("/")
    if resolved != scope.resource_manager:
        raise ConnectError(
            f"azure-ai-ml resolved {resolved or 'no address'}, expected {scope.resource_manager}: nothing was "
            "sent. Check ARM_CLOUD_METADATA_URL, REQUESTS_CA_BUNDLE and AZUREML_CURRENT_CLOUD"
        )
    return client
