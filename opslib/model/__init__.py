"""The frozen values that pass from stage to stage. A later stage never changes an earlier stage's value."""

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
from opslib.model.estate import ActivityEvent, Estate, EstateScope, ResourceName, Unread
from opslib.model.load import Load, busiest_load
from opslib.model.monitoring import AutoscaleSetting, FiredAlert, Monitoring
from opslib.model.outcome import Outcome
from opslib.model.plan import (
    Change,
    CreateDeployment,
    DeleteDeployment,
    Finding,
    Findings,
    Level,
    Plan,
    Receipt,
    SendProbes,
    SetInstanceCount,
    SetTraffic,
    Step,
)
from opslib.model.served import FAILURE_CODES, Observation, ProbeResult, Served, ServedInterval, is_failure

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
    "Deployment",
    "DeploymentCost",
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
    "Scope",
    "SendProbes",
    "Served",
    "ServedInterval",
    "SetInstanceCount",
    "SetTraffic",
    "Step",
    "Traffic",
    "Unread",
    "asset_name",
    "busiest_load",
    "is_failure",
]
