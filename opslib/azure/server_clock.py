"""The server's clock, by the Date header of an answer: tokens and leases depend on times that agree."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from opslib.azure.connect import METADATA_API_VERSION, Workspace
from opslib.errors import ConnectError


def measure_skew(workspace: Workspace) -> timedelta:
    """Return how far this machine's clock is ahead of the server's; the header has whole seconds.

    Raises
    ------
    ConnectError
        If the server does not answer, or states no time.
    """
    url = f"{workspace.scope.resource_manager}/metadata/endpoints?api-version={METADATA_API_VERSION}"
    sent = datetime.now(UTC)
    try:
        answer = httpx.get(url, verify=workspace.tls, timeout=10.0)
        stated = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise ConnectError(f"{url} states no time: {error!r}") from error
    received = datetime.now(UTC)
    middle = sent + (received - sent) / 2
    # the header is cut to whole seconds: half a second later on average
    return middle - stated - timedelta(seconds=0.5)
