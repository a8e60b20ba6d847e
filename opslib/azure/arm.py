"""Client of Azure Resource Manager (ARM): reads, writes, long-running operations, and errors mapped to ours.

azure-ai-ml is not used here: it takes seconds to import (this module: 0.2 s), and its read-modify-write drops
`modelMountPath` and `startupProbe` of a deployment.
"""

from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.core.polling import LROPoller
from azure.mgmt.core.polling.arm_polling import ARMPolling

from opslib.azure.arm_transport import ArmResponse, ArmTransport, RepeatRefused
from opslib.azure.operations import OperationLost, Progress, await_operation, not_ended
from opslib.azure.resource import UNSTATED, Json, provisioning_state, read_resource, tags
from opslib.azure.waiting import Pending, await_end
from opslib.errors import NotFound, OperationFailed, PollError, UnexpectedAnswer
from opslib.model import Receipt

__all__ = ["ArmClient", "Json", "Progress"]

POLL_INTERVAL_S = 5.0
"""Used where the service sends no Retry-After; azure-ai-ml uses 5 s or 30 s [seconds]."""

MAX_POLL_GAP_S = 120.0
"""Longest time without a conclusive poll; meanwhile no canary is observed and no lease renewed [seconds]."""

MAX_PAGES = 1000
"""Longest list that is read [pages]."""

POLLED_HEADERS = ("Azure-AsyncOperation", "Operation-Location")
"""Headers by which azure-core polls an operation; `Location` counts with 202, else it is the resource itself."""


class ArmClient:
    """Authenticated client of Azure Resource Manager.

    Parameters
    ----------
    resource_manager
        Base URL, without a trailing slash.
    credential
        Gives the tokens.
    scope
        Scope of the tokens; "" stands for ``<resource_manager>/.default``.
    http
        Connections to the base URL that are open already.
    """

    def __init__(
        self,
        resource_manager: str,
        credential: TokenCredential,
        scope: str = "",
        http: RequestsTransport | None = None,
    ) -> None:
        self._transport = ArmTransport(resource_manager, credential, scope, http)
        self._send = self._transport.send

    @property
    def requests(self) -> int:
        """Requests sent so far, repeated ones included [count]."""
        return self._transport.requests

    def get(self, path: str, api_version: str, **query: str) -> Json:
        """Read one resource."""
        return self._send("GET", path, api_version, query=query).body

    def list(self, path: str, api_version: str, **query: str) -> list[Json]:
        """Read all pages of a collection.

        Raises
        ------
        UnexpectedAnswer
            If a page is no list, pages form a loop, or one is on another host, which would be sent the token.
        """
        page = self._send("GET", path, api_version, query=query).body
        items, seen = _items(page, path), set[str]()
        while following := page.get("nextLink"):
            if following in seen or len(seen) == MAX_PAGES:
                raise UnexpectedAnswer(
                    f"GET {path}: page {len(seen) + 1} of the list refers to a page that was read before, or is "
                    f"past page {MAX_PAGES}; expected an end. {len(items)} items were read and are not used, "
                    "since others may be missing. Run again; if it repeats, report the correlation id to Azure"
                )
            if not self._transport.is_own(following):
                raise UnexpectedAnswer(
                    f"GET {path}: the next page is on another host, {urlsplit(following).netloc}, expected "
                    f"{self._transport.resource_manager}: nothing was sent there. Check for a proxy that rewrites "
                    "answers"
                )
            seen.add(following)
            page = self._send("GET", following, "").body
            items += _items(page, path)
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
        what = _named(method, path)
        try:
            response = self._send(method, path, api_version, body=body)
        except RepeatRefused as refusal:
            progress(f"{refusal}. It may be this change itself, whose answer was lost: waiting for its end")
            self.await_resource(method, path, api_version, deadline_s, progress)
            if not _has_tags(read_resource(self.get(path, api_version), path), body):
                raise  # what it met was another change
            return Receipt(method, path, refusal.correlation_id, started_at, round(monotonic() - begun_s, 3))
        try:
            self._require_operation(response, what)
            self._follow(response, what, deadline_s, progress)
        except OperationLost as lost:
            progress(f"{lost}; reading the resource instead")
            self.await_resource(method, path, api_version, max(1.0, deadline_s - (monotonic() - begun_s)), progress)
        return Receipt(method, path, response.correlation_id, started_at, round(monotonic() - begun_s, 3))

    def _follow(self, response: ArmResponse, what: str, deadline_s: float, progress: Progress) -> None:
        """Wait for the end of an operation; where a poll is throttled or fails, poll again with a new poller."""
        begun_s = conclusive_s = monotonic()
        while True:
            polling_s = monotonic()
            poller: LROPoller[Any] = LROPoller(
                self._transport.client, response.pipeline, lambda body: body, ARMPolling(timeout=POLL_INTERVAL_S)
            )
            try:
                return await_operation(poller, what, max(1.0, deadline_s - (polling_s - begun_s)), progress)
            except OperationLost:
                raise
            except PollError as error:
                if monotonic() - polling_s > MAX_POLL_GAP_S / 2:
                    conclusive_s = monotonic()  # azure-core gives a failing poll up sooner: some polls succeeded
                if monotonic() - conclusive_s > MAX_POLL_GAP_S:
                    raise
                progress(f"the state of the operation cannot be read; trying again: {error}")
                sleep(1.0)

    def await_resource(
        self, method: str, path: str, api_version: str, deadline_s: float, progress: Progress
    ) -> None:
        """Wait until a resource itself shows that a change has ended, where its operation cannot be polled.

        Raises
        ------
        OperationFailed
            If the resource ended as Failed or Canceled.
        OperationTimeout
            If it shows no end within `deadline_s`.
        """
        what = _named(method, path)

        def read() -> Pending | None:
            try:
                state = provisioning_state(read_resource(self.get(path, api_version), path))
            except NotFound:
                if method == "DELETE":
                    return None
                raise
            if state in ("Failed", "Canceled"):
                raise OperationFailed(f"{what} failed: the resource is in state {state}, expected Succeeded")
            if state in ("Succeeded", UNSTATED) and method != "DELETE":
                return None
            overdue = not_ended(what, deadline_s, f"last state of the resource: {state}")
            return Pending(f"{what}: {state}", overdue)

        await_end(read, deadline_s, progress)

    def _require_operation(self, response: ArmResponse, what: str) -> None:
        """Raise OperationLost where azure-core would take an answer for the end of a change.

        It does so for a 202 without an address to poll, and for a PUT whose Location is the resource itself.
        """
        names = (*POLLED_HEADERS, "Location") if response.status == 202 else POLLED_HEADERS
        addresses = [response.headers[name] for name in names if response.headers.get(name)]
        if response.status != 204 and not addresses:
            raise OperationLost(f"{what}: {response.status} without the address of an operation")
        foreign = [address for address in addresses if not self._transport.is_own(address)]
        if foreign:
            raise OperationLost(
                f"{what}: the operation's address is on another host, {urlsplit(foreign[0]).netloc}"
            )


def _has_tags(resource: Json, body: Json | None) -> bool:
    """Return whether a resource has the tags that were sent; other fields may be visible later (read back)."""
    sent = (body or {}).get("tags")
    return sent is None or tags(resource) == sent


def _named(method: str, path: str) -> str:
    """Name a change by its method and the end of its path."""
    return f"{method} {'/'.join(path.split('/')[-2:])}"


def _items(page: Json, path: str) -> list[Json]:
    """Return the items of a page; null is none."""
    items = page.get("value")
    if items is None:
        items = []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UnexpectedAnswer(
            f"GET {path}: Azure's answer is not understood: expected a list `value` of objects, got "
            f"{type(items).__name__} {str(items)[:120]!r}. Run again; if it repeats, report it"
        )
    return items
