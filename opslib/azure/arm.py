"""Client of Azure Resource Manager (ARM): reads, writes, long-running operations, and errors mapped to ours.

azure-ai-ml is not used here: it takes seconds to import (this module: 0.2 s), and its read-modify-write drops
`modelMountPath` and `startupProbe` of a deployment.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    UserAgentPolicy,
)
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.arm_polling import ARMPolling

from opslib.azure.throttle import SharedPause
from opslib.errors import AccessDenied, AzureError, NotFound, OperationFailed, OperationTimeout, PollError
from opslib.model import Receipt

Json = dict[str, Any]
Progress = Callable[[str], None]
"""Called about once a second during a wait, with Azure's name of the current state."""

POLL_INTERVAL_S = 5.0
"""Used where the service sends no Retry-After; azure-ai-ml uses 5 s or 30 s [seconds]."""


@dataclass(frozen=True)
class _ArmResponse:
    """A response of ARM: its body, and the pipeline response that azure-core polls with."""

    body: Json
    correlation_id: str
    pipeline: "PipelineResponse[Any, Any]"


HTTP_TIMEOUTS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60}
"""Timeouts of one request: to connect, and to read each part of a response [seconds].

azure-core's default is 300 s for each, and it retries. A lease is not renewed during a request and would expire.
"""

INCONCLUSIVE_STATUSES = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Statuses of a poll that do not show how the operation ended."""

MAX_POLL_GAP_S = 120.0
"""Longest time without a conclusive poll; meanwhile no canary is observed and no lease renewed [seconds]."""

MAX_TOKEN_RETRIES = 10
"""Attempts with an expired token, one second apart; azure-identity renews late where clocks differ [count]."""


class ArmClient:
    """Authenticated client of Azure Resource Manager.

    Parameters
    ----------
    resource_manager
        Base URL, without a trailing slash.
    credential
        Gives tokens for the scope ``<resource_manager>/.default``.
    """

    def __init__(self, resource_manager: str, credential: TokenCredential) -> None:
        self._pause = SharedPause()
        self._client: ARMPipelineClient[Any, Any] = ARMPipelineClient(
            base_url=resource_manager,
            policies=[
                RequestIdPolicy(),
                HeadersPolicy({"Accept": "application/json"}),
                UserAgentPolicy("opslib"),
                RetryPolicy(retry_total=6, retry_status=6, retry_backoff_max=20),
                self._pause,
                ARMChallengeAuthenticationPolicy(credential, f"{resource_manager}/.default"),
                ContentDecodePolicy(),
            ],
            **HTTP_TIMEOUTS,
        )

    @property
    def requests(self) -> int:
        """Requests sent so far, repeated ones included [count]."""
        return self._pause.requests

    def get(self, path: str, api_version: str, **query: str) -> Json:
        """Read one resource."""
        return self._send("GET", path, api_version, query=query).body

    def list(self, path: str, api_version: str, **query: str) -> list[Json]:
        """Read all pages of a collection (at most 1000)."""
        page = self._send("GET", path, api_version, query=query).body
        items: list[Json] = list(page.get("value", []))
        for _ in range(1000):
            if not page.get("nextLink"):
                break
            page = self._send("GET", page["nextLink"], "").body
            items += page.get("value", [])
        return items

    def post(self, path: str, api_version: str, body: Json | None = None) -> Json:
        """Call an action that is not a long-running operation."""
        return self._send("POST", path, api_version, body=body or {}).body

    def write(
        self,
        method: str,
        path: str,
        api_version: str,
        *,
        body: Json | None = None,
        deadline_s: float,
        progress: Progress,
    ) -> Receipt:
        """Change a resource and wait until the long-running operation has ended.

        Raises
        ------
        OperationFailed
            If it ended as Failed or Canceled; `code` is ARM's.
        OperationTimeout
            If it did not end within `deadline_s`; it may still be running.
        """
        started_at, begun_s = datetime.now(UTC), monotonic()
        response = self._send(method, path, api_version, body=body)
        what = f"{method} {'/'.join(path.split('/')[-2:])}"
        self._follow(response, what, deadline_s, progress)
        return Receipt(method, path, response.correlation_id, started_at, round(monotonic() - begun_s, 3))

    def _follow(self, response: _ArmResponse, what: str, deadline_s: float, progress: Progress) -> None:
        """Wait for the end of an operation; where a poll is throttled or fails, poll again with a new poller."""
        begun_s = conclusive_s = monotonic()
        while True:
            polling_s = monotonic()
            poller: LROPoller[Any] = LROPoller(
                self._client, response.pipeline, lambda body: body, ARMPolling(timeout=POLL_INTERVAL_S)
            )
            try:
                return await_operation(poller, what, max(1.0, deadline_s - (polling_s - begun_s)), progress)
            except PollError as error:
                if monotonic() - polling_s > MAX_POLL_GAP_S / 2:
                    conclusive_s = monotonic()  # azure-core gives a failing poll up sooner: some polls succeeded
                if monotonic() - conclusive_s > MAX_POLL_GAP_S:
                    raise
                progress(f"the state of the operation cannot be read; trying again: {error}")
                sleep(1.0)

    def _send(
        self,
        method: str,
        path: str,
        api_version: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> _ArmResponse:
        url = path if path.startswith("https://") else self._client.format_url(path)
        params = {"api-version": api_version, **(query or {})} if api_version else {}
        with mapped_errors(f"{method} {path}"):
            for _ in range(MAX_TOKEN_RETRIES):
                request = HttpRequest(method, url, params=params, json=body)
                pipeline = self._client.send_request(request, _return_pipeline_response=True)
                response = pipeline.http_response
                if response.status_code != 401 or "ExpiredAuthenticationToken" not in response.text():
                    break
                sleep(1.0)  # the policy has dropped its token and will request another one
            response.raise_for_status()
        content = response.json() if response.content else {}
        correlation_id = response.headers.get("x-ms-correlation-request-id", "")
        return _ArmResponse(content, correlation_id, pipeline)


def await_operation(poller: LROPoller[Any], what: str, deadline_s: float, progress: Progress) -> None:
    """Wait for a long-running operation, in steps of a second so that an interrupt is handled soon."""
    begun_s = monotonic()
    while not poller.done():
        if monotonic() - begun_s > deadline_s:
            raise OperationTimeout(
                f"{what} did not end within {deadline_s:.0f} s (last status: {poller.status()}). It may still be "
                "running: check the resource's provisioningState before doing anything else"
            )
        with mapped_operation(what):
            poller.wait(1.0)
        progress(f"{what}: {poller.status()}")
    with mapped_operation(what):
        poller.result()


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Raise azure-core's errors as ours."""
    try:
        yield
    except HttpResponseError as error:
        code = error.error.code if error.error and error.error.code else ""
        headers = getattr(error.response, "headers", {})
        correlation_id = headers.get("x-ms-correlation-request-id", "")
        kind = _KINDS.get(error.status_code or 0, AzureError)
        message = f"{what}: {error.status_code} {describe(error)}"
        raise kind(message, error.status_code, code, correlation_id) from error
    except CoreError as error:
        raise AzureError(f"{what}: {error.message}") from error


_KINDS = {403: AccessDenied, 404: NotFound}


@contextmanager
def mapped_operation(what: str) -> Iterator[None]:
    """Raise the failure of a long-running operation as ours; the poll has status 200, its body the error code."""
    try:
        yield
    except HttpResponseError as error:
        if error.status_code in INCONCLUSIVE_STATUSES:
            raise PollError(f"{what}: {error.status_code} {describe(error)}") from error
        code = error.error.code if error.error and error.error.code else ""
        raise OperationFailed(f"{what} failed: {describe(error)}", code) from error
    except CoreError as error:
        raise PollError(f"{what}: {error.message}") from error


def describe(error: HttpResponseError) -> str:
    """Return ARM's error in one line: its code and message, and those of its innermost detail."""
    if error.error is None:
        return str(error.message)
    detail = error.error
    while detail.details:
        detail = detail.details[0]
    outer = f"({error.error.code}) {error.error.message}"
    return outer if detail is error.error else f"{outer} ({detail.code}) {detail.message}"
