"""The drift runbook: the live endpoints compared with definitions, an inventory or a run, and who changed them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from opslib.azure.activity_log import read_changes
from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.estate import AUTOSCALE_PART, Route, deployments_part, read_estate
from opslib.drift.autoscale import TARGET, instance_ranges, read_autoscale_settings
from opslib.drift.base import Base, only_endpoint, read_base
from opslib.drift.compare import DriftReport, ResourceChange, attribute, compare
from opslib.drift.fields import Setting, named_values, read_settings
from opslib.drift.formats import as_json, summary
from opslib.errors import DefinitionError, RecordError, UnexpectedAnswer
from opslib.evidence.archive.run_folders import find_archive, find_run
from opslib.evidence.run.files import DRIFT
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record, write_atomically
from opslib.model import Endpoint, Estate, Outcome, ResourceName, Unread, endpoint_id_of
from opslib.parameters.drift import DriftParameters
from opslib.redaction.redact import redact, register_secrets
from opslib.runbooks.endpoint_state import mask_secrets
from opslib.runbooks.run import Run

PROVIDERS = ("Microsoft.MachineLearningServices", "Microsoft.Insights")
"""Autoscale writes its events under the second one."""


def compare_live(run: Run[DriftParameters]) -> DriftReport:
    """Compare the live endpoints with the base, and keep the comparison in the run's folder as JSON."""
    p = run.parameters
    path = find_base(p.base, find_archive())
    report = find_drift(run.workspace, path, run.progress, p.endpoint, p.route)
    write_atomically(run.folder / DRIFT, redact(as_json(report)) + "\n")
    found = {"base": report.base, "base_at": report.base_at, "at": report.at, **results(report)}
    run.log(JournalEvent.COMPARED, found | {"drifted": report.drifted, "unread": report.unread})
    return report


def find_base(text: str, archive: Path) -> Path:
    """Return the path of a base that was given as a path, or as the id of a run or a part of it.

    Raises
    ------
    DefinitionError
        If it is neither a path nor one run.
    """
    path = Path(text)
    if path.exists():
        return path
    try:
        return find_run(archive, text)
    except RecordError as error:
        raise DefinitionError(f"{text!r} is no folder of definitions and no file. As a run: {error}") from error


def results(report: DriftReport) -> dict[str, int | str]:
    """Return the numbers of a comparison, for the run's record."""
    return {
        "resources": len(report.changes),
        "drifted_resources": len(report.drifted),
        "drifted_fields": sum(len(change.fields) for change in report.drifted),
        "unread_parts": len(report.unread),
    }


def finish_drift(run: Run[DriftParameters], report: DriftReport) -> Record:
    """End the run: as failed where something drifted, as held where a part could not be compared."""
    outcome = Outcome.FAILED if report.drifted else Outcome.HELD if report.unread else Outcome.SUCCEEDED
    return run.finish(outcome, summary(report), results(report))


def find_drift(
    workspace: Workspace, path: Path, progress: Progress, endpoint: str = "", route: Route = "auto"
) -> DriftReport:
    """Compare the live endpoints with a base; changes nothing.

    Parameters
    ----------
    workspace
        A connection; the workspace of definitions.
    path
        The base, see `read_base`.
    progress
        Is called with what was read so far.
    endpoint
        Only this one; empty: all of the base.
    route
        How many endpoints are read. One endpoint is always listed, which shows the state of this moment.
    """
    base = read_base(path, workspace.scope.workspace_id)
    if endpoint:
        base = only_endpoint(base, endpoint)
    at = datetime.now(UTC)
    estate = read_estate(workspace.arm, base.scope, progress, "lists" if base.endpoints else route)
    for found in estate.endpoints:
        mask_secrets(found)
    for one in base.expected:
        register_secrets(named_values(one.settings))
    live, extra = _live(estate.endpoints, base)
    settings, unread_settings = _live_settings(estate, base)
    unscaled = [one for one in estate.unread if one.part.startswith(AUTOSCALE_PART)] + unread_settings
    hidden = [one for one in estate.unread if one not in unscaled and not _is_absence(one, base)]
    expected = [one for one in base.expected if not unscaled or TARGET not in one.settings]
    if base.autoscale and not unscaled:
        live |= settings
        extra += settings
    changes = list(compare(expected, live, extra, instance_ranges(settings.values())))
    unread = [*base.unread, *hidden, *unscaled]
    if any(change.drifted for change in changes):
        progress("reading the activity log")
        subscriptions = sorted({ResourceName.of(change.id).subscription for change in changes if change.drifted})
        events, unlogged = read_changes(workspace.arm, subscriptions, base.at, PROVIDERS)
        changes = list(attribute(changes, events, base.at))
        unread += unlogged
    if hidden:  # what could not be read is unknown, not absent
        read = _read_whole(estate.endpoints, hidden)
        changes = [one for one in changes if one.before is not None or _endpoint_id(one) in read]
    return DriftReport(base.name, base.at, at, tuple(changes), tuple(unread))


def _live(endpoints: Iterable[Endpoint], base: Base) -> tuple[dict[str, dict[str, Setting]], list[str]]:
    """Return the settings of the live resources, and the ids of those that count where they are not expected."""
    live: dict[str, dict[str, Setting]] = {}
    extra: list[str] = []
    for endpoint in endpoints:
        if base.endpoints and endpoint.name.lower() not in base.endpoints:
            continue
        live[endpoint.id] = read_settings(endpoint.arm)
        live |= {one.id: read_settings(one.arm) for one in endpoint.deployments}
        extra.append(endpoint.id)
        if endpoint.name.lower() not in base.partly:
            extra += [one.id for one in endpoint.deployments]
    return live, extra


def _read_whole(endpoints: Iterable[Endpoint], hidden: Iterable[Unread]) -> set[str]:
    """Return the ids, in lower case, of the endpoints whose deployments were read: what they lack is absent."""
    parts = {one.part.lower() for one in hidden}
    return {one.id.lower() for one in endpoints if deployments_part(one.id).lower() not in parts}


def _endpoint_id(change: ResourceChange) -> str:
    """Return the id of the endpoint that a deployment or an autoscale setting belongs to, in lower case."""
    target = (change.after or {}).get(TARGET)
    return endpoint_id_of(str(target.compared if target else change.id))


def _live_settings(estate: Estate, base: Base) -> tuple[dict[str, dict[str, Setting]], list[Unread]]:
    """Return the live autoscale settings of the base's endpoints by id, and those that are not understood."""
    found: dict[str, dict[str, Setting]] = {}
    unread: list[Unread] = []
    for arm in estate.autoscale:
        try:
            settings = read_autoscale_settings(arm)
        except UnexpectedAnswer as error:
            unread.append(Unread(f"{AUTOSCALE_PART}: {arm.get('name')}", str(error)))
            continue
        if not base.endpoints or ResourceName.of(settings[TARGET].compared).endpoint in base.endpoints:
            found[str(arm["id"])] = settings
    return found, unread


def _is_absence(unread: Unread, base: Base) -> bool:
    """Return whether a part is an endpoint or workspace that was looked for and is not there, which is a drift."""
    names = {f"endpoint {name}" for name in base.endpoints} | {
        f"workspace {name}" for name in base.scope.workspaces
    }
    return unread.part.lower() in {name.lower() for name in names}
