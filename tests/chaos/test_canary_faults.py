"""A canary under live traffic while the service misbehaves: every declared fault ends safely, the record is true.

The suite tries a few; `OPSLIB_CHAOS_KILLS=200` (see the kills) tries all of them.
"""

import os
import signal

import pytest
from awaiting import wait_until
from endings import Ending, note
from runbook_world import QUICK_CANARY, Background, answers, journal
from sandbox_fixture import reread

from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease
from opslib.runbooks.undo.reap import reap
from opslib.sandbox.cli.control import start

FULL = int(os.environ.get("OPSLIB_CHAOS_KILLS", "6")) > 6
UPDATING = "OnlineEndpoints_Updating"
QUICK = {**QUICK_CANARY, "bake_s": 4, "max_bake_s": 8, "lease_s": 20, "stages": [50, 100]}
FAULTS = [
    ("arm-throttle", {"retry_after_s": 1, "seconds": 4}),
    ("arm-reset", {"seconds": 3}),
    ("lro-fail", {"operation": UPDATING, "code": "InternalServerError", "count": 1}),
    *(
        [
            ("arm-error", {"status": 500, "seconds": 4}),
            ("arm-error", {"status": 503, "rate": 0.5, "seconds": 20, "seed": 1}),
            ("arm-latency", {"delay_s": 1.0, "seconds": 10}),
            ("token-expiry", {"seconds": 3}),
            ("lro-hang", {"operation": UPDATING, "seconds": 6}),
            ("metric-gap", {"seconds": 10}),
            ("instance-dead", {"deployment": "green", "count": 1}),
            ("model-latency", {"deployment": "green", "delay_s": 2.0, "seconds": 20}),
        ]
        if FULL
        else []
    ),
]

SURVIVED = {"arm-throttle", "arm-latency", "token-expiry", "lro-hang"}
"""Faults that end before anybody's patience does: the canary goes on as if nothing had been."""


@pytest.mark.parametrize(("kind", "fields"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_ends_safely(make_world, sandbox, kind, fields):
    """Traffic is on stable or the finished target, no lease is left, no client lost a request to an operation."""
    world = make_world(green={})
    with (
        world.clients(rps=20) as report,
        sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as control,
    ):
        run = Background(world, **QUICK)
        wait_until(lambda: shown(world, "applying"), within_s=60)
        fault = {"kind": kind, "endpoint": world.name, **fields}
        control.post("/sandbox/faults", json=fault).raise_for_status()
        _, record = run.result(within_s=120)
        control.delete("/sandbox/faults").raise_for_status()
    list(reap(world.workspace, world.runs, lambda _: None, world.name, take_over=True))
    endpoint = world.read()
    finished = endpoint.traffic == {"green": 100}
    safe = read_lease(endpoint.tags) is None and (finished or endpoint.traffic == {"blue": 100})
    statuses = [answer["status"] for answer in answers(report)]
    lost = sum(status != 200 for status in statuses)
    note(Ending(kind, "applying", str(record.outcome), safe, None, lost, len(statuses)))
    assert safe, (endpoint.traffic, endpoint.tags, record)
    assert record.outcome is not None
    assert (record.outcome is Outcome.SUCCEEDED) <= finished, record
    if not kind.startswith(("instance", "model")):
        assert set(statuses) == {200}
    if kind in SURVIVED:
        assert record.outcome is not Outcome.FAILED, record.reason


def shown(world, event: str) -> bool:
    """Whether the run's journal has come to an event."""
    return any(journal(path.parent, event) for path in world.runs.glob("2*/*/journal.jsonl"))


def test_a_service_that_is_killed_and_restarted_ends_safely(make_world, sandbox):
    """The sandbox dies under a canary and comes back with its state: the traffic is safe, the record true."""
    world = make_world(green={})
    run = Background(world, **QUICK)
    wait_until(lambda: shown(world, "look"), within_s=60)
    os.kill(reread(sandbox).note["pid"], signal.SIGKILL)
    wait_until(lambda: sandbox.home.read_note() is None)
    start(sandbox.home)  # with the settings that it had
    _, record = run.result(within_s=120)
    list(reap(world.workspace, world.runs, lambda _: None, world.name, take_over=True))
    endpoint = world.read()
    assert read_lease(endpoint.tags) is None
    assert endpoint.traffic in ({"blue": 100}, {"green": 100})
    assert record.outcome is not None
    assert (record.outcome is Outcome.SUCCEEDED) <= (endpoint.traffic == {"green": 100})
