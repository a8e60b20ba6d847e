import time

from opslib.sandbox.consistency import Lag
from opslib.sandbox.rate_limit import RateLimit
from opslib.sandbox.settings import Settings
from opslib.sandbox.store import Resource


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
    lag = Lag(Settings(consistency_lag_s=60, operation_s=0))
    lag.note(before)
    assert lag.shown(after).properties == {"traffic": {"a": 100}, "mirrorTraffic": {}, "x": 2}
    later_s = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert lag.shown(after) == after
