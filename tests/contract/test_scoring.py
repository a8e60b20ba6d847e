from __future__ import annotations

import json
import math
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sdk
from awaiting import wait_until
from azure.identity import DefaultAzureCredential
from served import ASK, Served, deployment

FALSE_ALARM = 1e-6  # of a split's test, when the split is what it should be


@pytest.fixture(scope="module")
def narrow(make_endpoint: Callable[..., Served]) -> Served:
    """An endpoint whose one deployment works on one request at a time, for three seconds at most."""
    settings = sdk.OnlineRequestSettings(request_timeout_ms=3000, max_concurrent_requests_per_instance=1)
    return make_endpoint("narrow", "blue", request_settings=settings)


def test_traffic_is_split_as_asked(blue_only: Served):
    """Of 600 requests each deployment gets its binomial share."""
    blue_only.set_traffic({"blue": 90, "green": 10})
    with ThreadPoolExecutor(4) as pool:
        seen = sum(pool.map(blue_only.colors, [150] * 4), Counter())
    low, high = acceptance(600, 0.10)
    assert low <= seen["green"] <= high
    assert seen["blue"] + seen["green"] == 600


def test_traffic_updates_lose_no_request(blue_only: Served):
    """While weights go back and forth, every request is answered."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(blue_only.colors, 150) for _ in range(2)]
        while not all(one.done() for one in asked):
            blue_only.set_traffic({"blue": 50, "green": 50})
            blue_only.set_traffic({"green": 100})
    assert sum((one.result() for one in asked), Counter()).total() == 300


def test_header_forces_a_deployment_without_weight(blue_only: Served):
    """`azureml-model-deployment` reaches a deployment at 0 percent, and the answer names who served."""
    answer = blue_only.score(azureml_model_deployment="green")
    assert answer.json()["color"] == "green"
    assert answer.headers["azureml-model-deployment"] == "green"


def test_unknown_forced_deployment_is_not_found(blue_only: Served):
    """A forced deployment that does not exist is a 404."""
    assert blue_only.score(azureml_model_deployment="purple").status_code == 404


def test_mirror_copies_its_share_and_discards_answers(make_endpoint: Callable[..., Served]):
    """Half of the live requests are copied to the mirror, forced ones never, and callers see only blue."""
    served = make_endpoint("mirrored", "blue", "green")
    served.sandbox.keep_logs("mirrored")
    served.set_traffic({"blue": 100}, {"green": 50})
    assert served.colors(200) == {"blue": 200}
    for _ in range(20):
        served.score(azureml_model_deployment="blue")
    low, high = acceptance(200, 0.50)
    assert wait_until(lambda: low <= _log_count(served, "green") <= high)
    assert _log_count(served, "blue") == 220


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic eHg6eA=="])
def test_bad_credentials_are_refused(blue_only: Served, authorization: str):
    """Without the endpoint's key nothing is scored."""
    headers = {"authorization": authorization}
    assert blue_only.http.post(blue_only.url, json=ASK, headers=headers).status_code == 401


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/score"), ("PATCH", "/score"), ("GET", "/")])
def test_a_request_that_is_not_built_is_named(blue_only: Served, method: str, path: str):
    """The answer is 501 with what is built, and does not blame the key."""
    answer = blue_only.http.request(method, blue_only.url.removesuffix("/score") + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented")
    assert "GET, POST, PUT and OPTIONS of a path" in answer.json()["error"]["message"]


def test_secondary_key_is_as_good(blue_only: Served, ml: sdk.MLClient):
    """Both keys open the endpoint."""
    key = ml.online_endpoints.get_keys(blue_only.name).secondary_key
    answer = blue_only.http.post(blue_only.url, json=ASK, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200


def test_aml_token_opens_its_own_endpoint_only(make_endpoint: Callable[..., Served], ml: sdk.MLClient):
    """An AMLToken endpoint's token is issued, checked, and worthless elsewhere."""
    served = make_endpoint("tokened", "blue", auth_mode="aml_token")
    other = make_endpoint("tokened-too", auth_mode="aml_token")
    token = ml.online_endpoints.get_keys(served.name)
    assert token.expiry_time_utc > token.refresh_after_time_utc
    headers = {"authorization": f"Bearer {token.access_token}"}
    assert served.http.post(served.url, json=ASK, headers=headers).status_code == 200
    assert served.http.post(other.url, json=ASK, headers=headers).status_code == 401


def test_aad_token_needs_the_right_audience(
    make_endpoint: Callable[..., Served], credential: DefaultAzureCredential, sandbox
):
    """An AADToken endpoint takes a token for https://ml.azure.com, and no other."""
    served = make_endpoint("entra-scored", "blue", auth_mode="aad_token")
    good = credential.get_token("https://ml.azure.com/.default").token
    for token, status in ((good, 200), (sandbox.token(), 401)):
        headers = {"authorization": f"Bearer {token}"}
        assert served.http.post(served.url, json=ASK, headers=headers).status_code == status


def test_without_traffic_the_endpoint_is_not_found(make_endpoint: Callable[..., Served]):
    """An endpoint whose weights sum to 0 answers 404."""
    assert make_endpoint("idle").score().status_code == 404


def test_slow_model_times_out(narrow: Served):
    """A model slower than request_timeout_ms is answered for with 408 and Envoy's words."""
    answer = narrow.score({"sleep_s": 3.3})
    assert (answer.status_code, answer.text) == (408, "upstream request timeout")
    assert wait_until(lambda: narrow.score().status_code == 200)


def test_model_error_becomes_424(blue_only: Served):
    """A failing run() is a 424 that keeps the model's status, reason and body."""
    answer = blue_only.score({"fail": True})
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert "message" in answer.json()


def test_too_many_pending_requests_are_refused(narrow: Served):
    """Beyond 2 x concurrency x instances pending, requests get 429; those in the queue are served."""

    def ask(_number: int) -> httpx.Response:
        return narrow.score({"sleep_s": 1.2})  # the last one must be sent before the first is answered

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    counts = Counter(answer.status_code for answer in answers)
    assert counts == {200: 2, 429: 4}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["ms-azureml-model-error-reason"] == "too_many_pending_request"


def test_request_ids_follow_azures_rules(blue_only: Served):
    """x-request-id is the service's guid; x-ms-client-request-id comes back if it keeps the rules."""
    answer = blue_only.score(x_request_id="mine", x_ms_client_request_id="run-7_1")
    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["x-ms-client-request-id"] == "run-7_1"
    for bad in ("x" * 41, "with blank", "dot.ted"):
        assert "x-ms-client-request-id" not in blue_only.score(x_ms_client_request_id=bad).headers


def test_swagger_is_the_models_own(blue_only: Served, ml: sdk.MLClient):
    """The swagger address gives the inference server's document."""
    answer = blue_only.http.get(ml.online_endpoints.get(blue_only.name).openapi_uri)
    assert answer.json()["swagger"] == "2.0"


def test_requests_sent_at_once_are_answered_in_turn(blue_only: Served):
    """Plain requests, a chunked one and one with a query, on one connection without waiting, differ in nothing."""
    bodies = [b'{"data": [%d]}' % number for number in range(4)]
    key, path = blue_only.http.headers["authorization"], httpx.URL(blue_only.url).raw_path
    head = b" HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: %b\r\n" % key.encode()
    length = b"content-length: %d\r\n\r\n" % len(bodies[0])
    sent = [b"POST " + path + head + length + bodies[0]]
    chunk = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(bodies[1]), bodies[1])
    sent.append(b"POST " + path + head + chunk)
    sent.append(b"POST " + path + head + length + bodies[2])
    sent.append(b"POST " + path + b"?a=b" + head + b"connection: close\r\n" + length + bodies[3])
    trust = ssl.create_default_context(cafile=blue_only.sandbox.home.authority)
    plain = socket.create_connection(("127.0.0.1", httpx.URL(blue_only.url).port))
    with trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.sendall(b"".join(sent))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    answers = [answer.partition(b"\r\n\r\n") for answer in received.split(b"HTTP/1.1 ")[1:]]
    assert [json.loads(body)["sum"] for _, _, body in answers] == [0, 1, 2, 3]
    names = [{line.partition(b":")[0] for line in head.split(b"\r\n")[1:]} for head, _, _ in answers]
    assert names[0] == names[1] == names[2] == names[3] - {b"connection"}


def test_deployments_come_and_go_unnoticed(blue_only: Served, ml: sdk.MLClient):
    """Creating and deleting a deployment at 0 percent costs no live request."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(blue_only.colors, 300)
        ml.online_deployments.begin_create_or_update(deployment("guest", blue_only.name)).result(60)
        ml.online_deployments.begin_delete("guest", blue_only.name).result(30)
        assert asked.result() == {"blue": 300}


def acceptance(trials: int, chance: float) -> tuple[int, int]:
    """The counts that a fair binomial leaves with probability FALSE_ALARM at most."""
    mass = [
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(trials - hits + 1)
            + hits * math.log(chance)
            + (trials - hits) * math.log1p(-chance)
        )
        for hits in range(trials + 1)
    ]
    low, tail = 0, mass[0]
    while tail <= FALSE_ALARM / 2:
        low, tail = low + 1, tail + mass[low + 1]
    high, tail = trials, mass[trials]
    while tail <= FALSE_ALARM / 2:
        high, tail = high - 1, tail + mass[high - 1]
    return low, high


def _log_count(served: Served, color: str) -> int:
    query = f"AmlOnlineEndpointTrafficLog | where DeploymentName == '{color}' | count"
    headers = {"Authorization": f"Bearer {served.sandbox.token()}"}
    with served.sandbox.http(headers=headers) as client:
        answer = client.post(f"/v1{served.sandbox.endpoint_id(served.name)}/query", json={"query": query})
    return int(answer.json()["tables"][0]["rows"][0][0])
