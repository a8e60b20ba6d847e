"""Logs, alerts and the estate, answered as no service should: read rightly, or named."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stand_in import ENDPOINT, WORKSPACE, Azure, StandIn
from starlette.requests import Request
from starlette.responses import Response
from test_hostile_answers import SPELLINGS, respelled

from opslib.azure.activity_log import read_changes
from opslib.azure.endpoints import read_endpoint
from opslib.azure.estate import read_estate
from opslib.azure.monitoring import read_monitoring
from opslib.azure.request_log import RequestLog
from opslib.errors import ObserveError, UnexpectedAnswer
from opslib.model import EstateScope

SINCE = datetime(2026, 3, 2, 8, tzinfo=UTC)
AT = "2026-03-02T08:00:05.1234567+00:00"
COLUMNS = (
    "DeploymentName",
    "TimeGenerated",
    "requests",
    "failures",
    "p50_ms",
    "p90_ms",
    "p95_ms",
    "p99_ms",
    "newest",
)
ROW = ("blue", AT, 30, 1, 4.0, 5.0, 6.0, 7.0, AT)


def replying(stand_in: StandIn, body: Any, path: str = "") -> None:
    """Let every request whose address contains a text be answered with a body."""
    text = body if isinstance(body, str) else json.dumps(body)

    def answer(request: Request) -> Response | None:
        return Response(text, media_type="application/json") if path.lower() in request.url.path.lower() else None

    stand_in.azure.answer = answer


def table(*rows: tuple[Any, ...], columns: tuple[str, ...] = COLUMNS) -> dict[str, Any]:
    kinds = {"TimeGenerated": "datetime", "newest": "datetime"}
    named = [{"name": name, "type": kinds.get(name, "dynamic")} for name in columns]
    return {"tables": [{"name": "PrimaryResult", "columns": named, "rows": [list(row) for row in rows]}]}


def observe(stand_in: StandIn, body: Any) -> Any:
    replying(stand_in, body)
    return RequestLog(stand_in.workspace(), ENDPOINT).observe(SINCE, SINCE + timedelta(minutes=2))


def with_field(position: int, value: Any) -> dict[str, Any]:
    return table((*ROW[:position], value, *ROW[position + 1 :]))


@pytest.mark.parametrize(
    "body",
    [table(ROW), table(ROW[::-1], columns=COLUMNS[::-1]), table((*ROW, None), columns=(*COLUMNS, "Another"))],
    ids=["as written", "in another order", "with another column"],
)
def test_the_request_log_is_read_by_its_columns(stand_in: StandIn, body: Any):
    """Their order does not count, nor do columns that were not queried."""
    seen = observe(stand_in, body)
    assert (seen.total["blue"].requests, seen.total["blue"].failures, seen.total["blue"].p95_ms) == (30, 1, 6.0)
    assert seen.watermark == datetime.fromisoformat(AT)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (with_field(0, None), "DeploymentName is None"),
        (with_field(1, None), "Invalid isoformat"),
        (with_field(2, None), "NoneType"),
        (with_field(2, -3), "-3 is no count"),
        (with_field(3, "some"), "some"),
        (with_field(4, None), "NoneType"),
        (with_field(6, "NaN"), "'NaN' is no number"),
        (table(ROW[:-2], columns=COLUMNS[:-2]), "p99_ms"),
        (table(ROW[:-1]), "shorter|longer"),
    ],
)
def test_a_request_log_that_is_not_understood_is_named(stand_in: StandIn, body: Any, words: str):
    """Neither a success nor a failure is made up of a row that lacks a number."""
    with pytest.raises(ObserveError, match=f"the request log is not understood: expected .*({words})"):
        observe(stand_in, body)


def event(**changes: Any) -> dict[str, Any]:
    operation = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write"
    plain = {
        "eventTimestamp": AT,
        "resourceId": ENDPOINT,
        "operationName": {"value": operation, "localizedValue": "Create"},
        "status": {"value": "Succeeded"},
        "caller": "ann@example.com",
        "claims": {"name": "Ann"},
        "correlationId": "c",
        "properties": {},
    }
    return {**plain, **changes}


def changes_read(stand_in: StandIn, *events: Any) -> Any:
    replying(stand_in, {"value": list(events)})
    return read_changes(stand_in.workspace().arm, ["s"])


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_events_are_read_in_any_spelling(stand_in: StandIn, spell: Any):
    """The time, the caller and the operation are the same whatever the case and order of their names."""
    sent = event(claims=None)
    (seen,), unread = changes_read(stand_in, respelled(sent, spell))
    assert (seen.caller, seen.resource_id, seen.at, unread) == (
        "ann@example.com",
        ENDPOINT,
        datetime.fromisoformat(AT),
        (),
    )


@pytest.mark.parametrize("nothing", [{"claims": None}, {"properties": None}, {"claims": "x", "properties": "y"}])
def test_what_an_event_may_lack_is_not_missed(stand_in: StandIn, nothing: dict[str, Any]):
    """Claims and properties add to an event, they are no condition for it."""
    (seen,), unread = changes_read(stand_in, event(**nothing, operationName=event()["operationName"]["value"]))
    assert (seen.caller in ("Ann", "ann@example.com"), unread) == (True, ())


@pytest.mark.parametrize(
    ("strange", "words"),
    [
        ({"eventTimestamp": None}, "eventTimestamp.* expected a time as in ISO 8601, got nothing"),
        ({"eventTimestamp": "yesterday"}, "expected a time as in ISO 8601, got str 'yesterday'"),
        ({"operationName": [1]}, "operationName.* expected text, or an object with a text `value`, got list"),
        ({"status": {"value": 7}}, "status.* got int '7'"),
    ],
)
def test_an_event_that_is_not_understood_is_left_out_and_named(stand_in: StandIn, strange: Any, words: str):
    """The others are read, and the list of what is unread has that one."""
    (seen,), (unread,) = changes_read(stand_in, event(**strange), event())
    assert seen.caller == "Ann"
    assert unread.part == "activity log of subscription s"
    assert unread.reason.startswith("1 of 2 events are left out.")
    assert re.search(words, unread.reason)


def rule(**changes: Any) -> dict[str, Any]:
    return {
        "id": "/r/errors",
        "name": "errors",
        "properties": {"enabled": True, "scopes": [ENDPOINT.upper()], **changes},
    }


def alert(**changes: Any) -> dict[str, Any]:
    plain = {"severity": "Sev1", "alertRule": "/r/errors", "startDateTime": AT, "targetResource": ENDPOINT}
    return {"name": "a", "properties": {"essentials": {**plain, **changes}}}


def monitoring(stand_in: StandIn, rules: list[Any], alerts: list[Any]) -> Any:
    workspace = stand_in.workspace()
    endpoint = read_endpoint(workspace, "fraud")

    def answer(request: Request) -> Response | None:
        value = (
            rules if "metricalerts" in request.url.path.lower() else alerts if "alerts" in request.url.path else []
        )
        return Response(json.dumps({"value": value}), media_type="application/json")

    stand_in.azure.answer = answer
    return read_monitoring(workspace, endpoint)


@pytest.mark.parametrize("spell", [str, *SPELLINGS.values()])
def test_rules_and_alerts_are_read_in_any_spelling(stand_in: StandIn, spell: Any):
    """Names of members and ids are compared without regard to case."""
    seen = monitoring(stand_in, [respelled(rule(), spell)], [respelled(alert(), spell)])
    assert (seen.problem, list(seen.rules.values())) == ("", [True])
    assert [(one.rule, one.severity, one.target) for one in seen.fired] == [("errors", 1, "fraud")]


@pytest.mark.parametrize(
    ("rules", "alerts", "words"),
    [
        ([rule(enabled=None)], [], "rule errors: enabled: .* expected true or false, got nothing"),
        ([rule(enabled="yes")], [], "expected true or false, got str 'yes'"),
        ([rule(scopes=None)], [], "rule errors: scopes: .* expected a list of resource ids, got nothing"),
        ([{"name": "errors"}], [], "rule errors: .* expected a resource with an object `properties`"),
        ([], [{"name": "a", "properties": {"essentials": None}}], "fired alert: essentials: .* expected an object"),
        ([], [{"name": "a"}], "fired alert: .* expected a resource with an object `properties`"),
    ],
)
def test_monitoring_that_is_not_understood_is_a_problem(stand_in: StandIn, rules: Any, alerts: Any, words: str):
    """It is neither watched nor unwatched: preflight shows the problem."""
    seen = monitoring(stand_in, rules, alerts)
    assert not seen.rules
    assert re.search(words, seen.problem)


def graph_rows() -> list[dict[str, Any]]:
    azure = Azure()
    kind = "microsoft.machinelearningservices/workspaces"
    return [
        {"id": WORKSPACE, "type": kind, "name": "harborshield", "properties": {}},
        {**azure.endpoint(), "type": f"{kind}/onlineendpoints"},
        {**azure.deployment("blue"), "type": f"{kind}/onlineendpoints/deployments"},
    ]


def estate(stand_in: StandIn, body: Any, route: Any = "graph") -> Any:
    replying(stand_in, body, "Microsoft.ResourceGraph")
    return read_estate(stand_in.workspace().arm, EstateScope(), route=route)


@pytest.mark.parametrize("spell", [str, *SPELLINGS.values()])
def test_an_estate_is_read_in_any_spelling(stand_in: StandIn, spell: Any):
    """The rows of Azure Resource Graph may spell names otherwise, and types in any case."""
    seen = estate(stand_in, respelled({"data": graph_rows()}, spell))
    assert [(one.name, one.traffic, len(one.deployments)) for one in seen.endpoints] == [
        ("fraud", {"blue": 100}, 1)
    ]
    assert seen.unread == ()


def test_an_estate_in_the_form_of_a_table_is_read(stand_in: StandIn):
    """Azure Resource Graph has two forms of answers; both hold the same rows."""
    rows = graph_rows()
    names = sorted({name for row in rows for name in row})
    columns = [{"name": name, "type": "object"} for name in names]
    seen = estate(
        stand_in, {"data": {"columns": columns, "rows": [[row.get(name) for name in names] for row in rows]}}
    )
    assert [one.name for one in seen.endpoints] == ["fraud"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"data": "none"}, "data: .* expected a list of objects, got str 'none'"),
        ({"data": [7]}, "expected a list of objects, got list"),
        ({"data": [{"type": "x"}]}, "Azure Resource Graph: id: .* expected text, got nothing"),
        ({"data": [], "$skipToken": "same"}, r"\$skipToken: .* expected another page, or none, got str 'same'"),
    ],
)
def test_an_estate_that_is_not_understood_is_named(stand_in: StandIn, body: Any, words: str):
    """An inventory that cannot be complete is none."""
    with pytest.raises(UnexpectedAnswer, match=words):
        estate(stand_in, body)


def test_an_endpoint_that_is_not_understood_is_named_beside_the_others(stand_in: StandIn):
    """A resource without properties is left out with the reason, and the rest is read."""
    broken = {
        **Azure().endpoint(),
        "id": f"{WORKSPACE}/onlineEndpoints/broken",
        "name": "broken",
        "properties": None,
    }

    def answer(request: Request) -> Response | None:
        path = request.url.path.lower()
        if "resourcegraph" in path:
            return Response('{"error": {"code": "Forbidden", "message": "no"}}', 403, media_type="application/json")
        value = {
            "subscriptions": [{"SubscriptionId": "s"}],
            "workspaces": [{"id": WORKSPACE}],
            "onlineendpoints": [broken, Azure().endpoint()],
            "deployments": [Azure().deployment("blue")],
            "autoscalesettings": [{"id": "s", "properties": None}],
        }[path.rsplit("/", 1)[1]]
        return Response(json.dumps({"value": value}), media_type="application/json")

    stand_in.azure.answer = answer
    seen = read_estate(stand_in.workspace().arm, EstateScope())
    assert [one.name for one in seen.endpoints] == ["fraud"]
    unread, setting = seen.unread
    assert (unread.part, setting.part) == ("endpoint production/harborshield/broken", "autoscale settings, row 1")
    assert "expected a resource with an object `properties`, got nothing" in setting.reason
    assert "expected a resource with an object `properties`, got nothing" in unread.reason
