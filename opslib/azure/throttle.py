"""A pause that all requests of a client share: after a 429 or 503, none is sent until Retry-After is over.

azure-core's retry waits for the one request that was throttled. Requests of other threads would continue, and each
would be throttled in its turn.
"""

from threading import Lock
from time import monotonic, sleep
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import SansIOHTTPPolicy

THROTTLED = frozenset({429, 503})

MAX_PAUSE_S = 60.0
"""Longest pause for one Retry-After; the retry of the throttled request itself waits for all of it [seconds]."""


class SharedPause(SansIOHTTPPolicy[Any, Any]):
    """Counts requests, and delays them while the service is throttling.

    Attributes
    ----------
    requests
        Requests sent so far, repeated ones included [count].
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self._resumes_at_s = 0.0
        self._lock = Lock()

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Wait until the pause is over."""
        del request
        sleep(max(0.0, self._resumes_at_s - monotonic()))
        with self._lock:
            self.requests += 1

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        """Begin a pause where the answer names one."""
        del request
        answer = response.http_response
        after = answer.headers.get("Retry-After", "")
        if answer.status_code in THROTTLED and after.replace(".", "", 1).isdigit():
            self._resumes_at_s = max(self._resumes_at_s, monotonic() + min(float(after), MAX_PAUSE_S))
