"""The load test: bounded, an open loop, and ended by failures."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from worlds import deployment, endpoint

from opslib.azure import load_test
from opslib.definitions.probes import Probe
from opslib.model import ProbeResult

ANSWERED = ProbeResult(datetime(2026, 1, 1, tzinfo=UTC), 200, 20.0, "green", "id")


class Client:
    """A scoring client whose answers are all the same."""

    def __init__(self, answer: ProbeResult) -> None:
        self.answer, self.sent_to = answer, list[str]()

    def send(self, _: Probe, name: str) -> ProbeResult:
        self.sent_to.append(name)
        return self.answer


@pytest.fixture
def run(monkeypatch):
    def run_with(answer: ProbeResult) -> tuple[Any, Client]:
        client = Client(answer)

        @contextmanager
        def opened(*_: object):
            yield client

        monkeypatch.setattr(load_test, "scoring_client", opened)
        monkeypatch.setattr(load_test, "sleep", lambda _: None)
        green = deployment("green", instances=2)
        world = endpoint({"blue": 100}, deployment("blue"), green)
        found = load_test.run_load_test(None, world, green, [Probe(1)], 40.0, 3.0, lambda _: None)  # type: ignore[arg-type]
        return found, client

    return run_with


def test_each_step_sends_its_share_to_the_deployment_alone(run):
    """A third of 3 s at 10, 20 and 40 per second, all to green by name."""
    found, client = run(ANSWERED)
    assert [(one.wanted_per_s, one.sent, one.failures, one.p95_ms) for one in found] == [
        (10.0, 10, 0, 20.0),
        (20.0, 20, 0, 20.0),
        (40.0, 40, 0, 20.0),
    ]
    assert set(client.sent_to) == {"green"}
    assert not any(one.stopped for one in found)


def test_failures_end_it(run):
    """Later, higher rates are not sent to what fails already."""
    found, client = run(replace(ANSWERED, status=500, problem="status 500"))
    (only,) = found
    assert only.stopped.endswith("limit 3: status 500")
    assert only.p95_ms is None
    assert len(client.sent_to) <= 10
