"""Send scoring requests to an endpoint as its clients do, and check the answers.

azure-ai-ml's `invoke` is not used: it leaks the deployment header into later calls of the process, retries, and
drops status codes, so that failures would not be counted. This client sends each request once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_scoring_key
from opslib.definitions.probes import Probe
from opslib.definitions.tolerance import differences
from opslib.model import Endpoint, ProbeResult
from opslib.model.served import PROBE_PREFIX

TIMEOUT_S = 185.0
"""Longer than the longest request timeout of a managed endpoint (180 s), whose 408 then arrives [seconds]."""


class ScoringClient:
    """Sends requests to one endpoint, each once, over persistent connections."""

    def __init__(self, http: httpx.Client, endpoint: Endpoint, key: str) -> None:
        self._http = http
        self._uri = endpoint.scoring_uri
        self._key = key

    def send(self, probe: Probe, deployment: str = "") -> ProbeResult:
        """Send one request and check the answer; `deployment` is forced by header, even at 0 % traffic."""
        return self.send_and_read(probe, deployment)[0]

    def send_and_read(self, probe: Probe, deployment: str = "") -> tuple[ProbeResult, Any]:
        """Send as `send` does, and return the answer too: None if there is none or another deployment gave it."""
        client_request_id = f"{PROBE_PREFIX}{uuid4().hex[:24]}"
        headers = {"Authorization": f"Bearer {self._key}", "x-ms-client-request-id": client_request_id}
        if deployment:
            headers["azureml-model-deployment"] = deployment
        sent_at, begun_s = datetime.now(UTC), perf_counter()
        answer = None
        try:
            response = self._http.post(self._uri, json=probe.request, headers=headers)
        except httpx.HTTPError as error:
            status, answered_by, request_id, problem = None, "", "", f"no answer: {error}"
        else:
            status = response.status_code
            answered_by = response.headers.get("azureml-model-deployment", "")
            request_id = response.headers.get("x-request-id") or response.headers.get("x-ms-request-id", "")
            misrouted = bool(deployment and answered_by and answered_by.lower() != deployment.lower())
            answer = None if misrouted else _json(response)
            problem = (
                f"answered by {answered_by}, sent to {deployment}"
                if misrouted
                else _problem(response, answer, probe)
            )
        latency_ms = round((perf_counter() - begun_s) * 1000, 3)
        result = ProbeResult(sent_at, status, latency_ms, answered_by, client_request_id, problem, request_id)
        return result, answer

    def send_all(self, probes: Sequence[Probe], requests: int, deployment: str = "") -> Iterator[ProbeResult]:
        """Send `requests` requests, cycling through the probes."""
        for number in range(requests):
            yield self.send(probes[number % len(probes)], deployment)


@contextmanager
def scoring_client(
    workspace: Workspace, endpoint: Endpoint, timeout_s: float = TIMEOUT_S, key: str = ""
) -> Iterator[ScoringClient]:
    """Open a client on an endpoint, with a given key or token, or one that is read for its authMode."""
    key = key or read_scoring_key(workspace, endpoint)
    with httpx.Client(verify=workspace.tls, timeout=timeout_s) as http:
        yield ScoringClient(http, endpoint, key)


def failures(results: Iterable[ProbeResult]) -> list[ProbeResult]:
    """Return the results without the expected answer."""
    return [result for result in results if not result.ok]


def _json(response: httpx.Response) -> Any:
    try:
        return response.json() if response.status_code == 200 else None
    except ValueError:
        return None


def _problem(response: httpx.Response, answer: Any, probe: Probe) -> str:
    """Describe what is wrong with an answer; empty where nothing is."""
    if response.status_code != 200:
        reason = response.headers.get("ms-azureml-model-error-reason", "")
        body = " ".join(response.text.split())[:300]
        return f"status {response.status_code} {reason}: {body}".replace(" :", ":")
    if answer is None and response.text.strip() != "null":
        return f"not JSON: {response.text[:300]}"
    if probe.answer is None:
        return ""
    difference = next(differences(answer, probe.answer, probe.tolerance), "")
    if not difference:
        return ""
    where = f" ({difference})" if isinstance(probe.answer, dict | list) else ""
    return f"answered {json.dumps(answer)[:300]}, expected {json.dumps(probe.answer)[:300]}{where}"
