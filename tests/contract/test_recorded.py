"""The sandbox against what Azure was recorded to answer: status, headers, keys, types, nulls, order of states."""

import re

import httpx
import pytest
from recorded_form import differences, recorded_exchanges
from replay import Replay
from sandbox_fixture import RunningSandbox

from opslib.sandbox.cli.differences import DIFFERENCES

ON_PURPOSE = {
    "retry-after-ms": "polling of operations",
    "properties.scoringUri": "scoringUri, swaggerUri",
    "properties.swaggerUri": "scoringUri, swaggerUri",
    "properties.isDefault": "other datastores",
}
"""Places where an answer differs and may, and the difference of SUPPORT.md that has the reason."""


@pytest.fixture(scope="module")
def answers(sandbox: RunningSandbox, arm: httpx.Client) -> dict[str, httpx.Response]:
    return Replay(sandbox, arm).run()


def test_every_recorded_exchange_is_answered_as_azure_answered(
    answers: dict[str, httpx.Response], capsys: pytest.CaptureFixture[str]
):
    """Status, headers, keys, types and nulls are Azure's, but for what SUPPORT.md names."""
    recorded = recorded_exchanges()
    assert answers.keys() == recorded.keys()
    found = {name: diff for name, one in recorded.items() if (diff := differences(one, answers[name]))}
    unmeant = {name: diff for name, diff in found.items() if diff.keys() - ON_PURPOSE.keys()}
    with capsys.disabled():
        print(
            f"\nrecorded exchanges: {len(recorded)}; equal {len(recorded) - len(found)}, "
            f"differing on purpose {len(found) - len(unmeant)}, otherwise {len(unmeant)}"
        )
    assert unmeant == {}
    assert set(ON_PURPOSE.values()) <= {one.what for one in DIFFERENCES}


def test_an_update_shows_the_traffic_before_it(answers: dict[str, httpx.Response]):
    """The answer to a PUT has the weights of before, a read after its end those that were sent."""
    put, read = answers["endpoint put, existing, traffic"].json(), answers["endpoint get after traffic"].json()
    assert put["properties"]["traffic"] == {"blue": 100}
    assert read["properties"]["traffic"] == {"blue": 0, "green": 100}
    assert put["systemData"] == read["systemData"]


def test_addresses_of_operations_are_long_and_whole(answers: dict[str, httpx.Response], arm: httpx.Client):
    """A signed address has 3.5 to 4.5 KB; one that was cut is refused by name."""
    address = answers["deployment update, 2025"].headers["Azure-AsyncOperation"]
    assert 3500 < len(address) < 4500
    cut = arm.get(address[:2000])
    assert (cut.status_code, cut.json()["error"]["code"]) == (400, "BadRequest")
    assert "not whole" in cut.json()["error"]["message"]
    assert arm.get(address.split("&t=")[0]).status_code == 200


def test_headers_identify_a_request_as_azure_does(answers: dict[str, httpx.Response]):
    """An answer of Azure ML has one id under two names, how long it took, and who called; ARM's own has no type."""
    read, absent = answers["endpoint get, ready"].headers, answers["endpoint delete, absent"].headers
    assert read["x-ms-request-id"] == read["x-ms-correlation-request-id"]
    assert 0 <= float(read["x-request-time"]) < 5
    assert read["request-context"].startswith("appId=cid-v1:")
    assert re.fullmatch(
        r"tenantId=[-0-9a-f]{36},objectId=[-0-9a-f]{36}/eastus/[-0-9a-f]{36}", read["x-ms-operation-identifier"]
    )
    assert {"x-ms-response-type", "x-request-time"}.isdisjoint(absent)
    score = answers["score"].headers
    assert {"x-ms-run-fn-exec-ms", "x-request-id", "azureml-model-deployment"} <= set(score)
