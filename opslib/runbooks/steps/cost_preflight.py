"""The finding about what a change costs. Pure: prices and state come in."""

from opslib.cost.text import describe_change, describe_prices, money
from opslib.model import CostChange, Finding, Level
from opslib.policy.policy import CostLimit


def check_cost(change: CostChange, limit: CostLimit | None) -> Finding:
    """The change stays below the policy's ceiling; a deployment without a price is named, never taken for 0."""
    evidence = f"{describe_change(change)}. {describe_prices(change.prices)}"
    highest = max(change.during.per_month, change.after.per_month)
    ceiling = limit.ceiling if limit else None
    if ceiling is not None and highest > ceiling:
        evidence = f"{money(highest)} is above the ceiling of {money(ceiling)} {change.prices.currency}: {evidence}"
        if change.after.per_month < change.before.per_month and not change.unpriced:
            fix = "The change lowers the cost and may go on; lower it further, or raise cost.max_per_month."
            return Finding("cost", Level.WARNING, evidence, fix)
        fix = (
            "Use fewer or smaller instances, delete an unused deployment, or raise the policy's cost.max_per_month."
        )
        return Finding.blocker("cost", evidence, fix)
    if change.unpriced:
        compared = "" if ceiling is None else f", and it is not compared with the ceiling of {money(ceiling)}"
        unknown = f"the cost of {', '.join(change.unpriced)} is unknown{compared}"
        fix = "Find the price on the Azure pricing page: the change may go on without it."
        return Finding("cost", Level.WARNING, f"{unknown}. {evidence}", fix)
    within = "" if ceiling is None else f"within the ceiling of {money(ceiling)}: "
    return Finding.ok("cost", f"{within}{evidence}")
