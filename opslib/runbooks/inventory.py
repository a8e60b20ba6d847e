"""The inventory runbook: every deployment that the caller can read, what it costs and serves, who changed it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.azure.activity_log import read_changes
from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.estate import Route, read_estate, regions_of
from opslib.azure.request_counts import read_request_counts
from opslib.azure.retail_prices import read_prices
from opslib.evidence.run.files import INVENTORY
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record, write_atomically
from opslib.inventory.formats import as_csv, as_json
from opslib.inventory.owners import Ownership, read_owners
from opslib.inventory.rows import Facts, Inventory, make_inventory
from opslib.model import Endpoint, EstateScope, Outcome, PriceList, Unread
from opslib.model.text import counted
from opslib.parameters.inventory import InventoryParameters
from opslib.runbooks.endpoint_state import mask_secrets
from opslib.runbooks.run import Run

DAY = timedelta(hours=24)


def take_inventory(run: Run[InventoryParameters]) -> Inventory:
    """Read the inventory, and keep it in the run's folder as JSON and CSV."""
    p = run.parameters
    scope = EstateScope(tuple(p.subscriptions), tuple(p.groups), tuple(p.workspaces), p.endpoint)
    inventory = read_inventory(run.workspace, scope, p.definitions, run.progress, p.route)
    write_atomically(run.folder / INVENTORY, as_json(inventory))
    write_atomically((run.folder / INVENTORY).with_suffix(".csv"), as_csv(inventory))
    summary = {"at": inventory.at, "source": inventory.source, **results(inventory), "unread": inventory.unread}
    run.log(JournalEvent.INVENTORY, summary)
    return inventory


def read_inventory(
    workspace: Workspace, scope: EstateScope, definitions: str, progress: Progress, route: Route = "auto"
) -> Inventory:
    """Read the endpoints in a scope, and what is known of them; changes nothing.

    Parameters
    ----------
    workspace
        A connection; its own workspace has no special part.
    scope
        Where to look; empty: everywhere.
    definitions
        Folder with the endpoints' folders, whose policies name the owners; empty: none.
    progress
        Is called with what was read so far.
    route
        How endpoints are read, see `read_estate`.
    """
    owners, unread = read_owners(Path(definitions)) if definitions else (dict[str, Ownership](), ())
    sent, now = workspace.arm.requests, datetime.now(UTC)
    estate = read_estate(workspace.arm, scope, progress, route)
    progress(f"{counted(len(estate.endpoints), 'endpoint')} in {counted(len(estate.workspaces), 'workspace')}")
    for endpoint in estate.endpoints:
        mask_secrets(endpoint)
    requests, uncounted = read_request_counts(workspace.arm, estate.endpoints, now - DAY, now)
    progress("requests of the last 24 hours read")
    subscriptions = sorted({subscription for (subscription, _), _ in regions_of(estate.endpoints)})
    changes, unlogged = read_changes(workspace.arm, subscriptions)
    progress("changes in the activity log read")
    prices, unpriced = _prices(workspace, estate.endpoints)
    facts = Facts(requests, changes, prices, owners)
    parts = (*estate.unread, *uncounted, *unlogged, *unpriced, *unread)
    return make_inventory(estate, facts, now, workspace.arm.requests - sent, parts)


def results(inventory: Inventory) -> dict[str, int | float | str]:
    """Return the numbers of an inventory, for the run's record."""
    currencies = sorted({row.currency for row in inventory.rows if row.currency})
    return {
        "workspaces": inventory.workspaces,
        "endpoints": len(inventory.endpoints),
        "deployments": inventory.deployments,
        "cost_per_month": round(inventory.cost_per_month, 2),
        "currency": " ".join(currencies),
        "wasted_deployments": len(inventory.wasted),
        "wasted_per_month": round(sum(row.cost_per_month or 0.0 for row in inventory.wasted), 2),
        "unread_parts": len(inventory.unread),
        "requests": inventory.requests,
    }


def finish_inventory(run: Run[InventoryParameters], inventory: Inventory) -> Record:
    """End the run: as held where a part could not be read, since the inventory is then incomplete."""
    outcome, reason = conclusion(inventory)
    return run.finish(outcome, reason, results(inventory))


def conclusion(inventory: Inventory) -> tuple[Outcome, str]:
    """Return how an inventory ends, and its sentence."""
    found = (
        f"{counted(inventory.deployments, 'deployment')} of {counted(len(inventory.endpoints), 'endpoint')} in "
        f"{counted(inventory.workspaces, 'workspace')}, read from {inventory.source} with "
        f"{counted(inventory.requests, 'request')}"
    )
    if not inventory.unread:
        return Outcome.SUCCEEDED, found
    parts = "; ".join(f"{one.part}: {one.reason}" for one in inventory.unread[:3])
    more = f"; {len(inventory.unread) - 3:,} more" if len(inventory.unread) > 3 else ""
    return (
        Outcome.HELD,
        f"incomplete: {counted(len(inventory.unread), 'part')} could not be read ({parts}{more}). {found}",
    )


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Group instance types by the reason why they have no price."""
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(missing.items()):
        reasons.setdefault(why, []).append(name)
    return reasons


def _prices(workspace: Workspace, endpoints: Iterable[Endpoint]) -> tuple[dict[str, PriceList], tuple[Unread, ...]]:
    """Read the prices of each region once."""
    prices: dict[str, PriceList] = {}
    unread: list[Unread] = []
    regions: dict[str, list[Endpoint]] = {}
    for (_, region), found in regions_of(endpoints):
        regions.setdefault(region, []).extend(found)
    for region, found in regions.items():
        types = {deployment.instance_type for one in found for deployment in one.deployments}
        if types:
            prices[region] = read_prices(workspace, found[0], types)
            unread += [
                Unread(f"prices of {', '.join(names)} in {region}", why)
                for why, names in _by_reason(prices[region].missing).items()
            ]
    return prices, tuple(unread)
