"""The actions that the steps of a plan, its undo and the rest of a run need, and on which resource. Pure.

Sources: Microsoft Learn, "Manage access to Azure Machine Learning workspaces" (endpoints, keys) and "Manage access
to Log Analytics workspaces" (one table); the requests that azure-ai-ml sends to create a deployment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from opslib.definitions.deployment import DeploymentDefinition
from opslib.model import (
    CreateDeployment,
    DeleteDeployment,
    DeleteRule,
    RestoreRule,
    SendProbes,
    SetInstanceCount,
    SetRule,
    SetTraffic,
    Step,
)

WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
ENDPOINTS = f"{WORKSPACES}/onlineEndpoints"
DEPLOYMENTS = f"{ENDPOINTS}/deployments"
LOCATIONS = "Microsoft.MachineLearningServices/locations"
REFERENCE = "azureml:"
"""Begins a reference to what is registered already, in the workspace or in a registry."""

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


class ScopeLevel(StrEnum):
    """The resource on which an action is done."""

    ENDPOINT = "endpoint"
    WORKSPACE = "workspace"
    GROUP = "resource group"
    SUBSCRIPTION = "subscription"
    STORAGE = "storage account"


@dataclass(frozen=True)
class Action:
    """One operation of Azure Resource Manager, or of a data plane if `data`."""

    name: str
    level: ScopeLevel = ScopeLevel.ENDPOINT
    data: bool = False


@dataclass(frozen=True)
class Purpose:
    """What a run does, in words, and the actions that this takes.

    Without the actions of an `optional` purpose the run goes on, and reports what it could not do.
    """

    words: str
    actions: tuple[Action, ...]
    optional: bool = False


def _at(level: ScopeLevel, *names: str) -> tuple[Action, ...]:
    return tuple(Action(name, level) for name in names)


READ_STATE = Purpose(
    "read the endpoint and its deployments",
    (*_at(ScopeLevel.ENDPOINT, f"{ENDPOINTS}/read", f"{DEPLOYMENTS}/read"),),
)
READ_LOGS = Purpose(
    "read the log of a deployment that fails", _at(ScopeLevel.ENDPOINT, f"{DEPLOYMENTS}/getLogs/action")
)
READ_AUTOSCALE = Purpose(
    "find autoscale settings of the deployments",
    _at(ScopeLevel.GROUP, "Microsoft.Insights/autoscaleSettings/read"),
)
READ_RULES = Purpose(
    "find what scales or watches the deployment",
    _at(ScopeLevel.GROUP, "Microsoft.Insights/autoscaleSettings/read", "Microsoft.Insights/metricAlerts/read"),
)
READ_ACTIVITY = Purpose(
    "find out who changed the endpoint",
    _at(ScopeLevel.SUBSCRIPTION, "Microsoft.Insights/eventtypes/values/read"),
    optional=True,
)
READ_CAPACITY = Purpose(
    "check instance type and quota",
    _at(ScopeLevel.SUBSCRIPTION, f"{LOCATIONS}/vmSizes/read", f"{LOCATIONS}/usages/read"),
    optional=True,
)
READ_DIAGNOSTICS = Purpose(
    "find out whether the request log is kept",
    _at(ScopeLevel.ENDPOINT, "Microsoft.Insights/diagnosticSettings/read"),
)
_SOURCES = {
    "request log": Purpose(
        "count requests in the request log",
        _at(ScopeLevel.ENDPOINT, "Microsoft.Insights/logs/AmlOnlineEndpointTrafficLog/read"),
    ),
    "metrics": Purpose(
        "count requests by Azure Monitor's metrics", _at(ScopeLevel.ENDPOINT, "Microsoft.Insights/metrics/read")
    ),
}
_CREDENTIALS = {"key": "listKeys", "amltoken": "token", "aadtoken": "score"}


class Upload(StrEnum):
    """What a deployment's definition has azure-ai-ml register."""

    CODE = "code"
    MODEL = "model"
    ENVIRONMENT = "environment"
    BUILD_CONTEXT = "build context"


_VERSIONS = {
    Upload.CODE: ("codes/versions/read", "codes/versions/startPendingUpload/action", "codes/versions/write"),
    Upload.MODEL: (
        *("models/versions/read", "models/versions/write"),
        *("datastores/read", "datastores/listSecrets/action"),
    ),
    Upload.ENVIRONMENT: ("environments/versions/write",),
    Upload.BUILD_CONTEXT: ("datastores/read", "datastores/listSecrets/action", "environments/versions/write"),
}
_BY_DATASTORE = frozenset({Upload.MODEL, Upload.BUILD_CONTEXT})


def score(auth_mode: str) -> Purpose:
    """Return what sending a scoring request takes, by the endpoint's authentication mode."""
    action = _CREDENTIALS.get(auth_mode.lower(), "score")
    return Purpose("send requests to the endpoint", _at(ScopeLevel.ENDPOINT, f"{ENDPOINTS}/{action}/action"))


def count_requests(source: str, wanted: str) -> tuple[Purpose, ...]:
    """Return what counting the users' requests takes; `source` is "" where it is not known which one is kept."""
    found = (_SOURCES[source],) if source in _SOURCES else ()
    return found if wanted == "metrics" else (READ_DIAGNOSTICS, *found)


def upload(kinds: Iterable[Upload], *, by_identity: bool = False) -> tuple[Purpose, ...]:
    """Return what registering a definition's local files takes.

    Parameters
    ----------
    kinds
        What is registered.
    by_identity
        Whether the workspace's datastore has no credentials of its own: the caller then writes the blobs.
    """
    wanted = tuple(kinds)
    found = [
        Purpose(
            f"register the {kind}", _at(ScopeLevel.WORKSPACE, *(f"{WORKSPACES}/{name}" for name in _VERSIONS[kind]))
        )
        for kind in wanted
    ]
    if by_identity and _BY_DATASTORE & set(wanted):
        blobs = tuple(Action(f"{BLOBS}/{verb}", ScopeLevel.STORAGE, data=True) for verb in ("read", "write"))
        found.append(Purpose("upload to the workspace's storage account", blobs))
    return tuple(found)


def find_registered(*kinds: str) -> tuple[Purpose, ...]:
    """Return what looking registered assets up takes; kinds are "models" and "environments"."""
    names = (f"{WORKSPACES}/{kind}/versions/read" for kind in kinds)
    return (Purpose("find registered assets", _at(ScopeLevel.WORKSPACE, *names)),) if kinds else ()


def step_actions(step: Step, auth_mode: str) -> tuple[Action, ...]:  # noqa: PLR0911 - one for each kind
    """Return the actions that one step of a plan takes; a traffic step edits the lease's tags with it."""
    match step:
        case SetTraffic():
            return _at(ScopeLevel.ENDPOINT, f"{ENDPOINTS}/write")
        case CreateDeployment():
            return (
                *_at(ScopeLevel.ENDPOINT, f"{DEPLOYMENTS}/write"),
                *_at(ScopeLevel.WORKSPACE, f"{WORKSPACES}/read"),
            )
        case DeleteDeployment():
            return _at(ScopeLevel.ENDPOINT, f"{DEPLOYMENTS}/delete")
        case DeleteRule():
            return _at(ScopeLevel.GROUP, f"{_rule_type(step.id)}/delete")
        case RestoreRule() | SetRule():
            return _at(ScopeLevel.GROUP, f"{_rule_type(step.id)}/write")
        case SetInstanceCount():
            return _at(ScopeLevel.ENDPOINT, f"{DEPLOYMENTS}/write")
        case SendProbes():
            return score(auth_mode).actions if step.requests and step.deployment else ()


def _rule_type(rule_id: str) -> str:
    """Return the type in an ARM id, such as Microsoft.Insights/metricAlerts."""
    return "/".join(rule_id.rpartition("/providers/")[2].split("/")[:2])


def find_uploads(definition: DeploymentDefinition) -> tuple[Upload, ...]:
    """Return what a definition has azure-ai-ml register, because it is local or inline."""
    code, environment = definition.source.get("code_configuration"), definition.source.get("environment")
    folder = code.get("code") if isinstance(code, Mapping) else None
    found = []
    if folder and not str(folder).startswith(REFERENCE):
        found.append(Upload.CODE)
    if definition.model and not definition.model.startswith(REFERENCE):
        found.append(Upload.MODEL)
    if isinstance(environment, Mapping):
        found.append(Upload.BUILD_CONTEXT if environment.get("build") else Upload.ENVIRONMENT)
    elif definition.environment and not definition.environment.startswith(REFERENCE):
        found.append(Upload.ENVIRONMENT)
    return tuple(found)
