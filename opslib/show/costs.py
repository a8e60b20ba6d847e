"""What people see of costs: a change, and an endpoint's deployments with those that are billed without use."""

from collections.abc import Mapping
from decimal import Decimal

from opslib.cost.text import describe_change, describe_prices, money
from opslib.displayed import view
from opslib.model import CostChange, DeploymentCost, EndpointCost
from opslib.show.table import Cell, Table


@view.register
def _change(change: CostChange) -> Table:
    return cost_table("Cost", change, {})


def cost_table(title: str, change: CostChange, notes: Mapping[str, str]) -> Table:
    """Return an endpoint's deployments with what each costs after a change, and the sum.

    Parameters
    ----------
    notes
        A remark for each deployment that has one, by name.
    """
    cost, currency = change.after, change.prices.currency
    rows = [_row(one, notes.get(one.deployment, "")) for one in cost.deployments]
    rows.append(_total(cost))
    amounts = (f"one instance [{currency}/h]", f"per hour [{currency}]", f"per month [{currency}]")
    columns = ("deployment", "traffic", "state", "instances", *amounts, "remark")
    parts = (
        describe_change(change) if change.before != change.after else "",
        describe_prices(change.prices),
        "A month has 730 h, as in Azure's pricing calculator; discounts, storage and traffic are not included",
    )
    note = ". ".join(filter(None, parts)) + "."
    return Table(title, columns, rows, note=note, right=("traffic", *amounts))


def _row(one: DeploymentCost, note: str) -> tuple[str | Cell, ...]:
    traffic = f"{one.weight} %" + (f" + mirror {one.mirrored} %" if one.mirrored else "")
    instances = f"{one.instances} x {one.instance_type}"
    amounts = (_exact(one.price), _exact(one.per_hour), money(one.per_month))
    return (one.deployment, traffic, one.state, instances, *amounts, Cell(note, "warning"))


def _total(cost: EndpointCost) -> tuple[str | Cell, ...]:
    known = f"total, without {', '.join(cost.unpriced)}" if cost.unpriced else "total"
    return (known, "", "", "", "", _exact(cost.per_hour), money(cost.per_month), "")


def _exact(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:f}"
