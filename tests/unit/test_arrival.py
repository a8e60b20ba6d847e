"""That traffic arrives: by users' requests, whatever case names are in, and by own ones, of which few are sent."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from opslib.definitions.probes import Probe
from opslib.model import Observation, ProbeResult, Served, ServedInterval
from opslib.runbooks import arrival
from opslib.runbooks.arrival import Arrival, ArrivalCheck

NOTHING: Any = None
"""Nothing here reads an endpoint."""

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def check(to: str, timeout_s: float) -> ArrivalCheck:
    return ArrivalCheck(NOTHING, NOTHING, to, requests=20, timeout_s=timeout_s, progress=lambda _: None)


def test_a_deployment_is_found_in_metrics_in_another_case(monkeypatch: pytest.MonkeyPatch):
    """Azure's names ignore case: traffic that arrived is not taken for another deployment's."""
    served = {"blue": Served(30, 0)}
    observation = Observation("metrics", NOW, NOW, NOW, served, (ServedInterval(NOW, 60.0, served),))
    monkeypatch.setattr(arrival, "find_source", lambda *_: Mock(grain_s=1.0, observe=lambda *_: observation))
    found = check("Blue", 60.0).by_users()
    assert (found.verified, found.requests) == (True, 30)


class Failing:
    """A scoring client of a version that fails, on a clock that only pauses and requests move."""

    def __init__(self, answers_in_s: float = 0.001) -> None:
        self.now_s, self.sent, self.answers_in_s = 0.0, 0, answers_in_s

    def send(self, _: Probe) -> ProbeResult:
        self.now_s, self.sent = self.now_s + self.answers_in_s, self.sent + 1
        return ProbeResult(NOW, 503, 1.0, "blue", f"opslib-{self.sent}", "status 503")

    def pause(self, length_s: float) -> None:
        self.now_s += length_s


def verify(monkeypatch: pytest.MonkeyPatch, client: Failing, timeout_s: float) -> Arrival:
    monkeypatch.setattr(arrival, "scoring_client", lambda *_: nullcontext(client))
    monkeypatch.setattr(arrival, "monotonic", lambda: client.now_s)
    monkeypatch.setattr(arrival, "sleep", client.pause)
    found = check("blue", timeout_s).by_probes([Probe({"data": [1]})])
    assert not found.verified
    assert "status 503" in found.reason
    assert len(found.probes) == client.sent
    return found


def test_a_version_that_fails_at_once_is_not_flooded(monkeypatch: pytest.MonkeyPatch):
    """It got a thousand requests a second for two minutes, and the journal all of their results."""
    client = Failing()
    verify(monkeypatch, client, 120.0)
    assert 200 < client.sent < 2000


def test_a_version_that_hangs_is_not_awaited_for_longer(monkeypatch: pytest.MonkeyPatch):
    """Twenty requests of 100 s each were sent before the clock was read: a verification of two minutes took 33."""
    client = Failing(answers_in_s=100.0)
    verify(monkeypatch, client, 120.0)
    assert client.sent == 2


def test_without_time_one_request_is_sent(monkeypatch: pytest.MonkeyPatch):
    """The traffic has moved by then: the rollback ended in an IndexError."""
    verify(monkeypatch, client := Failing(), 0.0)
    assert client.sent == 1
