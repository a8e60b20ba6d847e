"""Instance types that a region offers, and how many cores the subscription may still use there."""

import math
from dataclasses import dataclass

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION
from opslib.errors import UnexpectedAnswer
from opslib.model import Deployment, Endpoint
from opslib.model.quota import Quota

RESERVE = 1.2
"""Cores of the quota per core that a deployment runs on. Source: quota-allocation-online-deployment.md."""

WITHOUT_RESERVE = frozenset(
    {
        *("standard_nc24ads_a100_v4", "standard_nc48ads_a100_v4", "standard_nc96ads_a100_v4"),
        *("standard_nc40ads_h100_v5", "standard_nc80adis_h100_v5", "standard_nd96amsr_a100_v4"),
        *("standard_nd96asr_v4", "standard_nd40rs_v2", "standard_nd96is_h100_v5", "standard_nd96isr_h100_v5"),
    }
)
"""Instance types without the reserve. Source: reference-managed-online-endpoints-vm-sku-list.md."""

MOST_INSTANCES = 100
"""Counts up to which the quota is compared: more than a deployment may have [count]."""


@dataclass(frozen=True)
class InstanceType:
    """An instance type that a region offers."""

    name: str
    family: str
    cores: int

    def cores_needed(self, instances: int) -> int:
        """Return the cores that instances take of the quota, the service's reserve for upgrades included."""
        reserve = 1.0 if self.name.lower() in WITHOUT_RESERVE else RESERVE
        return math.ceil(round(reserve * instances, 6)) * self.cores


def read_instance_types(workspace: Workspace, endpoint: Endpoint) -> tuple[InstanceType, ...]:
    """Read the instance types that the endpoint's region offers."""
    rows = workspace.arm.list(f"{_location(workspace, endpoint)}/vmSizes", API_VERSION)
    return tuple(
        InstanceType(str(row.get("name")), str(row.get("family")), int(row.get("vCPUs") or 0)) for row in rows
    )


def read_quotas(workspace: Workspace, endpoint: Endpoint) -> tuple[Quota, ...]:
    """Read the quota of each family in the endpoint's region, and of all together; -1 stands for no limit."""
    rows = workspace.arm.list(f"{_location(workspace, endpoint)}/usages", API_VERSION)
    return tuple(_quota(row) for row in rows)


def most_instances(offered: InstanceType, quota: Quota | None, present: Deployment | None) -> int | None:
    """Return the most instances that the quota allows; the present ones count as free for their own type only.

    Another instance type means a second deployment, which runs beside the present one.
    """
    if quota is None or quota.limit < 0:
        return None
    own = present is not None and present.instance_type.lower() == offered.name.lower()
    taken = offered.cores_needed(present.instance_count) if own and present else 0
    free = quota.limit - quota.used + taken
    return max((n for n in range(1, MOST_INSTANCES + 1) if offered.cores_needed(n) <= free), default=0)


def _quota(row: Json) -> Quota:
    family = str((row.get("name") or {}).get("value"))
    limit = row.get("limit")
    return Quota(family, int(row.get("currentValue") or 0), -1 if limit is None else int(limit))


def _location(workspace: Workspace, endpoint: Endpoint) -> str:
    region = str(endpoint.arm.get("location") or "").replace(" ", "").lower()
    if not region:
        raise UnexpectedAnswer(
            f"{endpoint.name}: the endpoint's location is missing, expected one such as eastus: the quota of its "
            "region cannot be read. Read the endpoint again; while it is updated Azure may leave it out"
        )
    subscription = workspace.scope.subscription_id
    return f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{region}"
