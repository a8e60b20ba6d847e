from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.autoscale.rules import present_profile, read_profiles
from opslib.sandbox.insights.autoscale.schedule import DAYS, Recurrence, choose
from opslib.sandbox.insights.autoscale.time_zones import ZONES, find_zone

BERLIN = "W. Europe Standard Time"


def _profile(name: str, **when: Any) -> dict[str, Any]:
    return {"name": name, "capacity": {"minimum": "1", "maximum": "3", "default": "1"}, "rules": [], **when}


def _weekly(name: str, days: list[str], hour: int, minute: int = 0, zone: str = BERLIN) -> dict[str, Any]:
    schedule = {"timeZone": zone, "days": days, "hours": [hour], "minutes": [minute]}
    return _profile(name, recurrence={"frequency": "Week", "schedule": schedule})


def _on(name: str, start: str, end: str, **more: Any) -> dict[str, Any]:
    return _profile(name, fixedDate={"timeZone": BERLIN, "start": start, "end": end, **more})


def _present(rows: list[dict[str, Any]], local: str) -> str | None:
    now = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    profile = present_profile(read_profiles({"profiles": rows}), now)
    return profile.name if profile else None


def test_the_documented_weekend():
    """From 6 to 19 on Saturdays and Sundays one profile, at all other times the one that begins at 19."""
    weekend = ["Saturday", "Sunday"]
    rows = [_weekly("weekend", weekend, 6), _weekly("usual", weekend, 19)]
    seen = {
        at: _present(rows, f"2026-07-{at}") for at in ("11T05:59", "11T06:00", "11T19:00", "12T12:00", "15T12:00")
    }
    assert list(seen.values()) == ["usual", "weekend", "usual", "weekend", "usual"]


def test_a_date_goes_before_a_recurrence_and_that_before_the_default():
    """Each is chosen where nothing above it holds; the end of a date is no part of it."""
    rows = [_profile("default"), _on("event", "2026-12-24T00:00:00", "2026-12-25T00:00:00")]
    assert _present(rows, "2026-12-24T12:00") == "event"
    assert _present(rows, "2026-12-25T00:00") == "default"
    rows.append(_weekly("weekly", list(DAYS), 0))
    assert _present(rows, "2026-12-24T12:00") == "event"
    assert _present(rows, "2026-12-25T00:00") == "weekly"
    assert _present(rows[1:2], "2026-12-26T00:00") is None


def test_times_are_those_of_the_named_clocks():
    """In summer 6 o'clock in Berlin is 4 in UTC, in winter 5; an offset that a client adds changes nothing."""
    rule = Recurrence(frozenset({0}), 6, 0, ZoneInfo("Europe/Berlin"))
    assert rule.began(datetime(2026, 7, 14, tzinfo=UTC)) == datetime(2026, 7, 13, 4, tzinfo=UTC)
    assert rule.began(datetime(2026, 1, 13, tzinfo=UTC)) == datetime(2026, 1, 12, 5, tzinfo=UTC)
    rows = [_profile("default"), _on("event", "2026-07-01T08:00:00Z", "2026-07-01T09:00:00+00:00")]
    assert _present(rows, "2026-07-01T08:30") == "event"
    assert _present(rows, "2026-07-01T10:30") == "default"


RECURRENCES = st.builds(
    Recurrence,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["Etc/UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns"]).map(ZoneInfo),
)
MOMENTS = st.integers(1_600_000_000, 1_900_000_000).map(lambda at_s: datetime.fromtimestamp(at_s, UTC))


@given(st.lists(RECURRENCES, min_size=1, max_size=5), MOMENTS)
def test_some_recurrence_always_holds_and_none_began_later(recurrences: list[Recurrence], now: datetime):
    """With recurrences one of them holds at any moment, begun within the last week and after all the others."""
    chosen = choose([*recurrences, None], now)
    assert chosen is not None
    assert chosen < len(recurrences)
    began = recurrences[chosen].began(now)
    assert now - timedelta(days=7, hours=2) <= began <= now + timedelta(hours=1)  # clocks that are turned back
    assert all(one.began(now) <= began for one in recurrences)


def test_every_documented_zone_is_there():
    """Each name stands for a zone that this machine knows."""
    assert len(ZONES) > 100
    assert all(find_zone(name) is not None for name in ZONES)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([_profile("a"), _profile("b")], "Only one profile can be the default"),
        ([_profile("a"), _weekly("a", ["Monday"], 1)], "name of its own"),
        ([_weekly(str(number), ["Monday"], 1, number) for number in range(21)], "1 to 20 profiles"),
        ([{**_weekly("a", ["Monday"], 1), **_on("a", "2026-01-01", "2026-01-02")}], "only one"),
        ([_weekly("a", ["Monday"], 24)], "0 to 23"),
        ([_weekly("a", ["Monday"], 1, 60)], "0 to 59"),
        ([_weekly("a", ["Someday"], 1)], "days are"),
        ([_weekly("a", ["Monday", "monday"], 1)], "each once"),
        ([_weekly("a", [], 1)], "days are names"),
        ([_weekly("a", ["Monday"], 1, zone="Europe/Berlin")], "time zone"),
        ([_profile("a", recurrence={"frequency": "Day", "schedule": {}})], "must be Week"),
        ([_on("a", "2026-01-01", "2027-01-03")], "365 days"),
        ([_on("a", "2026-01-02", "2026-01-01")], "after its start"),
        ([_on("a", "soon", "2026-01-01")], "no ISO 8601"),
        ([_profile("")], "needs a name"),
    ],
)
def test_a_bad_schedule_is_refused(rows: list[dict[str, Any]], words: str):
    """What Azure Monitor does not accept is a 400 that names it."""
    with pytest.raises(ArmError, match=words) as caught:
        read_profiles({"profiles": rows})
    assert caught.value.status == 400


def test_a_recurrence_has_one_hour_and_one_minute():
    """In the words of the live service."""
    row = _weekly("a", ["Monday"], 1)
    row["recurrence"]["schedule"]["minutes"] = [0, 30]
    with pytest.raises(ArmError, match=r"invalid count for minutes specified\. Specify only one value for minutes"):
        read_profiles({"profiles": [row]})
