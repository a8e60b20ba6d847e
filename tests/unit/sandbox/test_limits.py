import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import LIMITS, Settings
from opslib.sandbox.endpoints.consistency import ReadLag
from opslib.sandbox.endpoints.deployments import check_count
from opslib.sandbox.scoring.bandwidth import Bandwidth
from opslib.sandbox.scoring.connections import Connections
from opslib.sandbox.scoring.rate_limit import RateLimit


def test_each_endpoint_has_its_own_seconds():
    """Three a second pass, the fourth does not; another endpoint's do, and so do the next second's."""
    now_s = 10.0
    limit = RateLimit(3, lambda: now_s)
    assert [limit.admits("a") for _ in range(4)] == [True, True, True, False]
    assert limit.admits("b")
    now_s = 11.0
    assert limit.admits("a")


def test_reads_lag_behind_writes(monkeypatch):
    """Traffic is shown as it was until the lag is over; the rest of the endpoint is shown as it is."""
    before = Resource("/e", "onlineEndpoints", {"properties": {"traffic": {"a": 100}, "mirrorTraffic": {}, "x": 1}})
    after = before.with_properties(traffic={"b": 100}, x=2)
    lag = ReadLag(Settings(consistency_lag_s=60, operation_s=0))
    lag.note(before)
    assert lag.shown(after).properties == {"traffic": {"a": 100}, "mirrorTraffic": {}, "x": 2}
    later_s = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert lag.shown(after) == after


@pytest.mark.parametrize(
    "setting", [{"max_bytes_per_second": 0}, {"autoscale_every_s": 0.0}, {"logs_delay_s": -1.0}]
)
def test_a_setting_that_leaves_nothing_is_refused(setting: dict[str, Any]):
    """A limit of none, no pace and a negative time are no settings; any seed is one."""
    with pytest.raises(ValueError, match="must be at least"):
        Settings(**setting)
    assert Settings(seed=-1).seed == -1


def test_connections_are_limited_in_number_and_in_pace():
    """Two may be open; a third waits until one is gone; who is connected stays so; endpoints do not share."""
    connections = Connections(most=2, per_second=1000)
    assert [connections.admits("a", client) for client in ("1", "2", "3", "1")] == [True, True, False, True]
    assert connections.admits("b", "3")
    assert connections.measure("a") == (2, 2)
    connections.close("1")
    assert connections.measure("a") == (1, 0)
    assert connections.admits("a", "3")
    hasty = Connections(most=100, per_second=2)
    assert sum(hasty.admits("a", str(client)) for client in range(50)) in (2, 4)  # a second may end meanwhile


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 5000)), max_size=40))
def test_no_more_bytes_pass_than_the_limit_lets(sent: list[tuple[float, int]]):
    """Bytes that waited as returned never exceed the limit times the time plus one second's worth."""
    now_s = 100.0
    bandwidth = Bandwidth(1000, lambda: now_s)
    through = []
    for pause_s, size in sent:
        now_s += pause_s
        through.append((now_s + bandwidth.take("a", size), size))
    for moment, _ in through:
        assert sum(size for at, size in through if at <= moment) <= 1000 * (moment - 100.0 + 1) + 1e-6
    assert bandwidth.take("b", 1000) < 1e-9  # to the rounding of the clock


def test_bytes_beyond_the_limit_wait_and_then_no_more():
    """A second's worth passes at once, the next waits for a second, and an idle endpoint has it again."""
    now_s = 0.0
    bandwidth = Bandwidth(1000, lambda: now_s)
    assert [bandwidth.take("a", 1000), bandwidth.take("a", 500)] == [0.0, 0.5]
    now_s = 1.5
    assert bandwidth.take("a", 1000) == 0.0


def test_deployments_of_a_region_are_limited(tmp_path: Path):
    """A region holds LIMITS.deployments_per_region of a subscription's deployments, over all its endpoints."""
    store = Store(tmp_path / "state.db")
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    endpoints = [
        store.put(
            Resource(
                f"{workspace}/onlineEndpoints/e{number}",
                "onlineEndpoints",
                {"location": "eastus", "properties": {}},
            )
        )
        for number in range(26)
    ]
    sandbox = cast("Backend", SimpleNamespace(store=store))
    with store.transaction():
        for number in range(LIMITS.deployments_per_region - 1):
            parent = endpoints[number // LIMITS.deployments_per_endpoint].id
            store.put(Resource(f"{parent}/deployments/d{number}", "deployments", {"properties": {}}))
    check_count(sandbox, endpoints[-1])
    store.put(Resource(f"{endpoints[-1].id}/deployments/last", "deployments", {"properties": {}}))
    with pytest.raises(ArmError, match="Deployment limit of 500 per subscription and region is reached"):
        check_count(sandbox, endpoints[-1])
    store.close()
