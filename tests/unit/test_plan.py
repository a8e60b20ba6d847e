"""Plans: shares of traffic, stages, undo, and the same by hand."""

import shlex
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import deployment, endpoint

from opslib.errors import PlanError
from opslib.model import CreateDeployment, DeleteDeployment, Scope, SetTraffic
from opslib.runbooks.steps.plan import (
    canary_of,
    insert_half_step,
    plan_instances,
    plan_return,
    plan_stages,
    share_traffic,
)
from opslib.runbooks.steps.step_text import az_command

SCOPE = Scope("sub", "rg", "ws", "https://management.azure.com")


@st.composite
def traffic_maps(draw):
    cuts = sorted(draw(st.lists(st.integers(0, 100), max_size=4)))
    edges = [0, *cuts, 100]
    return {f"d{n}": b - a for n, (a, b) in enumerate(pairwise(edges)) if b > a}


@given(before=traffic_maps(), weight=st.integers(0, 100))
def test_shared_traffic_sums_to_100(before, weight):
    """Whatever the split before, the canary gets exactly its weight and the rest is shared out whole."""
    after = share_traffic(before, "canary", weight)
    assert sum(after.values()) == 100
    assert after.get("canary", 0) == weight
    for name, share in before.items():
        assert abs(after.get(name, 0) - share * (100 - weight) / 100) < 1


@pytest.mark.parametrize("before", [{}, {"blue": 95}, {"blue": 90, "red": 20}])
def test_traffic_that_does_not_sum_to_100_is_not_shared(before):
    """The message names the sum that was seen."""
    with pytest.raises(PlanError, match=f"got {sum(before.values())}"):
        share_traffic(before, "green", 10)


def test_stages_lead_from_one_to_the_next_and_the_undo_leads_back():
    """Each step starts where the one before ended; the undo ends where the plan began."""
    plan = plan_stages(endpoint({"blue": 100}, deployment("blue"), deployment("green")), "green", [10, 50, 100], 60)
    assert [step.after for step in plan.steps] == [
        {"blue": 90, "green": 10},
        {"blue": 50, "green": 50},
        {"green": 100},
    ]
    assert plan.steps[1].before == plan.steps[0].after
    assert plan.undo == (SetTraffic("fraud", {"green": 100}, {"blue": 100}),)
    assert canary_of(plan) == "green"


def test_return_names_the_deployments_that_exist():
    """A rollback to a deployment that is not there cannot be planned."""
    with pytest.raises(PlanError, match="fraud has: blue"):
        plan_return(endpoint({"blue": 100}, deployment("blue")), "green", 5)


def test_first_deployment_gets_its_traffic_from_an_endpoint_that_had_none():
    """A new endpoint is brought up by the same plan as a rollback; its undo takes the traffic away again."""
    plan = plan_return(endpoint({}, deployment("blue")), "BLUE", 5)
    assert plan.steps[0].after == {"blue": 100}
    assert plan.undo == (SetTraffic("fraud", {"blue": 100}, {}),)


def test_commands_by_hand():
    """A person at a terminal can do the same; a weight that ends is set to zero, or the CLI would keep it."""
    where = "--resource-group rg --workspace-name ws"
    step = SetTraffic("fraud", {"blue": 100}, {"green": 100})
    assert (
        az_command(step, SCOPE) == f'az ml online-endpoint update --name fraud --traffic "blue=0 green=100" {where}'
    )
    assert az_command(DeleteDeployment("fraud", "green"), SCOPE).startswith(
        "az ml online-deployment delete --name green"
    )


def test_replaced_values_are_quoted_for_a_shell():
    """Text as it is, everything else as JSON; what holds a blank, a quote or a bracket is quoted."""
    replaced = {"tags.team": "risk's", "app_insights_enabled": True, "data_collector": {"a": "b"}, "list[0].x": 2}
    step = CreateDeployment("fraud", "green", "my files/green.yml", "Standard_DS3_v2", 1, "m:1", replaced)
    words = shlex.split(az_command(step, SCOPE))
    assert words[words.index("--file") + 1] == "my files/green.yml"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--set"] == [
        "tags.team=risk's",
        "app_insights_enabled=true",
        'data_collector={"a": "b"}',
        "list[0].x=2",
    ]


def test_scale_knows_its_way_back():
    """The undo is the number of instances before."""
    plan = plan_instances(endpoint({"blue": 100}, deployment("blue", instances=3)), "blue", 5)
    assert (plan.steps[0].after, plan.undo[0].after) == (5, 3)


@pytest.mark.parametrize(
    ("before", "here", "there", "after"),
    [
        ({"blue": 100}, 10, 50, {"blue": 70, "green": 30}),
        ({"blue": 100}, 50, 100, {"blue": 25, "green": 75}),
        ({"blue": 100}, 97, 100, {"blue": 2, "green": 98}),
        ({"blue": 60, "grey": 40}, 10, 30, {"blue": 48, "grey": 32, "green": 20}),
        ({"blue": 100}, 99, 100, None),
        ({"blue": 100}, 100, None, None),
    ],
)
def test_a_half_step_goes_to_the_next_stage_by_way_of_another(before, here, there, after):
    """Each step starts where the one before it ends; without a whole percent between there is no half step."""
    weights = [here] if there is None else [here, there]
    first: Any
    rest: Any
    first, *rest = plan_stages(
        endpoint(before, deployment("blue"), deployment("green")), "green", weights, 60.0
    ).steps
    steps = insert_half_step(before, "green", first, rest)
    assert [step.after for step in steps] == ([] if after is None else [after, rest[0].after])
    assert [step.before for step in steps] == ([] if after is None else [first.after, after])
    assert all(step.bake_s == 60.0 for step in steps)
