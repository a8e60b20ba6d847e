"""What a runbook's change costs: its prices are read once per run, its arithmetic is in `opslib.cost`."""

from collections.abc import Iterable
from typing import Any

from opslib.azure.retail_prices import read_prices
from opslib.cost.estimate import cost_change, endpoint_cost, with_deployment, with_instances
from opslib.definitions.deployment import DeploymentDefinition
from opslib.model import CostChange, Endpoint, Finding, Overlap, PriceList
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.run import Run
from opslib.runbooks.steps import cost_preflight


def check_cost(run: Run[Any], change: CostChange) -> Finding:
    """Check the change against the ceiling of the run's policy."""
    return cost_preflight.check_cost(change, run.policy.cost if run.policy else None)


def deploy_cost(run: Run[Any], before: Endpoint, definition: DeploymentDefinition) -> CostChange:
    """Return what a new deployment adds, from the moment its instances start."""
    prices = _prices(run, before, [definition.instance_type])
    now, name = endpoint_cost(before, prices), definition.name
    if before.find(name):
        return cost_change(now, now, prices)
    added = with_deployment(now, prices, name, definition.instance_type, definition.instance_count)
    return cost_change(now, added, prices)


def scale_cost(run: Run[Any], before: Endpoint, deployment: str, instances: int) -> CostChange:
    """Return what another number of instances adds or saves."""
    prices = _prices(run, before)
    now = endpoint_cost(before, prices)
    return cost_change(now, with_instances(now, {deployment: instances} if before.find(deployment) else {}), prices)


def retire_cost(run: Run[Any], before: Endpoint, deployment: str) -> CostChange:
    """Return what deleting a deployment saves."""
    prices = _prices(run, before)
    now = endpoint_cost(before, prices)
    return cost_change(now, with_instances(now, {deployment: 0} if before.find(deployment) else {}), prices)


def canary_cost(run: Run[CanaryParameters], before: Endpoint) -> CostChange:
    """Return what both versions cost while they run side by side; the old one is billed until it is deleted."""
    p, prices = run.parameters, _prices(run, before)
    now = endpoint_cost(before, prices)
    canary = now.find(p.canary)
    planned_s = p.bake_s * (len(p.stages) + bool(p.mirror_percent))
    overlap = Overlap(canary.deployment, canary.per_hour, planned_s, longest_bake_s(p)) if canary else None
    return cost_change(now, now, prices, overlap)


def longest_bake_s(p: CanaryParameters) -> float:
    """Return how long all stages take at most, unless a person extends one [seconds].

    Every stage may take its longest bake and wait for late data; the hold policy adds an extension, the wait for a
    person, or a smaller step before each later stage.
    """
    stages, bake_s = len(p.stages) + bool(p.mirror_percent), max(p.bake_s, p.max_bake_s)
    longest_s = stages * (bake_s + p.late_data_s)
    match p.on_hold:
        case "extend":
            return longest_s + stages * bake_s
        case "ask":
            return longest_s + stages * p.answer_s
        case "smaller step":
            return longest_s + (stages - 1) * (bake_s + p.late_data_s)
        case _:
            return longest_s


def _prices(run: Run[Any], before: Endpoint, more: Iterable[str] = ()) -> PriceList:
    """Read the prices of all instance types of a change, once per run."""
    wanted = {deployment.instance_type for deployment in before.deployments} | set(more)
    known = run.prices
    if known is None or not {name.lower() for name in wanted} <= known.prices.keys() | known.missing.keys():
        currency = run.policy.cost.currency if run.policy and run.policy.cost else "USD"
        known = run.prices = read_prices(run.workspace, before, wanted, currency)
    return known
