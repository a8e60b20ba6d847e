"""opslib's own eyes: both sources of what was served, against what a client counted."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from awaiting import wait_until

from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import read_endpoint
from opslib.azure.platform_metrics import PlatformMetrics
from opslib.azure.request_log import RequestLog
from opslib.azure.source import find_source
from opslib.errors import ObserveError


@pytest.fixture(scope="module")
def workspace(sandbox):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLIB_SANDBOX_HOME", str(sandbox.home.root))
        yield connect("sandbox")


def window(counted):
    """The whole minutes around what was counted; awaited until they have passed."""
    first = datetime.fromtimestamp(counted.first_s, UTC).replace(second=0, microsecond=0)
    last = datetime.fromtimestamp(counted.last_s, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    wait_until(lambda: time.time() > last.timestamp() + 1, within_s=90)
    return first, last


def test_the_request_log_counts_users_and_leaves_our_own_probes_out(workspace: Workspace, counted):
    """Every request of a user is counted with its failures; those that opslib sent itself are not."""
    source = find_source(workspace, read_endpoint(workspace, counted.endpoint))
    assert isinstance(source, RequestLog)
    seen = source.observe(*window(counted))
    users = sum(not name.startswith("opslib-") for name in counted.ids)
    assert sum(served.requests for served in seen.total.values()) == users
    assert sum(s.requests for i in seen.intervals for s in i.served.values()) == users
    quantiles_ms = [(served.p50_ms or 0, served.p95_ms or 0, served.p99_ms or 0) for served in seen.total.values()]
    assert all(0 < p50 <= p95 <= p99 for p50, p95, p99 in quantiles_ms)
    named = source.answered_by(counted.ids, datetime.fromtimestamp(counted.first_s, UTC))
    assert named.keys() == set(counted.ids)


def test_the_metrics_count_everything_by_deployment_and_status(workspace: Workspace, counted):
    """Azure Monitor's minutes add up to what the client counted, with its failures."""
    seen = PlatformMetrics(workspace, read_endpoint(workspace, counted.endpoint).id).observe(*window(counted))
    assert {name: served.requests for name, served in seen.total.items()} == dict(counted.by_deployment)
    assert sum(served.failures for served in seen.total.values()) == counted.by_status[424]
    assert seen.complete


def test_metrics_that_are_not_there_are_no_zeros(workspace: Workspace, counted):
    """A time in which nothing was served shows nothing, and no watermark."""
    until = datetime.fromtimestamp(counted.first_s, UTC) - timedelta(minutes=10)
    seen = PlatformMetrics(workspace, read_endpoint(workspace, counted.endpoint).id).observe(
        until - timedelta(minutes=5), until
    )
    assert not seen.total
    assert not seen.intervals


def test_a_request_log_that_is_not_kept_is_refused_by_name(workspace: Workspace, make_endpoint):
    """With source="request log" the message names the missing setting; with "auto" the metrics are used."""
    made = make_endpoint("unlogged")
    endpoint = read_endpoint(workspace, made.name)
    with pytest.raises(ObserveError, match="no diagnostic setting of unlogged keeps AmlOnlineEndpointTrafficLog"):
        find_source(workspace, endpoint, "request log")
    assert isinstance(find_source(workspace, endpoint), PlatformMetrics)
