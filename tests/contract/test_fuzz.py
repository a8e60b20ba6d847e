import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_fixture import RunningSandbox, running_sandbox

from opslib.sandbox.arm.routing import Auth, Route
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.server.routes import ROUTES

UNGUARDED = (Auth.OPEN, Auth.BLOB, Auth.KEY_OR_TOKEN)
NASTY = [
    "..",
    "%2e%2e",
    "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
    "%00",
    "%",
    "a" * 3000,
    "%F0%9F%92%A5",
    "%2F",
    "'",
    "*",
    " ",
]
WORDS = [
    "properties",
    "location",
    "identity",
    "tags",
    "sku",
    "traffic",
    "kind",
    "faults",
    "profiles",
    "logs",
    "name",
]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["PT5S", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


RULE = {
    "metricTrigger": {
        "metricName": "RequestLatency",
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT5M",
        "timeAggregation": "Average",
        "operator": "GreaterThan",
        "threshold": 1,
    },
    "scaleAction": {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"},
}
SCHEDULE = {"timeZone": "UTC", "days": ["Monday"], "hours": [1], "minutes": [2]}
TEMPLATE = {
    "parameters": {"name": {"type": "string", "defaultValue": "[concat('a', 'b')]", "maxLength": 9}},
    "variables": {
        "v": "[parameters('name')]",
        "copy": [{"name": "many", "count": 2, "input": "[copyIndex('many')]"}],
    },
    "resources": [
        {
            "type": "Microsoft.KeyVault/vaults",
            "name": "[variables('v')]",
            "apiVersion": "2023-07-01",
            "copy": {"name": "all", "count": 1},
            "dependsOn": ["[resourceId('Microsoft.KeyVault/vaults', 'b')]"],
            "properties": {"copy": [{"name": "p", "count": 1, "input": {}}]},
        }
    ],
    "outputs": {"o": {"type": "string", "value": "[reference('ab').vaultUri]", "condition": True}},
}
WHEN = {"fixedDate": None, "recurrence": {"frequency": "Week", "schedule": SCHEDULE}}
GOOD = (
    {
        "location": "eastus",
        "tags": {},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/a/b": {}}},
    },
    {"location": "eastus", "properties": {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}, "properties": {}}},
    {
        "location": "eastus",
        "sku": {"name": "Default", "capacity": 1},
        "properties": {
            "instanceType": "Standard_DS3_v2",
            "codeConfiguration": {"codeId": "/codes/c/versions/1", "scoringScript": "score.py"},
            "requestSettings": {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1},
            "livenessProbe": {"period": "PT10S", "failureThreshold": 3},
            "environmentVariables": {"A": "b"},
            "model": "/models/m/versions/1",
        },
    },
    {
        "location": "eastus",
        "properties": {
            "targetResourceUri": "/x",
            "profiles": [
                {"name": "p", "capacity": {"minimum": "1", "maximum": "2", "default": "1"}, "rules": [RULE], **WHEN}
            ],
        },
    },
    {
        "location": "global",
        "properties": {
            "scopes": ["/x"],
            "severity": 1,
            "enabled": True,
            "evaluationFrequency": "PT1M",
            "windowSize": "PT5M",
            "criteria": {
                "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                "allOf": [
                    {
                        "name": "c",
                        "metricName": "RequestLatency",
                        "operator": "GreaterThan",
                        "threshold": 1,
                        "timeAggregation": "Average",
                        "dimensions": [{"name": "deployment", "operator": "Include", "values": ["*"]}],
                    }
                ],
            },
        },
    },
    {"properties": {"workspaceId": "/w", "logs": [{"category": "AmlOnlineEndpointTrafficLog", "enabled": True}]}},
    {
        "properties": {
            "roleName": "r",
            "permissions": [{"actions": ["*"]}],
            "principalId": "p",
            "roleDefinitionId": "r",
        }
    },
    {"properties": {"mode": "Incremental", "template": TEMPLATE, "parameters": {"name": {"value": "ab"}}}},
    {"properties": {"modelUri": "azureml://x", "codeUri": "https://x/y", "condaFile": "a: [", "dataUri": "d"}},
    {"keyType": "Primary", "keyValue": "k", "containerType": "InferenceServer", "tail": 3, "query": "T | take 3"},
    {"seed": 1, "faults": [{"kind": "metric-gap", "seconds": 0.01}], "name": "n", "role": "Reader", "seconds": 5},
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox that may be harmed, with an endpoint to aim at."""
    with running_sandbox(
        tmp_path_factory.mktemp("fuzz") / "home", Settings(operation_s=0.0, max_requests_per_second=5)
    ) as running:
        with running.arm() as arm:
            body = {"location": "eastus", "properties": {"authMode": "Key"}}
            arm.put(running.endpoint_id("real"), json=body).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def wire(alone: RunningSandbox) -> Iterator[httpx.Client]:
    with alone.http() as client:
        yield client


PLACES = st.just("") | st.sampled_from(NASTY) | st.text(string.ascii_letters + "-._~", min_size=1, max_size=40)
"""What fills a place of a template; empty: what is there."""


@st.composite
def _paths(draw: st.DrawFn, route: Route, sandbox: RunningSandbox) -> str:
    """An address that fits a route's template, with what is there or what is nasty in its places."""
    real = {**sandbox.workspace, "subscription": sandbox.workspace["subscription_id"], "endpoint": "real"}
    real |= {
        "group": real["resource_group"],
        "workspace": real["workspace_name"],
        "scope*": sandbox.endpoint_id("real"),
    }

    def fill(match: re.Match[str]) -> str:
        name, _, words = match.group(1).partition(":")
        if words:
            return draw(st.sampled_from(words.split("|")))
        good = real.get(name, "thing").strip("/")
        return draw(PLACES) or good

    return re.sub(r"\{([^}]+)\}", fill, route.template)


ONE_OF_FIVE = st.integers(0, 4)


@st.composite
def _spoiled(draw: st.DrawFn) -> Any:
    """A good body with junk in one place."""

    def spoil(value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or draw(ONE_OF_FIVE) == 0:
            return draw(JUNK)
        key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        copy = value.copy()
        copy[key] = spoil(value[key])
        return copy

    return spoil(draw(st.sampled_from(GOOD)))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


# made once: hypothesis takes a third of its time to check strategies that are made for each example
BODIES = _spoiled().map(_json) | st.binary(max_size=60) | JUNK.map(_json)
QUERIES = st.dictionaries(
    st.sampled_from(["$filter", "$skip", "timespan", "interval", "comp", "resource", "tags", "aggregation"]),
    st.text(max_size=30) | st.sampled_from(["block", "PT0S", "a/b", "-1", "9" * 30, "x eq 'y'"]),
    max_size=3,
)


@settings(max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_route_breaks(data: st.DataObject, alone: RunningSandbox, wire: httpx.Client):
    """Malformed addresses, bodies and queries are refused with 4xx or a named 501, never with a 500."""
    route = data.draw(st.sampled_from(ROUTES))
    headers = {"Authorization": f"Bearer {_token(alone)}", "X-IDENTITY-HEADER": alone.home.identity_header()}
    body, query = data.draw(BODIES), data.draw(QUERIES)
    answer = wire.request(
        route.method, data.draw(_paths(route, alone)), content=body, params=query, headers=headers
    )
    assert answer.status_code < 500 or answer.status_code == 501, (answer.status_code, answer.text[:500])
    if route.method == "POST" and route.operation == "Sandbox_DeclareFaults":
        wire.delete("/sandbox/faults", headers=headers)


@settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_is_open_without_a_token(data: st.DataObject, alone: RunningSandbox, wire: httpx.Client):
    """Without a valid token every guarded route answers 401 or 403, whatever else is wrong."""
    route = data.draw(st.sampled_from([one for one in ROUTES if one.auth not in UNGUARDED]))
    bad = ["", "Bearer", "Bearer x.y.z", f"Basic {_token(alone)}", f"Bearer {_token(alone)[:-4]}AAAA"]
    headers = {"Authorization": data.draw(st.sampled_from(bad))}
    path = data.draw(_paths(route, alone).filter(lambda path: not any(one in path for one in NASTY)))
    answer = wire.request(route.method, path, content=b"{}", headers=headers)
    assert answer.status_code in (401, 403), (route.operation, path, answer.status_code)


def test_nothing_escaped_and_nothing_was_traced(alone: RunningSandbox):
    """After all that: no traceback in the log, no file beside the sandbox's own folder, and it still serves."""
    assert "Traceback" not in alone.home.log.read_text(errors="replace")
    assert {path.name for path in alone.home.root.parent.iterdir()} == {"home"}
    known = {
        "ca.pem",
        "ca-azure.pem",
        "config.json",
        "port",
        "azure-port",
        "private",
        "sandbox.json",
        "sandbox.log",
        "state",
    }
    assert {path.name for path in Path(alone.home.root).iterdir()} <= known
    with alone.arm() as arm:
        made = arm.put(alone.workspace_id, json={"location": "eastus"})  # a deletion may have been among them
        assert made.status_code in (200, 201)
        assert arm.get(alone.workspace_id).status_code == 200


def test_an_endpoint_has_a_limit_of_requests_per_second(alone: RunningSandbox):
    """What is beyond it is 429, and it is over with the second."""
    path = alone.endpoint_id("limited")  # the result of the other one is unknown
    with alone.arm() as arm:
        arm.put(path, json={"location": "eastus", "properties": {"authMode": "Key"}}).raise_for_status()
        key = arm.post(f"{path}/listKeys").json()["primaryKey"]
        uri = wait_until(lambda: arm.get(path).json()["properties"]["scoringUri"])  # null until it is created
        headers = {"Authorization": f"Bearer {key}"}
        seen = Counter(arm.post(uri, json={}, headers=headers).status_code for _ in range(50))
        assert set(seen) == {404, 429}
        wait_until(lambda: arm.post(uri, json={}, headers=headers).status_code == 404)


@pytest.mark.parametrize("size_bytes", [5_000_000])
def test_a_body_beyond_the_limit_is_refused(size_bytes: int, alone: RunningSandbox):
    """What is longer than ARM reads is 413."""
    with alone.arm() as arm:
        assert arm.put(alone.endpoint_id("real"), content=b"x" * size_bytes).status_code == 413


_TOKENS: dict[str, str] = {}


def _token(sandbox: RunningSandbox) -> str:
    if sandbox.url not in _TOKENS:
        _TOKENS[sandbox.url] = sandbox.token()
    return _TOKENS[sandbox.url]
