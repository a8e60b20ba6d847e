"""The size runbook: how many instances of which type a deployment needs, on evidence. It changes nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opslib.access.actions import READ_AUTOSCALE, READ_CAPACITY, count_requests, score
from opslib.azure.capacity import most_instances, read_instance_types, read_quotas
from opslib.azure.load_test import run_load_test
from opslib.azure.retail_prices import read_prices
from opslib.azure.rules import read_autoscale
from opslib.azure.source import find_source
from opslib.azure.utilization import read_utilization
from opslib.definitions.probes import read_probes
from opslib.errors import PlanError
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record
from opslib.model import Endpoint, Finding, Findings, Outcome, PriceList
from opslib.parameters.size import SizeParameters
from opslib.runbooks.access import check_access, check_scope, source_name
from opslib.runbooks.run import Run
from opslib.runbooks.steps import preflight
from opslib.sizing.candidates import Candidate, Limits, Offer, make_candidates
from opslib.sizing.demand import Demand, LatencyPoint, measured_demand, with_points
from opslib.sizing.recommend import LoadTest, Sizing, measured_types, recommend

GRAIN_S = 60.0
"""Length of the intervals whose busiest one is the peak [seconds]."""


def check_size(run: Run[SizeParameters], before: Endpoint) -> Findings:
    """Check whether the deployment can be measured, and that a load test meets no traffic."""
    p = run.parameters
    uses = [READ_CAPACITY, READ_AUTOSCALE, *count_requests(source_name(run, before, p.source), p.source)]
    if p.load_test:
        uses.append(score(before.auth_mode))
    name = p.deployment or before.stable or ""
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        check_access(run, before, lambda: None, uses),
        preflight.check_ready(before, name, "deployment"),
        *([_check_test(before, p)] if p.load_test else []),
    ]
    return run.log(JournalEvent.PREFLIGHT, Findings(tuple(findings)))


def _check_test(before: Endpoint, p: SizeParameters) -> Finding:
    """Check that no user's request reaches what a load test may overload."""
    check, name = "load test", p.load_test_deployment
    found = before.find(name)
    if found is None or not found.ready:
        return Finding.blocker(check, f"{name} does not exist or is not ready", "Deploy it first, at 0 % traffic.")
    taken = before.traffic.get(found.name, 0) + before.mirror_traffic.get(found.name, 0)
    if taken:
        fix = "Test a deployment at 0 % live and mirrored traffic."
        return Finding.blocker(check, f"{found.name} takes {taken} % of the traffic, expected 0 %", fix)
    text = f"{found.name} takes no traffic; up to {p.load_test_rps:g} requests per second for {p.load_test_s:g} s"
    return Finding.ok(check, text)


def measure_demand(run: Run[SizeParameters], before: Endpoint) -> Demand:
    """Measure what the deployment served, and how busy its instances were.

    Raises
    ------
    PlanError
        If the endpoint does not have the deployment, or nothing takes traffic.
    """
    p, until = run.parameters, datetime.now(UTC)
    found = before.find(p.deployment or before.stable or "")
    if found is None:
        raise PlanError(
            f"deployment {p.deployment!r} does not exist; the endpoint has: {before.deployment_names()}"
        )
    since = until - timedelta(hours=p.look_back_h)
    source = find_source(run.workspace, before, p.source, GRAIN_S)
    run.progress(f"reading {p.look_back_h:g} h of the {source.name}")
    seen = source.observe(since, until)
    used = read_utilization(run.workspace, before, found, since, until)
    concurrent = found.max_concurrent_requests_per_instance
    return measured_demand(seen, found.name, found.instance_type, found.instance_count, concurrent, used)


def size(run: Run[SizeParameters], before: Endpoint, demand: Demand) -> Sizing:
    """Test another deployment if that is wanted, compare the candidates, and recommend one."""
    p = run.parameters
    tests = _test(run, before) if p.load_test and not p.dry_run else ()
    measured, own = measured_types(demand, tests), demand.instance_type.lower()
    of_own = [one for one in tests if one.instance_type.lower() == own and not one.stopped]
    points = [LatencyPoint(one.load, one.p95_ms) for one in of_own if one.p95_ms is not None]
    demand = with_points(demand, points)
    limits = Limits(p.max_p95_ms, p.max_use, p.min_instances)
    offers, prices = _offers(run, before, demand)
    candidates = make_candidates(demand, offers, limits, measured)
    sizing = recommend(demand, candidates, limits, tests, prices.currency, p.min_requests)
    return run.log(JournalEvent.SIZED, replace(sizing, commands=_commands(run, before, sizing)))


def finish_size(run: Run[SizeParameters], sizing: Sizing) -> Record:
    """End the run: held where the evidence supports no size."""
    chosen, peak = sizing.chosen, sizing.demand.peak
    now = next((one for one in sizing.candidates if one.current), None)
    results = {
        "instance_type": chosen.instance_type if chosen else None,
        "instances": chosen.instances if chosen else None,
        "headroom": round(chosen.headroom, 3) if chosen else None,
        "cost_per_month_now": _amount(now),
        "cost_per_month": _amount(chosen),
        "currency": sizing.currency,
        "peak_requests_per_s": round(peak.requests_per_s, 3) if peak else None,
    }
    return run.finish(Outcome.SUCCEEDED if chosen else Outcome.HELD, sizing.reason, results)


def _amount(candidate: Candidate | None) -> float | None:
    cost = candidate.per_month if candidate else None
    return None if cost is None else round(float(cost), 2)


def _test(run: Run[SizeParameters], before: Endpoint) -> tuple[LoadTest, ...]:
    p = run.parameters
    found = before.find(p.load_test_deployment)
    assert found is not None
    probes = read_probes(p.probes)
    return run_load_test(run.workspace, before, found, probes, p.load_test_rps, p.load_test_s, run.progress)


def _offers(run: Run[SizeParameters], before: Endpoint, demand: Demand) -> tuple[tuple[Offer, ...], PriceList]:
    """Return the instance types to compare: those that are named, else the family of the present one."""
    p, types = run.parameters, read_instance_types(run.workspace, before)
    by_name = {one.name.lower(): one for one in types}
    if unknown := [name for name in p.instance_types if name.lower() not in by_name]:
        raise PlanError(f"instance_types: the region does not offer {', '.join(unknown)}")
    own = by_name.get(demand.instance_type.lower())
    family = [one for one in types if own and one.family == own.family]
    wanted = [by_name[name.lower()] for name in p.instance_types] or family
    tested = before.find(p.load_test_deployment) if p.load_test else None
    if tested and tested.instance_type.lower() in by_name:
        wanted.append(by_name[tested.instance_type.lower()])
    compared = {one.name.lower(): one for one in (*([own] if own else []), *wanted)}
    names = [one.name for one in compared.values()] or [demand.instance_type]
    prices = read_prices(run.workspace, before, names, _currency(run))
    quotas = {one.family: one for one in read_quotas(run.workspace, before)}
    found = before.find(demand.deployment)
    offers = tuple(
        Offer(one.name, one.cores, price.per_hour if (price := prices.find(one.name)) else None, most)
        for one in compared.values()
        for most in [most_instances(one, quotas.get(one.family), found)]
    )
    return offers, prices


def _currency(run: Run[SizeParameters]) -> str:
    return run.policy.cost.currency if run.policy and run.policy.cost else "USD"


def _commands(run: Run[SizeParameters], before: Endpoint, sizing: Sizing) -> tuple[str, ...]:
    """Return what to run: a scale, where autoscale sets the count its minimum, or a release of another type."""
    demand, chosen = sizing.demand, sizing.chosen
    found: list[str] = []
    if chosen and not chosen.current:
        if chosen.instance_type.lower() != demand.instance_type.lower():
            found += _release(run, before, chosen)
        elif scaled := [
            one for one in read_autoscale(run.workspace, before) if one.deployment == demand.deployment
        ]:
            most = max(chosen.instances, scaled[0].maximum)
            found.append(
                f"opslib autoscale set {before.name} --deployment {demand.deployment} --min {chosen.instances} "
                f"--max {most} --setting {scaled[0].name}"
            )
        else:
            found.append(
                f"opslib run scale -p endpoint={before.name} -p deployment={demand.deployment} "
                f"-p instances={chosen.instances}"
            )
    if sizing.to_measure:
        found += _release(run, before, sizing.to_measure, measure=True)
    return tuple(found)


def _release(run: Run[SizeParameters], before: Endpoint, wanted: Candidate, *, measure: bool = False) -> list[str]:
    """Return the commands that release another instance type as a new deployment, with a canary of its own."""
    p = run.parameters
    name = _new_name(before, wanted.instance_type)
    endpoint, definition = f"-p endpoint={before.name}", p.definition or "DEPLOYMENT.yml"
    sizes = (
        f'["name={name}", "instance_type={wanted.instance_type}", "instance_count={wanted.instances}", '
        f'"request_settings.max_concurrent_requests_per_instance={wanted.concurrent}"]'
    )
    deploy = f"opslib run deploy {endpoint} -p definition={definition} -p 'set={sizes}'"
    found = [] if before.find(name) else [deploy]
    if measure:
        found.append(
            f"opslib run size {endpoint} -p load_test=true -p load_test_deployment={name} "
            f"-p probes={p.probes or 'PROBES.jsonl'} -p load_test_rps={p.load_test_rps:g}"
        )
    return [*found, f"opslib run canary {endpoint} -p canary={name}"]


def _new_name(before: Endpoint, instance_type: str) -> str:
    """Return the name of the deployment of an instance type: one without traffic that has it, else a new one."""
    unused = (one for one in before.deployments if not before.traffic.get(one.name, 0))
    present = next((one.name for one in unused if one.instance_type.lower() == instance_type.lower()), "")
    return present or instance_type.lower().removeprefix("standard_").replace("_", "-")[:32]
