"""The wave file: strict, with the line of each problem, and what it selects."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from waves import row

from opslib.errors import ParameterError, PlanError, PolicyError
from opslib.fleet.plan import make_plan, read_plan
from opslib.fleet.wave import read_wave
from opslib.inventory.query import InventoryQuery, find_endpoints
from opslib.inventory.rows import Inventory
from opslib.model import EstateScope

README = Path(__file__).parents[3] / "README.md"

TEXT = """\
version: 1
name: december
select:
  match: {endpoint: "fraud-*", region: [eastus, westeurope]}
runbook: canary
parameters:
  canary: green
  policy: endpoints/{endpoint}/policy.yml
batches: [1, 25%, 100%]
max_concurrency: 10%
stop_on:
  - {outcome: rolled_back, reason: latency}
"""


@pytest.fixture
def write(tmp_path):
    def write_text(text: str):
        path = tmp_path / "wave.yml"
        path.write_text(text)
        return path

    return write_text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name:", "nam:", "wave.yml:2: nam: unknown field"),
        ("runbook: canary", "runbook: inventory", "wave.yml:5: runbook: expected one of deploy, validate"),
        (
            "{endpoint}",
            "{endpont}",
            "wave.yml:6: parameters: name {endpont} in braces; expected one of endpoint, workspace",
        ),
        ("25%", "25 %", "wave.yml:9: batches[1]: string should match pattern"),
        ("10%", "0", "wave.yml:10: max_concurrency: expected at least 1"),
        ("rolled_back", "rollback", "wave.yml:12: stop_on[0].outcome: input should be 'succeeded', 'planned'"),
        (
            "  canary: green",
            "  canary: green\n  endpoint: fraud",
            "wave.yml:6: parameters: endpoint is given",
        ),
    ],
)
def test_each_mistake_is_named_with_its_line(write, old, new, problem):
    """File, line, field, what was expected and what is there."""
    with pytest.raises(PolicyError) as raised:
        read_wave(write(TEXT.replace(old, new)))
    assert problem in str(raised.value)


def test_parameters_are_filled_in_and_checked_for_every_endpoint(write):
    """The columns of the endpoint's row; what a runbook would refuse is refused before anything starts."""
    wave = read_wave(write(TEXT))
    plan = make_plan(wave, TEXT.encode(), [row(1), row(2)])
    assert plan.members[1].parameters == {
        "target": "sandbox",
        "canary": "green",
        "policy": "endpoints/fraud-2/policy.yml",
        "endpoint": "fraud-2",
    }
    with pytest.raises(ParameterError, match=r"stages.*\n  of fraud-1, fraud-2"):
        make_plan(
            wave.model_copy(update={"parameters": {"canary": "green", "stages": [100]}}), b"", [row(1), row(2)]
        )
    with pytest.raises(PlanError, match="selects no endpoint"):
        make_plan(wave, b"", [])


def test_the_same_wave_has_the_same_plan_and_reads_back(write):
    """People approve the digest: it holds nothing of the time, and names the wave file."""
    wave = read_wave(write(TEXT))
    plan = make_plan(wave, TEXT.encode(), [row(1), row(2)])
    assert plan.content() == make_plan(wave, TEXT.encode(), [row(1), row(2)]).content()
    assert read_plan(wave, TEXT.encode(), plan.content()) == plan
    with pytest.raises(PlanError, match=r"another wave\.yml"):
        read_plan(wave, b"name: other", plan.content())


def test_a_query_selects_endpoints_by_columns_and_leaves_out():
    """One row of the endpoint fits all columns; what fits `exclude` is left out."""
    some = (row(1), row(2, "westeurope"), row(3, owner="risk"), replace(row(3), deployment="green", model="m:2"))
    rows = tuple(replace(one, id=f"/{one.endpoint}/deployments/{one.deployment}") for one in some)
    inventory = Inventory(datetime(2026, 12, 1, tzinfo=UTC), "lists", rows, (), 1, 0, EstateScope())

    def found(**query: dict[str, list[str]]) -> list[str]:
        return [one.endpoint for one in find_endpoints(inventory, InventoryQuery(**query))]

    assert found() == ["fraud-1", "fraud-2", "fraud-3"]
    assert found(match={"region": ["EAST*"], "model": ["m:*"]}) == ["fraud-3"]
    assert found(exclude={"owner": ["risk"]}) == ["fraud-1", "fraud-2"]
    assert found(tags={"tier": ["gold"]}) == []
    with pytest.raises(ParameterError, match="colour: no column of the inventory"):
        InventoryQuery(match={"colour": ["red"]})


def test_the_example_of_the_readme_is_a_wave(write):
    """What people copy is valid."""
    text = README.read_text().partition("```yaml\nversion: 1\nname: scale-out")[2]
    wave = read_wave(write(f"version: 1\nname: scale-out{text.partition('```')[0]}"))
    assert (wave.first, wave.max_failures, len(wave.stop_on)) == (("fraud-canary*",), "5%", 2)
