"""opslib's client against answers as no service should give them: it reads them rightly or names what it cannot."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_in import ENDPOINT, Azure, StandIn
from starlette.requests import Request
from starlette.responses import Response

from opslib.azure.capacity import read_quotas
from opslib.azure.endpoint_changes import delete_deployment, scale, set_traffic
from opslib.azure.endpoints import list_endpoints, read_endpoint, read_scoring_key
from opslib.azure.platform_metrics import PlatformMetrics
from opslib.azure.resource import read_resource, weights, writable
from opslib.azure.rules import read_autoscale
from opslib.errors import AzureError, ObserveError, OperationFailed, OperationTimeout, UnexpectedAnswer
from opslib.model import Observation, SetInstanceCount, SetTraffic

SPLIT = {"blue": 90, "green": 10}
SHIFT = SetTraffic("fraud", {"blue": 100}, SPLIT)
PLAIN = Azure().endpoint()
MAPS = ("traffic", "tags", "mirrorTraffic", "environmentVariables", "userAssignedIdentities")
SPELLINGS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "capital": lambda name: name[:1].upper() + name[1:],
}


def quiet(_text: str) -> None:
    pass


def respelled(body: Any, spell: Callable[[str], str]) -> Any:
    """Spell every member name otherwise, but not the names that a team gave; in the opposite order."""
    if isinstance(body, list):
        return [respelled(one, spell) for one in body]
    if not isinstance(body, dict):
        return body
    items = reversed(body.items())
    return {spell(key): value if key in MAPS else respelled(value, spell) for key, value in items}


def spelled_resource(spell: Callable[[str], str]) -> Callable[[Any], Any]:
    """Respell resources; a list's `value` and an operation's `status` are azure-core's to read."""

    def alter(body: Any) -> Any:
        if "value" in body:
            return {**body, "value": respelled(body["value"], spell)}
        return respelled(body, spell) if "properties" in body else body

    return alter


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_names_in_another_case_and_order_are_read_and_changed(stand_in: StandIn, spelling: str):
    """ARM compares names without regard to case; so does opslib, and writes them in Azure's spelling."""
    stand_in.azure.alter = spelled_resource(SPELLINGS[spelling])
    workspace = stand_in.workspace()
    set_traffic(workspace, SHIFT, 20, quiet)
    assert read_endpoint(workspace, "fraud").traffic == SPLIT
    sent = stand_in.azure.writes[0][2]
    assert sent is not None
    assert sent["properties"]["traffic"] == SPLIT
    assert sent["properties"]["properties"] == {}
    assert not {name.lower() for name in sent["properties"]} & {"scoringuri", "swaggeruri", "provisioningstate"}


SINCE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def observe(stand_in: StandIn, value: str) -> Observation:
    """Observe two minutes of which every metric is answered like this."""
    stand_in.azure.answer = lambda _request: Response(f'{{"value": {value}}}', media_type="application/json")
    return PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, SINCE + timedelta(minutes=2))


def series(code: str, points: str) -> str:
    """Write one series of deployment blue and a status code."""
    names = {"deployment": '"blue"', "STATUSCODE": code}
    values = ", ".join(f'{{"name": {{"value": "{name}"}}, "value": {value}}}' for name, value in names.items())
    return f'[{{"timeseries": [{{"metadatavalues": [{values}], "data": {points}}}]}}]'


@pytest.mark.parametrize("value", ["[]", '[{"timeseries": null}]', series('"200"', "null"), series('"200"', "[]")])
def test_metrics_without_data_are_none(stand_in: StandIn, value: str):
    """A metric that has no series yet counts nothing, and claims nothing to be complete."""
    seen = observe(stand_in, value)
    assert (seen.total, seen.intervals) == ({}, ())


@pytest.mark.parametrize("code", ['"200"', "200"])
def test_metrics_are_read_with_any_fraction_of_a_second(stand_in: StandIn, code: str):
    """Seven digits and an offset are read as six digits and Z are; a point without a value is left out."""
    points = (
        '[{"timeStamp": "2026-03-02T08:00:00.0000000+00:00", "average": 30}, {"timeStamp": "2026-03-02T08:01:00Z"}]'
    )
    assert observe(stand_in, series(code, points)).total["blue"].requests == 30


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("null", "metric RequestsPerMinute is not understood: expected a list `value`"),
        ("[7]", "metric RequestsPerMinute is not understood"),
        (series('"200"', '[{"average": 1}]'), "metric RequestsPerMinute is not understood.*timeStamp"),
        (
            series('"2xx"', '[{"timeStamp": "2026-03-02T08:00:00Z", "average": 1}]'),
            "status code '2xx', expected a number",
        ),
    ],
)
def test_metrics_that_are_not_understood_are_named(stand_in: StandIn, value: str, words: str):
    """Neither a failure nor a success is made up of them."""
    with pytest.raises(ObserveError, match=words):
        observe(stand_in, value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    spell=st.sampled_from([str, *SPELLINGS.values()]),
    dropped=st.sets(st.sampled_from(["description", "compute", "mirrorTraffic", "swaggerUri", "scoringUri"])),
    nulls=st.sets(st.sampled_from(["tags", "kind", "systemData", "identity", "location"])),
    extra=st.dictionaries(
        st.text("abcXYZ", min_size=4, max_size=8), st.none() | st.integers() | st.text(), max_size=4
    ),
)
def test_a_put_is_the_same_whatever_the_service_leaves_out_or_adds(spell, dropped, nulls, extra):
    """What was missing or null is not sent, what opslib does not know is sent back as it was read."""
    body = {**PLAIN, **dict.fromkeys(nulls)}
    body["properties"] = {key: value for key, value in PLAIN["properties"].items() if key not in dropped} | extra
    sent = writable(read_resource(respelled(body, spell), ENDPOINT))
    assert sent.keys() == {"location", "tags", "kind", "identity", "properties"} - nulls
    known = {"authMode", "traffic", "publicNetworkAccess", "properties", "mirrorTraffic"} - dropped
    added = {spell(name): value for name, value in extra.items() if value is not None}
    assert sent["properties"].keys() == known | added.keys()
    assert sent["properties"]["traffic"] == {"blue": 100}
    assert "principalId" not in sent.get("identity", {})


@settings(max_examples=20)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_what_is_no_resource_is_named(body):
    """The message has what was expected and what was seen."""
    with pytest.raises(
        UnexpectedAnswer, match=r"^/x: Azure's answer is not understood: expected a resource .*, got "
    ):
        read_resource(body, "/x")


@pytest.mark.parametrize(
    ("seen", "read"),
    [(None, {}), ({}, {}), ({"blue": 90.0, "Green": "10", "red": None}, {"blue": 90, "Green": 10})],
)
def test_weights_are_whole_numbers(seen: Any, read: dict[str, int]):
    """Null is no traffic; numbers in text or with a zero fraction are the numbers."""
    assert weights(seen, "traffic") == read


@pytest.mark.parametrize("seen", [[], "blue", {"blue": "much"}, {"blue": 1.5}, {"blue": True}, {"blue": []}])
def test_weights_that_are_none_are_named(seen: Any):
    """A weight that is not understood is never taken for zero."""
    with pytest.raises(UnexpectedAnswer, match="not understood"):
        weights(seen, "traffic")


def without_headers(*names: str) -> Callable[[Azure], None]:
    """Let changes be answered without these headers."""

    def lose(azure: Azure) -> None:
        azure.alter_headers = lambda sent: {name: value for name, value in sent.items() if name not in names}

    return lose


def lost_operation(status: int, content: str) -> Callable[[Azure], None]:
    """Let every poll of an operation be answered like this."""

    def answer(request: Request) -> Response | None:
        found = "mfeOperation" in request.url.path
        return Response(content, status, media_type="application/json") if found else None

    def lose(azure: Azure) -> None:
        azure.answer = answer

    return lose


def foreign_operation(azure: Azure) -> None:
    """Let changes name an operation on another host, which must never be sent the token."""
    azure.alter_headers = lambda _sent: {"Azure-AsyncOperation": "https://198.51.100.7/operation"}


LOST = {
    "no Azure-AsyncOperation": without_headers("Azure-AsyncOperation"),
    "no header at all": without_headers("Azure-AsyncOperation", "Location"),
    "404": lost_operation(404, '{"error": {"code": "ResourceNotFound", "message": "gone"}}'),
    "200 without a body": lost_operation(200, ""),
    "200 with null": lost_operation(200, "null"),
    "200 with a list": lost_operation(200, "[]"),
    "200 without a status": lost_operation(200, '{"name": "x"}'),
    "200 that is no JSON": lost_operation(200, "<html>sign in</html>"),
    "another host": foreign_operation,
}


@pytest.mark.parametrize("kind", LOST)
def test_a_change_whose_operation_is_lost_is_followed_on_the_resource(stand_in: StandIn, kind: str):
    """The traffic is set, and the wait ends only when the endpoint itself shows it."""
    LOST[kind](stand_in.azure)
    workspace = stand_in.workspace()
    set_traffic(workspace, SHIFT, 20, quiet)
    assert stand_in.azure.shown == SPLIT
    assert len(stand_in.azure.writes) == 1


@pytest.mark.parametrize("kind", ["no header at all", "404", "200 with null"])
def test_a_lost_deletion_ends_when_the_deployment_is_gone(stand_in: StandIn, kind: str):
    """202 without an address is not taken for the end: the deployment must answer 404."""
    LOST[kind](stand_in.azure)
    delete_deployment(stand_in.workspace(), "fraud", "green", 20, quiet)
    assert "green" not in stand_in.azure.capacity


def test_a_lost_operation_that_failed_is_found_on_the_resource(stand_in: StandIn):
    """The endpoint in state Failed is the failure of the change."""
    stand_in.azure.failure = {"code": "X", "message": "x"}
    LOST["404"](stand_in.azure)
    with pytest.raises(OperationFailed, match="state Failed, expected Succeeded"):
        set_traffic(stand_in.workspace(), SHIFT, 20, quiet)


def with_state(state: Any) -> Callable[[Any], Any]:
    def alter(body: Any) -> Any:
        if isinstance(body, dict) and body.get("id") == ENDPOINT:
            body["properties"]["provisioningState"] = state
        return body

    return alter


@pytest.mark.parametrize("state", ["succeeded", "SUCCEEDED", "failed"])
def test_states_are_compared_in_any_case(stand_in: StandIn, state: str):
    """An endpoint that ended is changed, however its state is spelled."""
    stand_in.azure.alter = with_state(state)
    assert read_endpoint(stand_in.workspace(), "fraud").provisioning_state == state.capitalize()
    assert set_traffic(stand_in.workspace(), SHIFT, 20, quiet).changed


def test_a_state_never_seen_is_waited_for_and_named(stand_in: StandIn):
    """It may be an operation: nothing is changed while it lasts."""
    stand_in.azure.alter = with_state("Migrating")
    with pytest.raises(OperationTimeout, match=r"fraud Migrating\). Nothing was"):
        set_traffic(stand_in.workspace(), SHIFT, 0.2, quiet)
    assert stand_in.azure.writes == []


@pytest.mark.parametrize("state", [None, "", 7])
def test_a_missing_state_is_not_guessed(stand_in: StandIn, state: Any):
    """Whether an operation runs is not known, so nothing is changed."""
    stand_in.azure.alter = with_state(state)
    with pytest.raises(UnexpectedAnswer, match="provisioningState is missing"):
        set_traffic(stand_in.workspace(), SHIFT, 20, quiet)
    assert stand_in.azure.writes == []


@pytest.mark.parametrize("sku", [None, {}, {"capacity": None}, {"capacity": "many"}])
def test_an_instance_count_is_not_guessed(stand_in: StandIn, sku: Any):
    """Without a number before there is no drift check, so nothing is changed."""
    stand_in.azure.alter = lambda body: {**body, "sku": sku} if "sku" in body else body
    with pytest.raises(UnexpectedAnswer, match=r"sku.capacity: Azure's answer is not understood"):
        scale(stand_in.workspace(), SetInstanceCount("fraud", "green", 1, 3), 20, quiet)
    assert stand_in.azure.writes == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<html>sign in</html>", "expected a JSON object.*<html>sign in"),
        ("[1]", "expected a JSON object"),
        ("null", "expected a resource with an object `properties`, got nothing"),
        ("", "expected a resource with an object `properties`, got nothing"),
        ('{"name": "fraud"}', "expected a resource with an object `properties`, got nothing"),
        ('{"properties": []}', "expected a resource with an object `properties`, got list"),
    ],
)
def test_a_body_that_is_no_resource_is_named(stand_in: StandIn, content: str, words: str):
    """200 alone is no endpoint."""
    stand_in.azure.answer = lambda _request: Response(content, 200, media_type="application/json")
    with pytest.raises(UnexpectedAnswer, match=words):
        read_endpoint(stand_in.workspace(), "fraud")


def pages(following: str) -> Callable[[Request], Response | None]:
    return lambda _request: Response(f'{{"value": [{{"name": "a"}}], "nextLink": "{following}"}}')


def test_pages_that_form_a_loop_end(stand_in: StandIn):
    """A list that refers to itself is refused: what was read may not be all."""
    stand_in.azure.answer = pages(f"{stand_in.url}/again")
    with pytest.raises(UnexpectedAnswer, match="page that was read before"):
        list_endpoints(stand_in.workspace())


def test_a_page_on_another_host_is_not_fetched(stand_in: StandIn):
    """The token is never sent elsewhere."""
    stand_in.azure.answer = pages("https://198.51.100.7/more")
    with pytest.raises(UnexpectedAnswer, match=r"another host, 198\.51\.100\.7, expected https://127\.0\.0\.1"):
        list_endpoints(stand_in.workspace())


@pytest.mark.parametrize(("value", "found"), [("null", 0), ("[]", 0), ('[{"name": "a"}]', 1)])
def test_an_empty_list_is_one_without_items(stand_in: StandIn, value: str, found: int):
    """Null counts as none."""
    stand_in.azure.answer = lambda _request: Response(f'{{"value": {value}, "nextLink": null}}')
    assert len(list_endpoints(stand_in.workspace())) == found


@pytest.mark.parametrize("keys", ['{"primaryKey": null, "secondaryKey": null}', "{}", "null"])
def test_a_key_that_is_not_there_is_named(stand_in: StandIn, keys: str):
    """Azure answers listKeys with nulls where the endpoint has no keys (recorded in 2025)."""
    workspace = stand_in.workspace()
    endpoint = read_endpoint(workspace, "fraud")
    stand_in.azure.answer = lambda _request: Response(keys, media_type="application/json")
    with pytest.raises(AzureError, match="no primaryKey"):
        read_scoring_key(workspace, endpoint)


def test_usages_with_totals_and_nulls_are_read(stand_in: StandIn):
    """The rows of clusters and all cores are there beside the families (recorded in 2025); no limit is -1."""
    workspace = stand_in.workspace()
    endpoint = read_endpoint(workspace, "fraud")
    rows = '{"name": {"value": "totalClusters"}, "currentValue": 1, "limit": 200}, {"name": null, "limit": null}'
    stand_in.azure.answer = lambda _request: Response(f'{{"value": [{rows}]}}')
    assert [(one.used, one.limit) for one in read_quotas(workspace, endpoint)] == [(1, 200), (0, -1)]


def test_an_autoscale_setting_is_found_by_an_id_in_any_spelling(stand_in: StandIn):
    """Ids come back in other cases than they were sent in (recorded in 2025)."""
    workspace = stand_in.workspace()
    endpoint, target = read_endpoint(workspace, "fraud"), f"{ENDPOINT}/deployments/blue"
    row = f'{{"NAME": "s", "Properties": {{"Enabled": true, "targetresourceuri": "{target.upper()}/"}}}}'
    stand_in.azure.answer = lambda _request: Response(f'{{"value": [{row}]}}')
    (setting,) = read_autoscale(workspace, endpoint)
    assert (setting.name, setting.deployment) == ("s", "blue")


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*SPELLINGS.values()]), st.integers(1, 4), st.booleans())
def test_a_change_and_its_undo_meet_in_the_state_before(stand_in: StandIn, spell, polls: int, lost: bool):
    """However the service spells, however long it takes, with or without an operation to poll."""
    stand_in.azure = azure = Azure(url=stand_in.url, polls=polls, alter=spelled_resource(spell))
    if lost:
        LOST["200 without a body"](azure)
    workspace = stand_in.workspace()
    set_traffic(workspace, SHIFT, 20, quiet, lambda tags: {**tags, "lease": "run"})
    set_traffic(workspace, SetTraffic("fraud", SPLIT, {"blue": 100}), 20, quiet, lambda _: {"team": "risk"})
    assert (azure.shown, azure.tags) == ({"blue": 100}, {"team": "risk"})
