"""The inventory as a table and as a plot."""

from collections import defaultdict
from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING

from opslib.displayed import view
from opslib.inventory.rows import Inventory, InventoryRow
from opslib.model.text import counted
from opslib.show.plot import INK, Picture, legend, make_picture
from opslib.show.table import Cell, Table, Tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 100
"""Rows of the table in a notebook; the files have all [count]."""

SHORTEST = 4
"""Rows for which the plot of owners has room at least: one bar does not fill it [count]."""

OWNERS = 12
"""Owners in the plot, those with the highest cost; the others are drawn together [count]."""

USES: dict[str, tuple[str, str]] = {
    "serving": ("#0072B2", "o"),
    "idle": ("#E69F00", "s"),
    "failed": ("#D55E00", "X"),
}
"""Colour and marker of each use. Source: Okabe and Ito (2008), "Color Universal Design"."""

_COLUMNS = (
    *("workspace", "endpoint", "deployment", "state", "traffic", "instances", "model", "requests/day"),
    *("cost/month", "owner", "last change", "note"),
)


@view.register
def _inventory(inventory: Inventory) -> Table:
    return inventory_table(inventory, SHOWN)


def inventory_table(inventory: Inventory, most: int = 0) -> Table:
    """Return the inventory as a table; of more rows than `most`, those billed without use and the costly ones."""
    rows: Sequence[InventoryRow] = inventory.rows
    if 0 < most < len(rows):
        rows = sorted(rows, key=lambda row: (not row.waste, -(row.cost_per_month or 0.0)))[:most]
    title = (
        f"Inventory of {inventory.at:%F %T} UTC: {counted(inventory.deployments, 'deployment')} of "
        f"{counted(len({(row.workspace, row.endpoint) for row in inventory.rows}), 'endpoint')}"
    )
    shown = [_row(row) for row in rows]
    columns: tuple[str, ...] = _COLUMNS
    if len(places := {row.workspace for row in rows}) == 1:  # one workspace is named once, for width
        title = f"{title} in workspace {places.pop()}"
        shown, columns = [row[1:] for row in shown], columns[1:]
    right = ("traffic", "requests/day", "cost/month")
    return Table(title, columns, shown, note=_note(inventory, len(rows)), right=right)


def plot_inventory(inventory: Inventory) -> Picture:
    """Draw the cost of each owner by use, and the cost of each deployment against its requests."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    owners, deployments = figure.subplots(1, 2)
    rows = [row for row in inventory.rows if row.deployment]
    priced = any(row.cost_per_month for row in rows)
    unpriced = [row for row in rows if row.cost_per_month is None] if priced else []
    rows = [row for row in rows if row.cost_per_month is not None] if priced else rows
    unit = f"cost per month [{next((row.currency for row in rows if row.currency), '')}]" if priced else "instances"
    _draw_owners(owners, rows, unit, priced=priced)
    _draw_deployments(deployments, rows, unit, priced=priced)
    left_out = f" {counted(len(unpriced), 'deployment')} without a price left out." if unpriced else ""
    return make_picture(figure, f"Cost by owner and by requests.{left_out} {_note(inventory, len(inventory.rows))}")


def _draw_owners(axis: "Axes", rows: Sequence[InventoryRow], unit: str, *, priced: bool) -> None:
    """Draw a bar per owner, the highest at the top, in parts by use."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        sums[row.owner or "no owner"][_use(row)] += _weight(row, priced=priced)
    ranked = sorted(sums, key=lambda owner: sum(sums[owner].values()), reverse=True)
    for owner in ranked[OWNERS:]:
        for use, value in sums[owner].items():
            sums[f"{len(ranked) - OWNERS} others"][use] += value
    shown = [*ranked[:OWNERS], *([f"{len(ranked) - OWNERS} others"] if len(ranked) > OWNERS else [])]
    left = [0.0] * len(shown)
    for use, (colour, _) in USES.items():
        widths = [sums[owner][use] for owner in shown]
        axis.barh(shown, widths, left=left, color=colour, label=use)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.set_ylim(max(len(shown), SHORTEST) - 0.5, -0.5)
    axis.set_xlabel(unit)
    axis.set_title("Cost by owner" if priced else "Instances by owner", color=INK)


def _draw_deployments(axis: "Axes", rows: Sequence[InventoryRow], unit: str, *, priced: bool) -> None:
    """Draw a mark per deployment: what costs much and answers little is at the top left."""
    for use, (colour, marker) in USES.items():
        chosen = [row for row in rows if _use(row) == use and row.requests_per_day is not None]
        axis.scatter(
            [log10(1 + (row.requests_per_day or 0)) for row in chosen],
            [_weight(row, priced=priced) for row in chosen],
            c=colour,
            marker=marker,
            alpha=0.6,
            label=f"{use}: {len(chosen):,}",
        )
    highest = max((log10(1 + (row.requests_per_day or 0)) for row in rows), default=0.0)
    decades = range(int(highest) + 2)
    axis.set_xticks(
        [log10(1 + 10**n) if n else 0.0 for n in decades], [f"{10**n:,}" if n else "0" for n in decades]
    )
    axis.set_xlim(-0.1, highest + 0.2)
    axis.set_xlabel("requests in 24 h")
    axis.set_ylabel(unit)
    axis.set_title("Each deployment and its requests", color=INK)
    axis.set_ylim(bottom=0)
    legend(axis)


def _use(row: InventoryRow) -> str:
    if row.state == "Failed":
        return "failed"
    return "idle" if row.waste.startswith("idle") else "serving"


def _weight(row: InventoryRow, *, priced: bool) -> float:
    return (row.cost_per_month or 0.0) if priced else float(row.instances)


def _row(row: InventoryRow) -> tuple[str | Cell, ...]:
    state = row.state or row.endpoint_state
    tones: dict[str, Tone] = {"Succeeded": "good", "Failed": "bad", "Canceled": "bad"}
    mirrored = f" + mirror {row.mirror} %" if row.mirror else ""
    changed = " by ".join(part for part in (row.last_change_at[:16].replace("T", " "), row.last_changed_by) if part)
    note = "; ".join(part for part in (row.waste, f"lease: {row.lease}" if row.lease else "") if part)
    return (
        Cell(row.workspace, tooltip=f"{row.resource_group}, {row.subscription}"),
        row.endpoint,
        row.deployment or "none",
        Cell(state, tones.get(state, "warning")),
        f"{row.traffic} %{mirrored}" if row.deployment else "",
        f"{row.instances} x {row.instance_type}" if row.deployment else "",
        Cell(row.model, tooltip=row.environment),
        "" if row.requests_per_day is None else f"{row.requests_per_day:,}",
        "" if row.cost_per_month is None else f"{row.cost_per_month:,.2f} {row.currency}",
        Cell(row.owner, tooltip=row.owner_source),
        Cell(changed, tooltip=row.last_change),
        Cell(note, "warning" if row.waste else ""),
    )


def _note(inventory: Inventory, shown: int) -> str:
    """What the table has, and what it lacks."""
    lines = [f"Read from {inventory.source} with {counted(inventory.requests, 'request')}."]
    if shown < len(inventory.rows):
        lines.append(f"{shown:,} of {len(inventory.rows):,} rows: billed without use, then by cost.")
    if inventory.cost_per_month:
        wasted = sum(row.cost_per_month or 0.0 for row in inventory.wasted)
        unused = f"; {len(inventory.wasted):,} that are not used {wasted:,.2f}" if inventory.wasted else ""
        currencies = " and ".join(sorted({row.currency for row in inventory.rows if row.currency}))
        lines.append(f"All cost {inventory.cost_per_month:,.2f} {currencies} per month{unused}.")
    lines += [f"Could not be read: {one.part}: {one.reason}." for one in inventory.unread[:10]]
    if len(inventory.unread) > 10:
        lines.append(f"Could not be read: {len(inventory.unread) - 10:,} more parts.")
    return " ".join(lines)
