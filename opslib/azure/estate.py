"""The endpoints of all workspaces that a caller can read, in as few requests as possible.

One query of Azure Resource Graph; where the caller may not use it, paged lists in parallel. Resource Graph leaves
out what the caller may not read, and follows changes some minutes late. So a workspace that looks empty or
incomplete there is listed by itself, which finds its content or the reason why it cannot be read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from opslib.autoscale.setting import API_VERSION as AUTOSCALE_API_VERSION
from opslib.azure.arm import ArmClient, Json, Progress
from opslib.azure.endpoints import API_VERSION, make_endpoint
from opslib.azure.parallel import read_all
from opslib.azure.resource import read_resource, spelled, unexpected
from opslib.azure.resource_graph import query_graph
from opslib.errors import AzureError, NotFound, UnexpectedAnswer
from opslib.model import Endpoint, Estate, EstateScope, ResourceName, Unread
from opslib.model.text import counted

Route = Literal["auto", "graph", "lists"]

SUBSCRIPTIONS_API_VERSION = "2022-12-01"
AUTOSCALE_PART = "autoscale settings"
PROVIDER = "Microsoft.MachineLearningServices"

_WORKSPACE = f"{PROVIDER}/workspaces".lower()
_ENDPOINT = f"{_WORKSPACE}/onlineendpoints"
_DEPLOYMENT = f"{_ENDPOINT}/deployments"
_AUTOSCALE = "microsoft.insights/autoscalesettings"
_COLUMNS = "id, name, type, location, tags, kind, sku, identity, properties, systemData"


def read_estate(
    arm: ArmClient, scope: EstateScope, progress: Progress = lambda _: None, route: Route = "auto"
) -> Estate:
    """Read the endpoints and deployments of all workspaces in a scope.

    Parameters
    ----------
    arm
        Client of Azure Resource Manager.
    scope
        Where to look; empty: everywhere.
    progress
        Is called with what was read so far.
    route
        "graph": Azure Resource Graph; "lists": paged lists; "auto": lists where Resource Graph refuses.

    Raises
    ------
    AzureError
        If nothing at all can be read.
    """
    refusal = ""
    if route != "lists":
        try:
            return _missing_named(_from_graph(arm, scope, progress), scope)
        except AzureError as error:
            if route == "graph":
                raise
            refusal = f" (Azure Resource Graph: {error.status or ''} {error.code})".replace("  ", " ")
            progress(f"Azure Resource Graph cannot be used, listing instead: {error}")
    workspaces, unread = _list_workspaces(arm, scope)
    progress(f"{counted(len(workspaces), 'workspace')} found")
    listed, failed = _list_endpoints(arm, workspaces, scope, progress)
    endpoints = _sorted(listed)
    settings, unlisted = _list_autoscale(arm, endpoints)
    autoscale, strange = _of_these(settings, endpoints)
    parts = (*unread, *failed, *unlisted, *strange)
    return _missing_named(
        Estate(f"lists{refusal}", endpoints, tuple(workspaces), parts, autoscale=autoscale), scope
    )


def _from_graph(arm: ArmClient, scope: EstateScope, progress: Progress) -> Estate:
    types = ", ".join(f"'{kind}'" for kind in (_WORKSPACE, _ENDPOINT, _DEPLOYMENT, _AUTOSCALE))
    groups = ", ".join(f"'{group.lower()}'" for group in scope.groups)
    inside = f" | where tolower(resourceGroup) in ({groups})" if groups else ""
    kql = f"resources | where type in ({types}){inside} | project {_COLUMNS} | order by id asc"
    found = [_identified(row, "Azure Resource Graph") for row in query_graph(arm, kql, scope.subscriptions)]
    progress(f"{counted(len(found), 'resource')} read from Azure Resource Graph")
    settings = [row for row in found if str(row.get("type")).lower() == _AUTOSCALE]
    rows = [row for row in found if str(row.get("type")).lower() != _AUTOSCALE and _chosen(row["id"], scope)]
    by_type: dict[str, list[Json]] = {_WORKSPACE: [], _ENDPOINT: [], _DEPLOYMENT: []}
    for row in rows:
        by_type.get(str(row.get("type")).lower(), []).append(row)
    deployments: dict[str, list[Json]] = {}
    for row in by_type[_DEPLOYMENT]:
        deployments.setdefault(_above(str(row["id"])), []).append(row)
    made, strange = _make([(row, deployments.get(row["id"].lower(), [])) for row in by_type[_ENDPOINT]])
    endpoints = {one.id.lower(): one for one in made}
    workspaces = [str(row["id"]) for row in by_type[_WORKSPACE]]
    doubtful = {*_doubtful(workspaces, endpoints), *(one for one in workspaces if one.lower() in strange)}
    listed, unread = _list_endpoints(arm, [one for one in workspaces if one in doubtful], scope, progress)
    endpoints |= {one.id.lower(): one for one in listed}
    ordered = _sorted(endpoints.values())
    autoscale, unknown = _of_these(settings, ordered)
    return Estate("Azure Resource Graph", ordered, tuple(workspaces), (*unread, *unknown), autoscale=autoscale)


def _doubtful(workspaces: Iterable[str], endpoints: dict[str, Endpoint]) -> list[str]:
    """Return the workspaces whose content in Resource Graph may be incomplete: nothing in it, or fields missing."""
    complete: dict[str, bool] = {}
    for key, endpoint in endpoints.items():
        routed = endpoint.traffic.keys() <= {one.name for one in endpoint.deployments}
        whole = bool(endpoint.deployments) and routed and "traffic" in endpoint.arm["properties"]
        complete[_above(key)] = complete.get(_above(key), True) and whole
    return [one for one in workspaces if not complete.get(one.lower())]


def _list_workspaces(arm: ArmClient, scope: EstateScope) -> tuple[list[str], list[Unread]]:
    """List the workspaces in the scope, subscription by subscription."""
    subscriptions = scope.subscriptions or tuple(
        _identified(one, "/subscriptions", "subscriptionId")["subscriptionId"]
        for one in arm.list("/subscriptions", SUBSCRIPTIONS_API_VERSION)
    )
    places = [
        f"/subscriptions/{subscription}{group}"
        for subscription in subscriptions
        for group in ([f"/resourceGroups/{name}" for name in scope.groups] or [""])
    ]
    found: list[str] = []
    unread: list[Unread] = []
    for read in read_all(lambda place: _listed(arm, f"{place}/providers/{PROVIDER}/workspaces"), places):
        found += [str(one["id"]) for one in read.value or ()]
        if read.error is not None and not isinstance(read.error, NotFound):
            unread.append(Unread(read.key.removeprefix("/").replace("/", " "), str(read.error)))
    return [one for one in found if _chosen(one, scope)], unread


def _list_endpoints(
    arm: ArmClient, workspaces: Iterable[str], scope: EstateScope, progress: Progress
) -> tuple[list[Endpoint], list[Unread]]:
    """List the endpoints of workspaces, and the deployments of each."""
    bodies: list[Json] = []
    unread: list[Unread] = []
    for read in read_all(lambda one: _listed(arm, f"{one}/onlineEndpoints"), workspaces):
        bodies += [one for one in read.value or () if _chosen(str(one["id"]), scope)]
        if read.error is not None:
            unread.append(Unread(f"endpoints of workspace {_describe(read.key)}", str(read.error)))
    by_id = {str(one["id"]): one for one in bodies}
    pairs: list[tuple[Json, list[Json]]] = []
    for number, deployments in enumerate(read_all(lambda one: _listed(arm, f"{one}/deployments"), by_id), start=1):
        if deployments.error is not None and not isinstance(deployments.error, NotFound):
            reason = str(deployments.error)
            unread.append(Unread(deployments_part(deployments.key), reason))
        pairs.append((by_id[deployments.key], deployments.value or []))
        if number % 100 == 0:
            progress(f"{number:,} of {len(by_id):,} endpoints read")
    endpoints, strange = _make(pairs)
    return endpoints, [*unread, *(one for reasons in strange.values() for one in reasons)]


def _make(pairs: Iterable[tuple[Json, list[Json]]]) -> tuple[list[Endpoint], dict[str, list[Unread]]]:
    """Return the endpoints that were understood, and by workspace why others were not."""
    endpoints: list[Endpoint] = []
    strange: dict[str, list[Unread]] = {}
    for body, deployments in pairs:
        try:
            endpoints.append(make_endpoint(body, deployments))
        except UnexpectedAnswer as error:
            why = Unread(f"endpoint {_describe(body['id'])}", str(error))
            strange.setdefault(_above(body["id"]), []).append(why)
    return endpoints, strange


def _listed(arm: ArmClient, path: str) -> list[Json]:
    return [_identified(one, path) for one in arm.list(path, API_VERSION)]


def _identified(row: Json, what: str, name: str = "id") -> Json:
    """Return a row with the names that are read here in Azure's spelling; it must have an id."""
    read = spelled(row, ("id", "name", "type", "subscriptionId"))
    if not isinstance(read.get(name), str) or not read[name]:
        raise unexpected(f"{what}: {name}", "text", read.get(name))
    return read


def _list_autoscale(arm: ArmClient, endpoints: Iterable[Endpoint]) -> tuple[list[Json], list[Unread]]:
    """List the autoscale settings of the endpoints' resource groups."""
    groups = {_group(one.id).lower(): _group(one.id) for one in endpoints}

    def read(group: str) -> list[Json]:
        return arm.list(f"{group}/providers/Microsoft.Insights/autoscaleSettings", AUTOSCALE_API_VERSION)

    found: list[Json] = []
    unread: list[Unread] = []
    for one in read_all(read, groups.values()):
        found += one.value or ()
        if one.error is not None:
            unread.append(Unread(f"{AUTOSCALE_PART} of {one.key.rpartition('/')[2]}", str(one.error)))
    return found, unread


def _of_these(settings: Iterable[Json], endpoints: Iterable[Endpoint]) -> tuple[tuple[Json, ...], list[Unread]]:
    """Return the settings that target a deployment of the endpoints, and why others were not understood."""
    known = {one.id.lower().strip("/") for one in endpoints}
    found: list[Json] = []
    strange: list[Unread] = []
    for number, row in enumerate(settings, start=1):
        try:
            found.append(read_resource(row, "autoscaleSettings"))
        except UnexpectedAnswer as error:
            strange.append(Unread(f"{AUTOSCALE_PART}, row {number}", str(error)))
    return tuple(row for row in found if _target(row).rpartition("/deployments/")[0] in known), strange


def _target(setting: Json) -> str:
    return str(setting["properties"].get("targetResourceUri")).lower().strip("/")


def _group(resource_id: str) -> str:
    return resource_id.partition("/providers/")[0]


def _missing_named(estate: Estate, scope: EstateScope) -> Estate:
    """Add what was named and not found: it may not exist, or the caller may not see it."""
    names = [ResourceName.of(one) for one in estate.workspaces]
    found = {
        "subscription": {name.subscription.lower() for name in names},
        "resource group": {name.group.lower() for name in names},
        "workspace": {name.workspace.lower() for name in names},
        "endpoint": {one.name.lower() for one in estate.endpoints},
    }
    asked = {
        "subscription": scope.subscriptions,
        "resource group": scope.groups,
        "workspace": scope.workspaces,
        "endpoint": (scope.endpoint,) if scope.endpoint else (),
    }
    reported = " ".join(one.part.lower() for one in estate.unread)
    missing = tuple(
        Unread(
            f"{kind} {name}", "nothing was found there: it is empty, does not exist, or the caller may not read it"
        )
        for kind, wanted in asked.items()
        for name in wanted
        if name.lower() not in found[kind] and name.lower() not in reported
    )
    return replace(estate, unread=(*estate.unread, *missing), scope=scope)


def _chosen(resource_id: str, scope: EstateScope) -> bool:
    """Return whether a resource's id lies in the scope; a workspace is there whatever endpoint is wanted."""
    name = ResourceName.of(resource_id)
    pairs = (
        (name.group, scope.groups),
        (name.workspace, scope.workspaces),
        (name.endpoint, (scope.endpoint,) if scope.endpoint and name.endpoint else ()),
    )
    return all(not wanted or value.lower() in {one.lower() for one in wanted} for value, wanted in pairs)


def _above(resource_id: str) -> str:
    """Return the id of the resource above, in lower case."""
    return resource_id.lower().rsplit("/", 2)[0]


def deployments_part(endpoint_id: str) -> str:
    """Return how the deployments of an endpoint are named where they could not be read."""
    return f"deployments of endpoint {_describe(endpoint_id)}"


def _describe(resource_id: str) -> str:
    name = ResourceName.of(resource_id)
    return "/".join(part for part in (name.group, name.workspace, name.endpoint) if part)


def _sorted(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(sorted(endpoints, key=lambda one: one.id.lower()))


def regions_of(endpoints: Iterable[Endpoint]) -> Iterator[tuple[tuple[str, str], list[Endpoint]]]:
    """Group endpoints by subscription and region, in which Azure Monitor and prices are read."""
    groups: dict[tuple[str, str], list[Endpoint]] = {}
    for one in endpoints:
        region = str(one.arm.get("location") or "").replace(" ", "").lower()
        groups.setdefault((ResourceName.of(one.id).subscription, region), []).append(one)
    yield from sorted(groups.items())
