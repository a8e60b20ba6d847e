"""What is checked before a canary: permissions, room, monitoring, the forecast of its bake, outcomes, probes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.access.actions import READ_AUTOSCALE, count_requests, score
from opslib.azure.connect import Workspace
from opslib.azure.platform_metrics import read_bandwidth
from opslib.azure.rules import read_autoscale
from opslib.azure.scoring_client import scoring_client
from opslib.azure.source import Source
from opslib.definitions.probes import Probe
from opslib.errors import ObserveError
from opslib.evidence.run.journal import JournalEvent
from opslib.judge import BakeForecast
from opslib.model import Endpoint, Finding, Findings, Level, ProbeResult
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.access import check_access, check_scope, source_name
from opslib.runbooks.canary.canary import configured_probes, find_canary_source, forecast_first_stage, planned
from opslib.runbooks.canary.forecast import NoForecast
from opslib.runbooks.conditions import check_conditions, find_load
from opslib.runbooks.costs import canary_cost, check_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import capacity_preflight, mirror_preflight, preflight
from opslib.runbooks.validation_gate import check_validated


def check_canary(run: Run[CanaryParameters], before: Endpoint) -> Findings:
    """Check whether the canary can start; probes are sent to it directly where they are given."""
    p, permissions = run.parameters, _check_permissions(run, before)
    ready = preflight.check_ready(before, p.canary, "canary")
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        *check_conditions(run, before),
        permissions,
        ready,
        preflight.check_off_traffic(before, p.canary),
        *(mirror_preflight.check_mirror_stage(before, p.canary, p.mirror_percent) if p.mirror_percent else ()),
        preflight.check_rollback_target(before),
        check_cost(run, canary_cost(run, before)),
        preflight.check_others(before, [p.canary, *before.traffic]),
        *(() if p.rehearse else check_validated(run, before, p.canary)),
    ]
    probed: tuple[ProbeResult, ...] = ()
    if permissions.level is not Level.BLOCKER:  # what follows is read and sent with these permissions
        findings += (*_check_room(run, before), *_check_source(run, before))
        if ready.level is Level.OK and p.probes:
            probed = run.log(
                JournalEvent.PROBES, _send_probes(run.workspace, before, p.canary, configured_probes(p))
            )
        findings.append(preflight.check_probes(probed, p.canary))
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_room(run: Run[CanaryParameters], before: Endpoint) -> tuple[Finding, ...]:
    """Check that the canary has room for all traffic, and that stable keeps it; autoscale settings included."""
    p, settings = run.parameters, read_autoscale(run.workspace, before)
    load, unknown = find_load(run, before, p.source)
    leaving = [name for name, weight in before.traffic.items() if weight]
    return (
        *((_check_bandwidth(run, before),) if p.mirror_percent else ()),
        capacity_preflight.check_canary_size(before, p.canary, load, settings, unknown),
        capacity_preflight.check_undo_size(before, load, settings),
        capacity_preflight.check_autoscale_follows(settings, leaving, p.canary),
    )


def _check_bandwidth(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    """Check that the mirrored copies fit within the endpoint's bandwidth."""
    try:
        seen, problem = read_bandwidth(run.workspace, before.id), ""
    except ObserveError as error:
        seen, problem = None, str(error)
    return mirror_preflight.check_bandwidth(seen, run.parameters.mirror_percent, problem)


def _check_permissions(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    """Check what the stages, their undo and their judging need; a rehearsal moves no traffic."""
    p = run.parameters
    counting = count_requests(source_name(run, before, p.source), p.source)
    probing_too = (score(before.auth_mode),) if p.probes else ()
    bytes_too = count_requests("metrics", "metrics") if p.mirror_percent and not p.rehearse else ()
    uses = (READ_AUTOSCALE, *counting, *probing_too, *(replace(one, optional=True) for one in bytes_too))
    return check_access(run, before, lambda: None if p.rehearse else planned(p, before), uses)


def _check_source(run: Run[CanaryParameters], before: Endpoint) -> tuple[Finding, Finding, Finding]:
    """Check monitoring, the length of the bake, and outcomes: all three depend on the source."""
    p = run.parameters
    try:
        source = find_canary_source(run.workspace, before, p.source, p.bake_s)
    except ObserveError as error:
        return (
            preflight.check_monitoring("", 0.0, 0.0, str(error)),
            _check_bake(NoForecast(str(error))),
            _check_outcomes(p, None),
        )
    monitoring = preflight.check_monitoring(source.name, source.shortest_bake_s, p.bake_s, "")
    try:
        bake = _check_bake(forecast_first_stage(run, source, before))
    except ObserveError as error:
        bake = _check_bake(NoForecast(str(error)))
    return monitoring, bake, _check_outcomes(p, source)


def _check_bake(found: BakeForecast | NoForecast) -> Finding:
    if isinstance(found, NoForecast):
        return preflight.check_bake(None, found.reason, found.fix)
    return preflight.check_bake(found)


def _check_outcomes(p: CanaryParameters, source: Source | None) -> Finding:
    if not p.outcomes:
        return preflight.check_outcomes("", (), readable=False, per_request=False)
    found = preflight.check_outcomes(
        p.outcomes,
        (*p.bad_outcomes, *p.measures),
        readable=Path(p.outcomes).is_file(),
        per_request=source is not None and source.per_request,
    )
    if found.level is not Level.OK or source is None:
        return found
    known_s = p.outcome_window_s + max(p.settle_s, source.least_lag_s)
    act = bool(p.bad_outcomes) and p.outcomes_mode == "act"
    return preflight.check_outcomes_in_time(known_s, max(p.bake_s, p.max_bake_s), act=act)


def _send_probes(
    workspace: Workspace, endpoint: Endpoint, deployment: str, probes: Sequence[Probe]
) -> tuple[ProbeResult, ...]:
    """Send each probe once to the deployment itself."""
    with scoring_client(workspace, endpoint) as client:
        return tuple(client.send_all(probes, len(probes), deployment))
