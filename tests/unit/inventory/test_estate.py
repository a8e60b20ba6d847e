"""Reading many workspaces: by Azure Resource Graph, by lists, throttled, and with few permissions."""

import pytest
from estate_fixture import REGIONS, SUBSCRIPTIONS, Estate, workspace_id

from opslib.azure.estate import read_estate
from opslib.azure.resource_graph import query_graph
from opslib.errors import AzureError
from opslib.model import EstateScope
from opslib.runbooks.inventory import conclusion, read_inventory
from opslib.sandbox.graph.quota import QUERIES

ALL = EstateScope()
RESOURCE_GRAPH = "/providers/Microsoft.ResourceGraph/resources"
UNKNOWN_QUERY = {"query": "Resources | mv-expand tags"}
TYPE = "microsoft.machinelearningservices/workspaces/onlineendpoints"
SAVED_REQUESTS = 52
"""The lists: subscriptions, two of workspaces, 11 of endpoints, 30 of deployments, ten of autoscale.

The graph: a query, a list."""


def quiet(_):
    """Take no notice of progress."""


def test_both_routes_find_the_same(estate: Estate):
    """Resource Graph and lists give the same rows; the lists take a request per endpoint and workspace more."""
    by_graph = read_inventory(estate.workspace, ALL, "", quiet)
    by_lists = read_inventory(estate.workspace, ALL, "", quiet, "lists")
    assert by_graph.rows == by_lists.rows
    assert (len(by_graph.rows), by_graph.workspaces) == (60, 11)
    assert by_graph.source == "Azure Resource Graph"
    assert by_lists.requests - by_graph.requests == SAVED_REQUESTS


def test_rows_hold_what_azure_knows(estate: Estate):
    """Cost, requests of the day, state and owner of each deployment; prices that are unknown are named."""
    inventory = read_inventory(estate.workspace, ALL, "", quiet)
    rows = {(row.endpoint, row.deployment): row for row in inventory.rows}
    served, unused = rows["endpoint-0000", "blue"], rows["endpoint-0001", "blue"]
    assert (served.requests_per_day, served.waste) == (2, "")
    assert (unused.requests_per_day, unused.waste) == (
        0,
        "idle: takes traffic, and no request came in the last 24 h",
    )
    assert served.cost_per_month == pytest.approx(213.89)
    assert rows["endpoint-0003", "green"].waste == "failed, and billed until it is deleted"
    assert (served.owner, served.owner_source) == ("team-0", "tag")
    assert (served.model, served.workspace, served.resource_group) == ("model-0:1", "ws-0", "team-0")
    assert {part.part.split(" in ")[-1] for part in inventory.unread} == set(REGIONS) - {"eastus"}
    assert "incomplete" in conclusion(inventory)[1]


def test_a_scope_narrows_every_route(estate: Estate):
    """Subscription, group, workspace and endpoint are conditions; what was named and not found is reported."""
    scope = EstateScope((SUBSCRIPTIONS[0],), ("TEAM-0", "team-9"), ("ws-0",), "endpoint-0010")
    for route in ("graph", "lists"):
        found = read_estate(estate.workspace.arm, scope, route=route)
        assert [one.name for one in found.endpoints] == ["endpoint-0010"]
        assert [one.part for one in found.unread] == ["resource group team-9"]


def test_a_caller_sees_what_a_role_allows_and_the_rest_is_named(estate: Estate):
    """A reader of one workspace gets it by Resource Graph; metrics are read one by one, the log is unread."""
    with estate.caller("Reader", workspace_id(0)) as workspace:
        inventory = read_inventory(workspace, EstateScope(workspaces=("ws-0", "ws-1")), "", quiet)
    assert {row.workspace for row in inventory.rows} == {"ws-0"}
    assert all(row.requests_per_day is not None for row in inventory.rows)
    parts = {one.part for one in inventory.unread}
    assert {"workspace ws-1", f"activity log of subscription {SUBSCRIPTIONS[0]}"} <= parts


def test_an_unreadable_workspace_is_not_an_empty_one(estate: Estate):
    """Resource Graph leaves endpoints out that may not be read; the workspace's own list gives the reason."""
    with (
        estate.fault("arm-error", operation="OnlineEndpoints_List", status=403, code="AuthorizationFailed"),
        estate.caller("Reader", workspace_id(0)) as workspace,
    ):
        found = read_estate(workspace.arm, EstateScope(workspaces=("sandbox", "ws-0")), route="lists")
    assert not found.endpoints
    assert any("403" in one.reason for one in found.unread)


def test_lists_take_over_where_resource_graph_refuses(estate: Estate):
    """The source names the refusal; it is raised where no other way is allowed."""
    with estate.fault("arm-error", operation="Resources", status=403, code="Forbidden"):
        found = read_estate(estate.workspace.arm, ALL)
        with pytest.raises(AzureError, match="403"):
            read_estate(estate.workspace.arm, ALL, route="graph")
    assert found.source == "lists (Azure Resource Graph: 403 Forbidden)"
    assert len(found.endpoints) == 30


def test_pages_are_joined(estate: Estate):
    """Pages join without a gap; a query that the sandbox does not know is refused with its reason."""
    kql = f"Resources | where type =~ '{TYPE}' | project id, name"
    with estate.sandbox.arm() as arm:
        options: dict[str, object] = {"$top": 7}
        body = {"query": f"{kql} | order by id asc", "options": options}
        names = []
        while True:
            answer = arm.post(RESOURCE_GRAPH, json=body).raise_for_status().json()
            names += [row["name"] for row in answer["data"]]
            if "$skipToken" not in answer:
                break
            options["$skipToken"] = answer["$skipToken"]
        assert sorted(names) == [f"endpoint-{n:04d}" for n in range(30)]
        assert answer["totalRecords"] == 30
        refused = arm.post(RESOURCE_GRAPH, json=UNKNOWN_QUERY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadRequest")


def test_a_query_above_the_quota_waits_and_is_answered(estate: Estate):
    """The quota counts each query, also a refused one; the client waits for Retry-After and sends it again."""
    with estate.sandbox.arm() as arm:
        sent = (arm.post(RESOURCE_GRAPH, json=UNKNOWN_QUERY) for _ in range(10 * QUERIES))
        throttled = next(answer for answer in sent if answer.status_code == 429)
    assert throttled.json()["error"]["code"] == "RateLimiting"
    assert throttled.headers["x-ms-user-quota-remaining"] == "0"
    before = estate.workspace.arm.requests
    assert len(query_graph(estate.workspace.arm, f"Resources | where type =~ '{TYPE}' | project id")) == 30
    assert estate.workspace.arm.requests - before > 1
