"""Plan a wave on the endpoints that its query selects now."""

from collections.abc import Iterable
from pathlib import Path

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace, connect, find_config
from opslib.errors import ParameterError
from opslib.fleet.plan import WavePlan, make_plan
from opslib.fleet.wave import Select, read_wave
from opslib.inventory.query import InventoryQuery, find_endpoints
from opslib.inventory.rows import InventoryRow
from opslib.model import EstateScope, Unread, endpoint_id_of
from opslib.runbooks.drift import find_drift
from opslib.runbooks.inventory import read_inventory


def plan_wave(path: Path, progress: Progress) -> tuple[WavePlan, bytes]:
    """Read a wave file and the inventory; return the plan, and the file's bytes. Changes nothing.

    Raises
    ------
    PolicyError
        If the wave file is invalid.
    ParameterError
        If a part of the inventory cannot be read, a parameter is invalid, or an endpoint is in another workspace
        than its target.
    """
    wave = read_wave(path)
    workspace = connect(wave.target)
    plan = make_plan(wave, path.read_bytes(), _read_rows(wave.select, workspace, progress))
    _check_workspaces(plan, workspace)
    return plan, path.read_bytes()


def _read_rows(select: Select, workspace: Workspace, progress: Progress) -> list[InventoryRow]:
    query = InventoryQuery(select.match, select.tags, select.exclude)
    scope = EstateScope(select.subscriptions, select.groups, select.workspaces)
    inventory = read_inventory(workspace, scope, select.definitions, progress)
    _require_known(inventory.unread)
    rows = list(find_endpoints(inventory, query))
    if select.drifted_from:
        report = find_drift(workspace, Path(select.drifted_from), progress)
        _require_known(report.unread)
        drifted = {endpoint_id_of(change.id) for change in report.drifted}
        rows = [row for row in rows if endpoint_id_of(row.id) in drifted]
    return rows


def _require_known(unread: Iterable[Unread]) -> None:
    """Require that every endpoint could be read: one that was not may belong to the wave."""
    endpoints = [part for part in unread if not part.part.startswith(_OPTIONAL)]
    if endpoints:
        parts = "; ".join(f"{one.part}: {one.reason}" for one in endpoints[:3])
        raise ParameterError(f"the endpoints of the wave are unknown: {parts}. Nothing was started")


_OPTIONAL = ("prices", "requests", "activity log", "autoscale")
"""Parts of an inventory that no query of endpoints needs, by how their names begin."""


def _check_workspaces(plan: WavePlan, workspace: Workspace) -> None:
    """Require that each member's target is the workspace that its endpoint is in."""
    scope = workspace.scope
    known = {plan.wave.target: (scope.subscription_id, scope.resource_group, scope.workspace_name)}
    for member in plan.members:
        target = str(member.parameters["target"])
        if target not in known:
            config = find_config(target)
            known[target] = config["subscription_id"], config["resource_group"], config["workspace_name"]
        if [name.lower() for name in known[target]] != [name.lower() for name in member.workspace]:
            raise ParameterError(
                f"{member.endpoint} is in the workspace {'/'.join(member.workspace)}, and target {target!r} is "
                f"{'/'.join(known[target])}. Narrow select.workspaces, or name a config.json for each workspace, "
                'such as parameters.target: "workspaces/{workspace}.json"'
            )
