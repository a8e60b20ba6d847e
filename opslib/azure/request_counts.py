"""Requests that deployments of many endpoints answered, from one metric per subscription and region.

Azure Monitor offers the average of `RequestsPerMinute` only: a count is the sum of the averages, each times the
minutes of its interval. Intervals of a minute count requests; longer ones estimate them where a part of the
interval had no data.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from opslib.azure.arm import ArmClient, Json
from opslib.azure.estate import regions_of
from opslib.azure.monitor_time import write_time
from opslib.azure.parallel import read_all
from opslib.azure.platform_metrics import METRICS_API_VERSION, MOST_SERIES, whole_count
from opslib.errors import AzureError
from opslib.model import Endpoint, Unread

NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"

MOST_BY_MINUTE = 50
"""Endpoints of a region for which a day is read by the minute: 1,440 points for each deployment [count]."""

Counts = dict[str, dict[str, int]]
"""Requests by endpoint (ARM id in lower case) and deployment (name in lower case) [count]."""


def read_request_counts(
    arm: ArmClient, endpoints: Iterable[Endpoint], since: datetime, until: datetime
) -> tuple[Counts, tuple[Unread, ...]]:
    """Read how many requests each deployment answered between two times.

    An endpoint that could be read has an entry, also without requests; a missing entry means unknown. Where the
    caller may not read a whole subscription, each endpoint is read by itself.
    """
    counts: Counts = {}
    unread: list[Unread] = []
    for (subscription, region), found in regions_of(endpoints):
        window = _window(since, until, by_minute=len(found) <= MOST_BY_MINUTE)
        try:
            answer = _read_region(arm, subscription, region, window)
        except AzureError:
            unread += _add_each(arm, found, window, counts)
            continue
        counts |= {one.id.lower(): counts.get(one.id.lower(), {}) for one in found}
        _add(counts, answer, window, "")
    return counts, tuple(unread)


def read_requests(arm: ArmClient, endpoint: Endpoint, since: datetime, until: datetime) -> dict[str, int] | Unread:
    """Read how many requests each deployment of one endpoint answered, by its name in lower case [count].

    More than a day is read by the hour. A deployment without an entry answered none.
    """
    counts: Counts = {}
    window = _window(since, until, by_minute=until - since <= timedelta(days=1))
    unread = _add_each(arm, (endpoint,), window, counts)
    return unread[0] if unread else counts[endpoint.id.lower()]


def _read_region(arm: ArmClient, subscription: str, region: str, window: dict[str, str]) -> Json:
    query = {
        **window,
        "region": region,
        "metricnamespace": NAMESPACE,
        "$filter": "Microsoft.ResourceId eq '*' and deployment eq '*'",
        "top": str(MOST_SERIES),  # of each resource: its deployments, and those that were deleted in that time
    }
    return arm.get(
        f"/subscriptions/{subscription}/providers/Microsoft.Insights/metrics", METRICS_API_VERSION, **query
    )


def _add_each(
    arm: ArmClient, endpoints: Sequence[Endpoint], window: dict[str, str], counts: Counts
) -> list[Unread]:
    """Read each endpoint by itself and add its requests to the counts."""
    query = window | {"$filter": "deployment eq '*'", "top": str(MOST_SERIES)}
    by_id = {one.id: one for one in endpoints}
    unread = []
    path = "{}/providers/Microsoft.Insights/metrics"
    for read in read_all(lambda one: arm.get(path.format(one), METRICS_API_VERSION, **query), by_id):
        if read.value is None:
            unread.append(Unread(f"requests of endpoint {by_id[read.key].name}", str(read.error)))
        else:
            _add(counts, read.value, window, read.key)
    return unread


def _window(since: datetime, until: datetime, *, by_minute: bool) -> dict[str, str]:
    return {
        "metricnames": "RequestsPerMinute",
        "aggregation": "Average",
        "interval": "PT1M" if by_minute else "PT1H",
        "timespan": f"{write_time(since)}/{write_time(until)}",
    }


def _add(counts: Counts, answer: Json, window: dict[str, str], endpoint_id: str) -> None:
    """Add an answer's series to the counts; `endpoint_id` where the series do not name their resource."""
    minutes = 1 if window["interval"] == "PT1M" else 60
    if endpoint_id:
        counts.setdefault(endpoint_id.lower(), {})
    for series in (series for value in answer["value"] for series in value["timeseries"]):
        labels = {str(one["name"]["value"]).lower(): str(one["value"]) for one in series.get("metadatavalues", [])}
        endpoint = (endpoint_id or labels.get("microsoft.resourceid", "")).lower()
        requests = sum(float(point.get("average") or 0.0) for point in series["data"]) * minutes
        served = counts.setdefault(endpoint, {})
        deployment = labels.get("deployment", "").lower()
        served[deployment] = served.get(deployment, 0) + whole_count(requests)
