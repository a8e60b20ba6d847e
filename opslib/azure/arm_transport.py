"""Requests to Azure Resource Manager: authenticated, repeated where that is safe, with errors mapped to ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import DecodeError, ServiceResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    HeadersPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from opslib.azure.arm_errors import mapped_errors, unreadable_body
from opslib.azure.resource import Json
from opslib.azure.throttle import BoundedRetry, SharedPause
from opslib.errors import AzureError

HTTP_TIMEOUTS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60}
"""Timeouts of one request: to connect, and to read each part of a response [seconds].

azure-core's default is 300 s for each, and it retries. A lease is not renewed during a request and would expire.
"""

MAX_TOKEN_RETRIES = 10
"""Attempts with an expired token, one second apart; azure-identity renews late where clocks differ [count]."""


class RepeatRefused(AzureError):  # noqa: N818 - what happened
    """Azure refused the repetition of a PUT whose first answer was lost: the first attempt may be under way."""


@dataclass(frozen=True)
class ArmResponse:
    """A response of ARM: its body, and the pipeline response that azure-core polls with."""

    body: Json
    correlation_id: str
    pipeline: "PipelineResponse[Any, Any]"
    status: int
    headers: Mapping[str, str]


class ArmTransport:
    """Sends requests to one Azure Resource Manager.

    Attributes
    ----------
    resource_manager
        Base URL, without a trailing slash.
    client
        The client of azure-core, with which its pollers read operations.
    """

    def __init__(
        self, resource_manager: str, credential: TokenCredential, scope: str, http: RequestsTransport | None = None
    ) -> None:
        self._pause = SharedPause()
        self.resource_manager = resource_manager
        self.client: ARMPipelineClient[Any, Any] = ARMPipelineClient(
            base_url=resource_manager,
            policies=[
                RequestIdPolicy(),
                HeadersPolicy({"Accept": "application/json"}),
                UserAgentPolicy("opslib"),
                BoundedRetry(retry_total=6, retry_status=6, retry_backoff_max=20),
                self._pause,
                ARMChallengeAuthenticationPolicy(credential, scope or f"{resource_manager}/.default"),
                ContentDecodePolicy(),
            ],
            transport=http or RequestsTransport(**HTTP_TIMEOUTS),
        )

    @property
    def requests(self) -> int:
        """Requests sent so far, repeated ones included [count]."""
        return self._pause.requests

    def is_own(self, url: str) -> bool:
        """Return whether an address is the resource manager's: a request to another would carry the token there."""
        parts, own = urlsplit(url), urlsplit(self.resource_manager)
        host, own_host = parts.hostname or "", own.hostname or ""
        same_host = host == own_host or host.endswith(f".{own_host}")
        return not parts.scheme or (
            parts.scheme == "https" and same_host and (parts.port or 443) == (own.port or 443)
        )

    def send(
        self,
        method: str,
        path: str,
        api_version: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> ArmResponse:
        """Send one request; an error of Azure is raised as one of ours.

        Raises
        ------
        RepeatRefused
            If a PUT was repeated since its answer was lost, and met an operation: perhaps its own.
        """
        url = path if path.startswith("https://") else self.client.format_url(path)
        params = {"api-version": api_version, **(query or {})} if api_version else {}
        with mapped_errors(f"{method} {path}"):
            for _ in range(MAX_TOKEN_RETRIES):
                request = HttpRequest(method, url, params=params, json=body)
                pipeline = self.client.send_request(request, _return_pipeline_response=True)
                response = pipeline.http_response
                if response.status_code != 401 or "ExpiredAuthenticationToken" not in response.text():
                    break
                sleep(1.0)  # the policy has dropped its token and will request another one
            if method == "PUT" and response.status_code == 409 and _lost_an_answer(pipeline):
                with mapped_errors(f"{method} {path}", RepeatRefused):
                    response.raise_for_status()
            response.raise_for_status()
        correlation_id = response.headers.get("x-ms-correlation-request-id", "")
        content = _content(response, f"{method} {path}")
        return ArmResponse(content, correlation_id, pipeline, response.status_code, response.headers)


def _lost_an_answer(pipeline: "PipelineResponse[Any, Any]") -> bool:
    """Return whether an earlier attempt of a request reached the service, perhaps, and its answer did not come."""
    attempts = pipeline.context.get("history", ())
    return any(isinstance(attempt.error, ServiceResponseError) for attempt in attempts)


def _content(response: Any, what: str) -> Json:
    """Return the JSON object of an answer; empty where there is no body, or where it is null as after a DELETE."""
    if not response.content.strip():
        return {}
    try:
        content = response.json()
    except (ValueError, DecodeError) as error:
        raise unreadable_body(response, what) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise unreadable_body(response, what)
    return content
