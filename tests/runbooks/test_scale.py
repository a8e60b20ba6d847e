"""The scale runbook, executed by papermill against the sandbox."""

from awaiting import wait_until
from runbook_world import answers, journal

from opslib.model import Outcome

QUICK = {"observe_s": 3, "late_data_s": 10, "min_requests": 20, "max_p95_ratio": 20}


def test_passes_out_and_in_again_and_no_client_notices(world):
    """Capacity and latency before and after are recorded; no request is lost either way."""
    with world.clients() as report:
        wait_until(lambda: len(world.client_answers()) > 60)  # three seconds of requests before
        folder, record = world.run("scale", deployment="blue", instances=2, **QUICK)
        assert record.outcome is Outcome.SUCCEEDED, record.reason
        assert world.read().find("blue").instance_count == 2
        _, record = world.run("scale", deployment="blue", instances=1, **QUICK)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert world.read().find("blue").instance_count == 1
    assert {a["status"] for a in answers(report)} == {200}
    (scaled,) = journal(folder, "scaled")
    assert (scaled["instances_before"], scaled["instances_after"]) == (1, 2)
    assert scaled["served_after"]["p95_ms"] > 0
    costs = {name: value for name, value in record.results.items() if name.startswith("cost_")}
    assert costs == {
        "cost_per_month_before": 123.52,
        "cost_per_month_planned": 61.76,
        "cost_per_month_after": 61.76,
        "cost_per_month_saved": 61.76,
        "cost_currency": "USD",
    }


def test_a_deployment_without_traffic_needs_no_comparison(make_world):
    """A canary may be made larger before it takes anything, at once: there is nothing to observe."""
    world = make_world(green={})
    _, record = world.run("scale", deployment="green", instances=2, **(QUICK | {"observe_s": 600}))
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert "no live traffic" in record.reason


def test_holds_where_nothing_was_seen(world):
    """Scaled, but without requests to compare: the record does not call that a success."""
    _, record = world.run("scale", deployment="blue", instances=2, **(QUICK | {"observe_s": 1, "late_data_s": 1}))
    assert record.outcome is Outcome.HELD
    assert world.read().find("blue").instance_count == 2


def test_refuses_a_deployment_that_does_not_exist(world):
    """The message names those that do."""
    _, record = world.run("scale", deployment="violet", instances=2, **QUICK)
    assert record.outcome is Outcome.REFUSED
    assert "it has: blue" in record.reason
