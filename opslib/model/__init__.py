"""The frozen values that pass from stage to stage. A later stage never changes an earlier stage's value.

Each name is loaded from its module on first use: a command that lists runs needs two of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opslib.model.cost import (
        HOURS_PER_MONTH,
        CostChange,
        DeploymentCost,
        EndpointCost,
        Overlap,
        Price,
        PriceList,
    )
    from opslib.model.endpoint import SERVICE_VARIABLES, Deployment, Endpoint, Scope, Traffic, asset_name
    from opslib.model.estate import ActivityEvent, Estate, EstateScope, ResourceName, Unread, endpoint_id_of
    from opslib.model.load import Load, busiest_load
    from opslib.model.monitoring import AutoscaleSetting, DeploymentRule, FiredAlert, Monitoring
    from opslib.model.plan import (
        Change,
        CreateDeployment,
        DeleteDeployment,
        DeleteRule,
        Finding,
        Findings,
        Level,
        Plan,
        Receipt,
        RestoreRule,
        Rule,
        SendProbes,
        SetInstanceCount,
        SetRule,
        SetTraffic,
        Step,
    )
    from opslib.model.served import FAILURE_CODES, Observation, ProbeResult, Served, ServedInterval, is_failure
    from opslib.outcome import Outcome

_HOMES = {
    "ActivityEvent": "opslib.model.estate",
    "asset_name": "opslib.model.endpoint",
    "AutoscaleSetting": "opslib.model.monitoring",
    "busiest_load": "opslib.model.load",
    "endpoint_id_of": "opslib.model.estate",
    "Change": "opslib.model.plan",
    "CostChange": "opslib.model.cost",
    "CreateDeployment": "opslib.model.plan",
    "DeleteDeployment": "opslib.model.plan",
    "DeleteRule": "opslib.model.plan",
    "Deployment": "opslib.model.endpoint",
    "DeploymentCost": "opslib.model.cost",
    "DeploymentRule": "opslib.model.monitoring",
    "Endpoint": "opslib.model.endpoint",
    "EndpointCost": "opslib.model.cost",
    "Estate": "opslib.model.estate",
    "EstateScope": "opslib.model.estate",
    "FAILURE_CODES": "opslib.model.served",
    "Finding": "opslib.model.plan",
    "Findings": "opslib.model.plan",
    "FiredAlert": "opslib.model.monitoring",
    "HOURS_PER_MONTH": "opslib.model.cost",
    "is_failure": "opslib.model.served",
    "Level": "opslib.model.plan",
    "Load": "opslib.model.load",
    "Monitoring": "opslib.model.monitoring",
    "Observation": "opslib.model.served",
    "Outcome": "opslib.outcome",
    "Overlap": "opslib.model.cost",
    "Plan": "opslib.model.plan",
    "Price": "opslib.model.cost",
    "PriceList": "opslib.model.cost",
    "ProbeResult": "opslib.model.served",
    "Receipt": "opslib.model.plan",
    "ResourceName": "opslib.model.estate",
    "RestoreRule": "opslib.model.plan",
    "Rule": "opslib.model.plan",
    "Scope": "opslib.model.endpoint",
    "SendProbes": "opslib.model.plan",
    "Served": "opslib.model.served",
    "ServedInterval": "opslib.model.served",
    "SERVICE_VARIABLES": "opslib.model.endpoint",
    "SetInstanceCount": "opslib.model.plan",
    "SetRule": "opslib.model.plan",
    "SetTraffic": "opslib.model.plan",
    "Step": "opslib.model.plan",
    "Traffic": "opslib.model.endpoint",
    "Unread": "opslib.model.estate",
}

__all__ = [
    "FAILURE_CODES",
    "HOURS_PER_MONTH",
    "SERVICE_VARIABLES",
    "ActivityEvent",
    "AutoscaleSetting",
    "Change",
    "CostChange",
    "CreateDeployment",
    "DeleteDeployment",
    "DeleteRule",
    "Deployment",
    "DeploymentCost",
    "DeploymentRule",
    "Endpoint",
    "EndpointCost",
    "Estate",
    "EstateScope",
    "Finding",
    "Findings",
    "FiredAlert",
    "Level",
    "Load",
    "Monitoring",
    "Observation",
    "Outcome",
    "Overlap",
    "Plan",
    "Price",
    "PriceList",
    "ProbeResult",
    "Receipt",
    "ResourceName",
    "RestoreRule",
    "Rule",
    "Scope",
    "SendProbes",
    "Served",
    "ServedInterval",
    "SetInstanceCount",
    "SetRule",
    "SetTraffic",
    "Step",
    "Traffic",
    "Unread",
    "asset_name",
    "busiest_load",
    "endpoint_id_of",
    "is_failure",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a name from its module on first use."""
        if name not in _HOMES:
            raise AttributeError(f"opslib.model has no {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
