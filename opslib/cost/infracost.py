"""Costs as JSON in the form of `infracost breakdown --format json`, version 0.2, which cost tools read.

Source: infracost/infracost, internal/output/output.go (`Root`, `Project`, `Breakdown`, `Resource`). Amounts are
exact decimals, written as text; an unknown one is null and is counted in `totalNoPriceResources`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from opslib.model import HOURS_PER_MONTH, CostChange, DeploymentCost, EndpointCost

VERSION = "0.2"
RESOURCE_TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"


def as_infracost(change: CostChange, endpoint_id: str, generated_at: datetime) -> dict[str, Any]:
    """Return the cost before a change as the past cost, the cost after it as the present, and the difference."""
    past, now = change.before, change.after
    difference = _differences(past, now)
    summary = _summary(now)
    project = {
        "name": endpoint_id.rpartition("/")[2],
        "metadata": {
            "path": endpoint_id,
            "type": "azureml_online_endpoint",
            "priceSource": change.prices.source,
            "pricesReadAt": change.prices.read_at.isoformat(timespec="seconds"),
        },
        "pastBreakdown": _breakdown(past),
        "breakdown": _breakdown(now),
        "diff": {
            "resources": difference,
            "totalHourlyCost": _text(now.per_hour - past.per_hour),
            "totalMonthlyCost": _text(now.per_month - past.per_month),
        },
        "summary": summary,
    }
    return {
        "version": VERSION,
        "metadata": {"infracostCommand": "diff" if difference else "breakdown"},
        "currency": change.prices.currency,
        "projects": [project],
        "totalHourlyCost": _text(now.per_hour),
        "totalMonthlyCost": _text(now.per_month),
        "pastTotalHourlyCost": _text(past.per_hour),
        "pastTotalMonthlyCost": _text(past.per_month),
        "diffTotalHourlyCost": _text(now.per_hour - past.per_hour),
        "diffTotalMonthlyCost": _text(now.per_month - past.per_month),
        "timeGenerated": generated_at.isoformat(timespec="seconds"),
        "summary": summary,
    }


def _breakdown(cost: EndpointCost) -> dict[str, Any]:
    return {
        "resources": [_resource(one, one.instances) for one in cost.deployments],
        "totalHourlyCost": _text(cost.per_hour),
        "totalMonthlyCost": _text(cost.per_month),
    }


def _differences(past: EndpointCost, now: EndpointCost) -> list[dict[str, Any]]:
    """Return one resource for each deployment whose number of instances differs; its amounts are differences."""
    names = dict.fromkeys(one.deployment for one in (*past.deployments, *now.deployments))
    pairs = ((past.find(name), now.find(name)) for name in names)
    counted = ((new or old, (new.instances if new else 0) - (old.instances if old else 0)) for old, new in pairs)
    return [_resource(cost, instances) for cost, instances in counted if cost is not None and instances]


def _resource(cost: DeploymentCost, instances: int) -> dict[str, Any]:
    hourly = None if cost.price is None else cost.price * instances
    amounts = {"hourlyCost": _text(hourly), "monthlyCost": _text(_per_month(hourly))}
    component = {
        "name": f"Instances (Linux, pay as you go, {cost.instance_type})",
        "unit": "hours",
        "hourlyQuantity": str(instances),
        "monthlyQuantity": str(instances * HOURS_PER_MONTH),
        "price": _text(cost.price),
        **amounts,
    }
    metadata = {"provisioningState": cost.state, "traffic": cost.weight}
    about = {"name": cost.deployment, "resourceType": RESOURCE_TYPE, "metadata": metadata}
    return {**about, **amounts, "costComponents": [component]}


def _summary(cost: EndpointCost) -> dict[str, Any]:
    total, unpriced = len(cost.deployments), len(cost.unpriced)
    return {
        "totalDetectedResources": total,
        "totalSupportedResources": total,
        "totalUnsupportedResources": 0,
        "totalUsageBasedResources": 0,
        "totalNoPriceResources": unpriced,
        "unsupportedResourceCounts": {},
        "noPriceResourceCounts": {RESOURCE_TYPE: unpriced} if unpriced else {},
    }


def _per_month(hourly: Decimal | None) -> Decimal | None:
    return None if hourly is None else hourly * HOURS_PER_MONTH


def _text(amount: Decimal | None) -> str | None:
    """Return an amount as text without an exponent and without trailing zeros; None where it is unknown."""
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
