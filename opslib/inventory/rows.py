"""The inventory: one row per deployment, and one for each endpoint that has none. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from opslib.cost.estimate import waste
from opslib.displayed import Displayed
from opslib.inventory.owners import Ownership
from opslib.model import (
    ActivityEvent,
    Deployment,
    DeploymentCost,
    Endpoint,
    Estate,
    EstateScope,
    PriceList,
    ResourceName,
    Unread,
)
from opslib.runbooks.lease.tags import read_lease

OWNER_TAGS = ("owner", "team", "contact")
"""Tags that name an owner where no policy does, the first that is there; names ignore case."""


UNUSED = "idle: takes traffic, and no request came in the last 24 h"
"""Why a deployment of an endpoint without clients is billed without use."""


@dataclass(frozen=True)
class InventoryRow:
    """One deployment, or an endpoint without any. A value that is unknown is None or empty.

    Attributes
    ----------
    traffic, mirror
        Live and mirrored traffic [percent].
    cost_per_month, currency
        List price of all its instances for 730 hours.
    requests_per_day
        Requests that it answered in the last 24 hours [count].
    owner, owner_source
        Who answers for the endpoint, and where that was found: "policy", "tag" or "created by".
    last_change_at, last_changed_by, last_change
        Newest change of the deployment or of its endpoint in the activity log.
    waste
        Why it is billed without use; empty where it is used.
    lease
        The change that holds the endpoint's traffic, and until when.
    policy
        Path of the endpoint's policy; empty where no folder with one was given or found.
    """

    subscription: str
    resource_group: str
    workspace: str
    endpoint: str
    deployment: str
    region: str
    endpoint_state: str
    state: str = ""
    traffic: int = 0
    mirror: int = 0
    instance_type: str = ""
    instances: int = 0
    model: str = ""
    environment: str = ""
    auth_mode: str = ""
    public_access: str = ""
    owner: str = ""
    owner_source: str = ""
    cost_per_month: float | None = None
    currency: str = ""
    requests_per_day: int | None = None
    last_change_at: str = ""
    last_changed_by: str = ""
    last_change: str = ""
    waste: str = ""
    lease: str = ""
    policy: str = ""
    id: str = ""


COLUMNS = tuple(one.name for one in fields(InventoryRow))


@dataclass(frozen=True)
class Inventory(Displayed):
    """The deployments of many workspaces at one time.

    Attributes
    ----------
    at
        When it was read [UTC].
    source
        Where it was read: "Azure Resource Graph" or "lists".
    rows
        By workspace, endpoint and deployment.
    unread
        What could not be read, and why.
    workspaces
        How many workspaces were read, those without endpoints included [count].
    requests
        Requests sent to Azure Resource Manager [count].
    scope
        Where it looked.
    endpoints
        The endpoints as Azure reports them.
    autoscale
        JSON of the autoscale settings of their deployments.
    """

    at: datetime
    source: str
    rows: tuple[InventoryRow, ...]
    unread: tuple[Unread, ...]
    workspaces: int
    requests: int
    scope: EstateScope = field(default_factory=EstateScope)
    endpoints: tuple[Endpoint, ...] = field(repr=False, compare=False, default=())
    autoscale: tuple[Mapping[str, Any], ...] = field(repr=False, compare=False, default=())

    @property
    def wasted(self) -> tuple[InventoryRow, ...]:
        """Deployments that are billed without use."""
        return tuple(row for row in self.rows if row.waste)

    @property
    def cost_per_month(self) -> float:
        """Sum of the costs that are known."""
        return sum(row.cost_per_month or 0.0 for row in self.rows)

    @property
    def deployments(self) -> int:
        """How many deployments there are [count]."""
        return sum(bool(row.deployment) for row in self.rows)


@dataclass(frozen=True)
class Facts:
    """What is known of the endpoints besides themselves.

    Attributes
    ----------
    requests
        Requests of the last 24 hours, by endpoint (ARM id in lower case) and deployment (in lower case) [count].
    changes
        Changes of the activity log, newest first.
    prices
        List prices by region.
    ownership
        Policies by endpoint's name, in lower case.
    """

    requests: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    changes: Sequence[ActivityEvent] = ()
    prices: Mapping[str, PriceList] = field(default_factory=dict)
    ownership: Mapping[str, Ownership] = field(default_factory=dict)


def make_inventory(
    estate: Estate, facts: Facts, at: datetime, requests: int, unread: Sequence[Unread]
) -> Inventory:
    """Join the endpoints with what is known of them."""
    newest: dict[str, ActivityEvent] = {}
    for event in facts.changes:
        newest.setdefault(event.resource_id.lower(), event)
    rows = sorted(
        (row for endpoint in estate.endpoints for row in _rows(endpoint, facts, newest)),
        key=lambda row: (row.subscription, row.resource_group, row.workspace, row.endpoint, row.deployment),
    )
    return Inventory(
        at,
        estate.source,
        tuple(rows),
        tuple(unread),
        len(estate.workspaces),
        requests,
        estate.scope,
        estate.endpoints,
        estate.autoscale,
    )


def _rows(endpoint: Endpoint, facts: Facts, newest: Mapping[str, ActivityEvent]) -> Iterator[InventoryRow]:
    row, changed = _of_endpoint(endpoint, facts), newest.get(endpoint.id.lower())
    if not endpoint.deployments:
        yield _with_change(row, endpoint, changed)
    for one in endpoint.deployments:
        events = (event for event in (newest.get(one.id.lower()), changed) if event)
        latest = max(events, key=lambda event: event.at, default=None)
        yield _with_change(_with_deployment(row, endpoint, one, facts), endpoint, latest)


def _of_endpoint(endpoint: Endpoint, facts: Facts) -> InventoryRow:
    name, lease = ResourceName.of(endpoint.id), read_lease(endpoint.tags)
    known = facts.ownership.get(endpoint.name.lower())
    owner, source = _owner(endpoint, known)
    return InventoryRow(
        subscription=name.subscription,
        resource_group=name.group,
        workspace=name.workspace,
        endpoint=endpoint.name,
        deployment="",
        region=_region(endpoint),
        endpoint_state=endpoint.provisioning_state,
        auth_mode=endpoint.auth_mode,
        public_access=str(endpoint.arm["properties"].get("publicNetworkAccess") or ""),
        owner=owner,
        owner_source=source,
        lease=f"{lease.change} until {lease.deadline.astimezone(UTC):%F %T}" if lease else "",
        policy=known.policy if known else "",
        id=endpoint.id,
    )


def _with_deployment(row: InventoryRow, endpoint: Endpoint, one: Deployment, facts: Facts) -> InventoryRow:
    prices = facts.prices.get(row.region)
    price = prices.find(one.instance_type) if prices else None
    cost = DeploymentCost(
        one.name,
        one.instance_type,
        one.instance_count,
        price.per_hour if price else None,
        endpoint.traffic.get(one.name, 0),
        endpoint.mirror_traffic.get(one.name, 0),
        one.provisioning_state,
    )
    served = facts.requests.get(endpoint.id.lower())
    requests = None if served is None else served.get(one.name.lower(), 0)
    return replace(
        row,
        deployment=one.name,
        state=one.provisioning_state,
        traffic=cost.weight,
        mirror=cost.mirrored,
        instance_type=one.instance_type,
        instances=one.instance_count,
        model=one.model,
        environment=one.environment,
        cost_per_month=None if cost.per_month is None else round(float(cost.per_month), 2),
        currency=prices.currency if prices and price else "",
        requests_per_day=requests,
        waste=waste(cost, requests, 24.0) or (UNUSED if requests == 0 else ""),
        id=one.id,
    )


def _with_change(row: InventoryRow, endpoint: Endpoint, event: ActivityEvent | None) -> InventoryRow:
    """Add the newest change; beyond the activity log's 90 days only its time is known."""
    if event is None:
        modified = str((endpoint.arm.get("systemData") or {}).get("lastModifiedAt") or "")
        return replace(row, last_change_at=modified[:19])
    return replace(
        row,
        last_change_at=event.at.astimezone(UTC).isoformat(timespec="seconds")[:19],
        last_changed_by=event.caller,
        last_change=event.operation.split("/workspaces/", maxsplit=1)[-1],
    )


def _owner(endpoint: Endpoint, known: Ownership | None) -> tuple[str, str]:
    if known:
        return known.team, "policy"
    tags = {name.lower(): value for name, value in endpoint.tags.items()}
    tagged = next((tags[name] for name in OWNER_TAGS if tags.get(name)), "")
    if tagged:
        return tagged, "tag"
    creator = str((endpoint.arm.get("systemData") or {}).get("createdBy") or "")
    return creator, "created by" if creator else ""


def _region(endpoint: Endpoint) -> str:
    return str(endpoint.arm["location"]).replace(" ", "").lower()
