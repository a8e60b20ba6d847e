"""The size runbook, executed by papermill against the sandbox."""

from typing import Any

import nbformat
from awaiting import wait_until
from runbook_world import World, journal

from opslib.model import Outcome


def test_recommends_a_size_and_tests_a_deployment_without_traffic(make_world):
    """Load, use and latency are measured; a deployment at 0 % is tested; the command to run is in the record."""
    world: World = make_world(green={})
    given: dict[str, Any] = {"load_test": True, "load_test_deployment": "green", "probes": world.probes("green")}
    quick: dict[str, Any] = {"load_test_rps": 8, "load_test_s": 3, "min_requests": 20, "look_back_h": 1.0}
    with world.clients(rps=20):
        wait_until(lambda: len(world.client_answers()) > 40)
        folder, record = world.run("size", min_instances=2, **given, **quick)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert record.results["instances"] == 2
    assert record.results["cost_per_month"] == 2 * record.results["cost_per_month_now"]
    (sized,) = journal(folder, "sized")
    assert sized["commands"][0] == f"opslib run scale -p endpoint={world.name} -p deployment=blue -p instances=2"
    assert [one["failures"] for one in sized["tests"]] == [0, 0, 0]
    assert world.read().find("blue").instance_count == 1
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    pictures = [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def test_a_load_test_of_a_deployment_with_traffic_is_refused(world):
    """No user's request meets a load test: nothing is sent."""
    given = {"load_test": True, "load_test_deployment": "blue", "probes": world.probes("blue")}
    _, record = world.run("size", **given)
    assert record.outcome is Outcome.REFUSED
    assert "blue takes 100 % of the traffic, expected 0 %" in record.reason
