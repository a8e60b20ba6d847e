"""The rollback runbook: all traffic back to one deployment, and proof by real requests that it arrives.

It needs no metrics and no policy: it works when everything else is broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from opslib.azure.permissions import missing_actions
from opslib.azure.request_log import RequestLog
from opslib.azure.scoring_client import Probe, ScoringClient, read_probes, scoring_client
from opslib.azure.source import find_source
from opslib.displayed import Displayed
from opslib.errors import AzureError, ObserveError, PlanError
from opslib.evidence.archive.run_folders import find_archive, read_archive
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record
from opslib.model import Endpoint, Finding, Findings, Level, Outcome, Plan, ProbeResult, SetTraffic
from opslib.parameters import RollbackParameters
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.observe import read_source


@dataclass(frozen=True)
class RolledBack(Displayed):
    """How a rollback went.

    `recovery_s` is from the start of the run to the first verified answer of the deployment [seconds]; None if
    there was none.
    """

    outcome: Outcome
    reason: str
    to: str
    recovery_s: float | None = None
    verified_requests: int = 0
    probes: tuple[ProbeResult, ...] = ()


def find_target(run: Run[RollbackParameters], before: Endpoint) -> str:
    """The deployment to return to: the one named, else the last known good of the archive."""
    if run.parameters.to:
        found = before.find(run.parameters.to)
        return found.name if found else run.parameters.to
    history = [record for folder, record in read_archive(find_archive(), before.name) if folder != run.folder]
    return last_known_good(before, history)


def last_known_good(before: Endpoint, history: Sequence[Record]) -> str:
    """Derive the last known good deployment from what is recorded.

    Parameters
    ----------
    before
        The endpoint now.
    history
        Records of runs on this endpoint, newest first.

    Returns
    -------
    str
        The deployment that had most of the traffic before the newest change that it has lost by, that is ready
        now and was not itself left by a rollback or given up as a canary since.

    Raises
    ------
    PlanError
        If the records name none.
    """
    given_up: set[str] = set()
    for record in history:
        stable = max(record.traffic_before or {}, key=(record.traffic_before or {}).__getitem__, default="")
        found = before.find(stable) if stable else None
        if (
            record.runbook == "rollback"
            and record.outcome is Outcome.SUCCEEDED
            and stable != record.results.get("to")
        ):
            given_up.add(stable)
        elif found and found.ready and stable not in given_up and before.traffic.get(found.name, 0) < 100:
            return found.name
        if record.runbook == "canary" and record.outcome is not Outcome.SUCCEEDED:
            given_up.add(str(record.parameters.get("canary", "")))
    raise PlanError(
        f"the records name no deployment to return to that is ready now and has lost traffic; {before.name} has: "
        f"{before.deployment_names()}. Name one: -p to=NAME"
    )


def check_rollback(run: Run[RollbackParameters], before: Endpoint, to: str) -> Findings:
    """Look for what stands against the rollback; a troubled endpoint is a reason for it, not against it."""
    state = preflight.check_state(before)
    if state.level is Level.BLOCKER:
        state = Finding(state.check, Level.WARNING, state.evidence, "The rollback waits for it to settle.")
    if run.parameters.probes:
        read_probes(run.parameters.probes)
    findings = (
        state,
        preflight.check_lease(before, datetime.now(UTC)),
        _check_permissions(run, before),
        preflight.check_ready(before, to, "rollback target"),
    )
    return run.note(JournalEvent.PREFLIGHT, Findings(findings))


def _check_permissions(run: Run[RollbackParameters], before: Endpoint) -> Finding:
    """Like any runbook's, but where nobody can say, the rollback is tried all the same."""
    try:
        missing = missing_actions(run.workspace, before, "rollback")
    except AzureError as error:
        return Finding("permissions", Level.WARNING, f"not known: {error}", "The rollback is tried all the same.")
    return preflight.check_permissions(missing, run.workspace.scope.principal)


def plan_rollback(run: Run[RollbackParameters], before: Endpoint, to: str) -> Plan:
    """Plan the one step and the requests that verify it."""
    return run.note(JournalEvent.PLAN, planning.plan_return(before, to, run.parameters.verify_requests))


def roll_back(run: Run[RollbackParameters], plan: Plan) -> RolledBack:
    """Give the traffic back and verify that it arrives."""
    step = plan.steps[0]
    assert isinstance(step, SetTraffic)
    (to,) = step.after
    if run.parameters.dry_run:
        return RolledBack(Outcome.PLANNED, "dry run: no traffic was moved", to)
    run.journal.write(JournalEvent.APPLYING, step)
    run.note(JournalEvent.APPLIED, apply(step, run.workspace, run.parameters.operation_timeout_s, run.say))
    if run.parameters.probes:
        rolled_back = _verify_by_probes(run, plan.before, to)
    else:
        rolled_back = _verify_by_users(run, plan.before, to)
    run.say(rolled_back.reason)
    return run.note(JournalEvent.ROLLED_BACK, rolled_back)


def _verify_by_probes(run: Run[RollbackParameters], endpoint: Endpoint, to: str) -> RolledBack:
    """Send live requests until the wanted number in a row is answered well, and by the right deployment."""
    probes = read_probes(run.parameters.probes)
    wanted, begun_s = run.parameters.verify_requests, monotonic()
    sent: list[ProbeResult] = []
    good: list[ProbeResult] = []
    with scoring_client(run.workspace, endpoint) as client:
        while len(good) < wanted and monotonic() - begun_s < run.parameters.verify_s:
            batch = _send(run, client, probes, len(sent), wanted - len(good), endpoint)
            sent += batch
            arrived = [result for result in batch if result.ok and result.deployment.lower() == to.lower()]
            good = [*good, *arrived] if len(arrived) == len(batch) else []
            run.say(f"{len(good)} of {wanted} live requests in a row answered by {to}")
    run.journal.write(JournalEvent.PROBES, sent)
    if len(good) < wanted:
        bad = next((r for r in reversed(sent) if not r.ok), None)
        why = bad.problem if bad else f"answered by {sent[-1].deployment or 'somebody who does not say'}"
        reason = f"traffic is set to {to}, but {len(good)} of {wanted} live requests arrived there; the last: {why}"
        return RolledBack(Outcome.HELD, reason, to, None, len(good), tuple(sent))
    first = good[0].sent_at + timedelta(milliseconds=good[0].latency_ms)
    recovery_s = round((first - run.record.started_at).total_seconds(), 3)
    reason = (
        f"{to} takes all traffic: {wanted} live requests verified, the first {recovery_s:.1f} s after the start"
    )
    return RolledBack(Outcome.SUCCEEDED, reason, to, recovery_s, wanted, tuple(sent))


def _send(
    run: Run[RollbackParameters],
    client: ScoringClient,
    probes: Sequence[Probe],
    offset: int,
    requests: int,
    endpoint: Endpoint,
) -> list[ProbeResult]:
    """Send a batch; who answered is read from the answers, else from the request log."""
    results = [client.send(probes[(offset + n) % len(probes)]) for n in range(requests)]
    unnamed = [result for result in results if result.ok and not result.deployment]
    if unnamed:
        named = _ask_log(run, endpoint, unnamed)
        results = [replace(r, deployment=named.get(r.client_request_id, r.deployment)) for r in results]
    return results


def _ask_log(run: Run[RollbackParameters], endpoint: Endpoint, results: Sequence[ProbeResult]) -> dict[str, str]:
    try:
        source = find_source(run.workspace, endpoint)
        if not isinstance(source, RequestLog):
            return {}
        sleep(source.grain_s)
        found = source.answered_by([r.client_request_id for r in results], results[0].sent_at)
        return {request: exposure.deployment for request, exposure in found.items()}
    except ObserveError:
        return {}


def _verify_by_users(run: Run[RollbackParameters], endpoint: Endpoint, to: str) -> RolledBack:
    """Without probes, wait until users' requests are seen to be answered by the deployment, and by it alone."""
    since, begun_s = datetime.now(UTC), monotonic()
    wanted, seen = run.parameters.verify_requests, 0
    try:
        source = find_source(run.workspace, endpoint)
    except ObserveError as error:
        return RolledBack(Outcome.HELD, f"traffic is set to {to}; nothing can verify it: {error}", to)
    while monotonic() - begun_s < run.parameters.verify_s:
        now = datetime.now(UTC)
        observation = read_source(source, since, now, late_data_s=0.0).observation
        served = observation.total
        seen = served[to].requests if to in served else 0
        if served.keys() - {to}:
            since = now  # requests that were under way when the traffic moved
        elif seen >= wanted:
            first = min(interval.start for interval in observation.intervals if to in interval.served)
            recovery_s = round((max(first, since) - run.record.started_at).total_seconds(), 3)
            reason = (
                f"{to} takes all traffic: {seen} users' requests seen, the first {recovery_s:.1f} s after the start"
            )
            return RolledBack(Outcome.SUCCEEDED, reason, to, recovery_s, seen)
        run.say(f"{seen} of {wanted} users' requests seen at {to}")
        sleep(min(source.grain_s, 10.0))
    reason = (
        f"traffic is set to {to}, but {seen} of {wanted} users' requests were seen there; pass probes=FILE.jsonl"
    )
    return RolledBack(Outcome.HELD, reason, to, None, seen)
