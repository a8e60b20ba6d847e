"""azure-ai-ml, imported at first use: that takes six CPU seconds, and one worker of the suite needs it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

FROM_PACKAGE = ("MLClient", "load_online_deployment", "load_online_endpoint")
FROM_ENTITIES = (
    "AzureMLOnlineInferencingServer",
    "CodeConfiguration",
    "Environment",
    "ManagedOnlineDeployment",
    "ManagedOnlineEndpoint",
    "Model",
    "ModelPackage",
    "OnlineRequestSettings",
    "ProbeSettings",
    "Registry",
    "Workspace",
)


def __getattr__(name: str) -> Any:
    if name in FROM_PACKAGE:
        return getattr(import_module("azure.ai.ml"), name)
    if name in FROM_ENTITIES:
        return getattr(import_module("azure.ai.ml.entities"), name)
    raise AttributeError(name)
