"""The cost of an endpoint from its instances and list prices, and of what a plan makes of it."""

from collections.abc import Mapping
from dataclasses import replace

from opslib.errors import PlanError
from opslib.model import CostChange, DeploymentCost, Endpoint, EndpointCost, Overlap, PriceList


def endpoint_cost(endpoint: Endpoint, prices: PriceList) -> EndpointCost:
    """Return what the endpoint costs now: every deployment is billed, also one that failed or takes no traffic.

    Source: how-to-view-online-endpoints-costs.md, "a failed deployment that reached the compute stage is billed".
    """
    return EndpointCost(
        tuple(
            DeploymentCost(
                deployment.name,
                deployment.instance_type,
                deployment.instance_count,
                price.per_hour if (price := prices.find(deployment.instance_type)) else None,
                endpoint.traffic.get(deployment.name, 0),
                endpoint.mirror_traffic.get(deployment.name, 0),
                deployment.provisioning_state,
            )
            for deployment in endpoint.deployments
        )
    )


def with_instances(cost: EndpointCost, instances: Mapping[str, int]) -> EndpointCost:
    """Return the cost with other numbers of instances, by deployment; 0 stands for a deleted deployment.

    Raises
    ------
    PlanError
        If a deployment does not exist.
    """
    wanted = {name.lower(): count for name, count in instances.items()}
    if unknown := [name for name in instances if cost.find(name) is None]:
        known = ", ".join(one.deployment for one in cost.deployments) or "none"
        raise PlanError(f"deployment {', '.join(map(repr, unknown))} does not exist; the endpoint has: {known}")
    changed = (
        replace(one, instances=wanted.get(one.deployment.lower(), one.instances)) for one in cost.deployments
    )
    return EndpointCost(tuple(one for one in changed if wanted.get(one.deployment.lower()) != 0))


def with_deployment(
    cost: EndpointCost, prices: PriceList, name: str, instance_type: str, instances: int
) -> EndpointCost:
    """Return the cost with one more deployment."""
    price = prices.find(instance_type)
    added = DeploymentCost(name, instance_type, instances, price.per_hour if price else None)
    return EndpointCost((*cost.deployments, added))


def cost_change(
    before: EndpointCost, after: EndpointCost, prices: PriceList, overlap: Overlap | None = None
) -> CostChange:
    """Return the cost before, during and after a change; during it, both states are billed where they differ."""
    larger = [
        max(one, after.find(one.deployment) or one, key=lambda cost: cost.instances) for one in before.deployments
    ]
    added = [one for one in after.deployments if before.find(one.deployment) is None]
    return CostChange(before, EndpointCost((*larger, *added)), after, prices, overlap)


def cost_results(planned: CostChange, ended: Endpoint) -> dict[str, float | str | None]:
    """Return the cost before a run, as planned, and after it, of the endpoint as it was read then; for its record.

    None where a deployment has no price: a part of a cost must not pass for the whole.
    """
    states = (planned.before, planned.after, endpoint_cost(ended, planned.prices))
    then, wanted, now = (None if cost.unpriced else round(float(cost.per_month), 2) for cost in states)
    saved = None if then is None or now is None else round(then - now, 2)
    return {
        "cost_per_month_before": then,
        "cost_per_month_planned": wanted,
        "cost_per_month_after": now,
        "cost_per_month_saved": saved,
        "cost_currency": planned.prices.currency,
    }


def waste(cost: DeploymentCost, requests: int | None, hours: float) -> str:
    """Return why a deployment is billed without use; empty where it is used.

    Parameters
    ----------
    requests
        Requests that it answered in the last `hours` [count]; None where they are unknown.
    """
    if cost.state == "Failed":
        return "failed, and billed until it is deleted"
    if cost.weight or cost.mirrored or requests:
        return ""
    if requests is None:
        return "takes no traffic; its requests are unknown"
    return f"idle: takes no traffic, 0 requests in the last {hours:g} h"
