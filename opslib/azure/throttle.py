"""What a client does while the service throttles it.

A pause that all requests share: azure-core's retry waits for the one request that was throttled. Requests of other
threads would continue, and each would be throttled in its turn.
"""

from threading import Lock
from time import monotonic, sleep
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy

THROTTLED = frozenset({429, 503})

MAX_PAUSE_S = 60.0
"""Longest pause of all requests for one Retry-After; the throttled request waits up to `MAX_WAIT_S` [seconds]."""

MAX_WAIT_S = 240.0
"""Longest that a request waits for what Retry-After names, in all its attempts; less than a lease lasts [seconds].

Then the request fails, and its caller decides: an undo must not wait for a day and show nothing of it.
"""


_NAMED_S = "opslib_named_s"


class BoundedRetry(RetryPolicy[Any, Any]):
    """azure-core's retry, which sleeps for whatever Retry-After names; here no longer than `MAX_WAIT_S` in all."""

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Return whether to repeat a request, whose settings are its own."""
        settings[_NAMED_S] = settings.get(_NAMED_S, 0.0) + (self.get_retry_after(response) or 0.0)
        return super().is_retry(settings, response) and settings[_NAMED_S] <= MAX_WAIT_S


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
