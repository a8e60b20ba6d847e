"""Plans: before, after, the steps between and the undo, made before anything is applied. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from opslib.errors import PlanError
from opslib.model import (
    Change,
    CreateDeployment,
    DeleteDeployment,
    DeleteRule,
    Deployment,
    DeploymentRule,
    Endpoint,
    Plan,
    RestoreRule,
    SendProbes,
    SetInstanceCount,
    SetTraffic,
    Step,
    Traffic,
)
from opslib.model.traffic import describe_traffic


def share_traffic(before: Traffic, canary: str, weight: int) -> dict[str, int]:
    """Give the canary its weight, and share the rest among the others in their old proportion.

    Parameters
    ----------
    before
        Traffic without the canary; sums to 100 [percent].
    canary
        Name of the deployment on trial.
    weight
        Its share of live traffic; 0 to 100 [percent].

    Returns
    -------
    dict
        Whole percents that sum to 100; remainders go to the largest fractions, then by name.

    Raises
    ------
    PlanError
        If `before` does not sum to 100.

    Examples
    --------
    >>> share_traffic({"blue": 100}, "green", 10)
    {'blue': 90, 'green': 10}
    """
    if sum(before.values()) != 100:
        raise PlanError(
            f"traffic must sum to 100 % before it can be shared, got {sum(before.values())} % "
            f"({describe_traffic(before)})"
        )
    rest = 100 - weight
    exact = {name: share * rest / 100 for name, share in before.items()}
    shared = {name: int(share) for name, share in exact.items()}
    by_fraction = sorted(exact, key=lambda name: (shared[name] - exact[name], name))
    for name in by_fraction[: rest - sum(shared.values())]:
        shared[name] += 1
    shared[canary] = weight
    return {name: share for name, share in shared.items() if share}


def plan_stages(
    before: Endpoint, canary: str, stages: Sequence[int], bake_s: float, mirror_percent: int = 0
) -> Plan:
    """Plan a canary: one traffic step for each stage; the undo restores the traffic from before.

    With a mirror, the first step copies that share of live traffic to the canary, and the second ends the mirror.
    """
    steps: list[SetTraffic] = []
    current: Traffic = dict(before.traffic)
    no_mirror = {canary: 0} if mirror_percent else None
    if mirror_percent:
        steps.append(SetTraffic(before.name, current, current, bake_s, {canary: mirror_percent}))
    for weight in stages:
        after = share_traffic(before.traffic, canary, weight)
        steps.append(SetTraffic(before.name, current, after, bake_s, no_mirror if weight == stages[0] else None))
        current = after
    undo = SetTraffic(before.name, current, dict(before.traffic), mirror=no_mirror)
    return Plan(before.name, before, tuple(steps), (undo,), (_traffic_change(before.traffic, current),))


def insert_half_step(
    before: Traffic, canary: str, here: SetTraffic, rest: Sequence[SetTraffic]
) -> tuple[SetTraffic, ...]:
    """Insert a stage half-way between one stage and the next.

    Parameters
    ----------
    before
        Traffic without the canary; sums to 100 [percent].
    canary
        Deployment on trial.
    here, rest
        The stage that was reached, and the stages still planned.

    Returns
    -------
    tuple
        What is planned now; empty where there is no next stage, or no whole percent between the two.

    Examples
    --------
    >>> here = SetTraffic("fraud", {"blue": 100}, {"blue": 90, "green": 10}, 600.0)
    >>> there = SetTraffic("fraud", here.after, {"blue": 50, "green": 50}, 600.0)
    >>> [step.after for step in insert_half_step({"blue": 100}, "green", here, [there])]
    [{'blue': 70, 'green': 30}, {'blue': 50, 'green': 50}]
    """
    if not rest:
        return ()
    weight = (here.after[canary] + rest[0].after[canary]) // 2
    if weight == here.after[canary]:
        return ()
    after = share_traffic(before, canary, weight)
    return (
        SetTraffic(here.endpoint, here.after, after, here.bake_s),
        replace(rest[0], before=after),
        *rest[1:],
    )


def plan_return(before: Endpoint, to: str, requests: int) -> Plan:
    """Plan a rollback: all traffic to one deployment in one step, then live requests."""
    found = before.find(to)
    if found is None:
        raise PlanError(f"deployment {to!r} does not exist; {before.name} has: {before.deployment_names()}")
    after = {found.name: 100}
    steps: tuple[Step, ...] = (
        SetTraffic(before.name, dict(before.traffic), after),
        SendProbes(before.name, "", requests),
    )
    undo = SetTraffic(before.name, after, dict(before.traffic))
    return Plan(before.name, before, steps, (undo,), (_traffic_change(before.traffic, after),))


def plan_create(before: Endpoint, step: CreateDeployment, requests: int) -> Plan:
    """Plan a deployment at zero traffic, and the probes that are sent to it directly."""
    steps: tuple[Step, ...] = (step, SendProbes(before.name, step.deployment, requests))
    made = f"{step.model} on {step.instance_count} x {step.instance_type}, 0 % of traffic"
    return Plan(
        before.name,
        before,
        steps,
        (DeleteDeployment(before.name, step.deployment),),
        (Change(f"deployment {step.deployment}", "absent", made),),
    )


def plan_validation(before: Endpoint, deployment: str, requests: int) -> Plan:
    """Plan requests to one deployment alone; they change nothing, so there is nothing to undo."""
    found = before.find(deployment)
    if found is None:
        raise PlanError(f"deployment {deployment!r} does not exist; {before.name} has: {before.deployment_names()}")
    return Plan(before.name, before, (SendProbes(before.name, found.name, requests),), (), ())


def plan_instances(before: Endpoint, deployment: str, instances: int) -> Plan:
    """Plan a scale, in or out."""
    found = before.find(deployment)
    if found is None:
        raise PlanError(f"deployment {deployment!r} does not exist; {before.name} has: {before.deployment_names()}")
    step = SetInstanceCount(before.name, found.name, found.instance_count, instances)
    undo = SetInstanceCount(before.name, found.name, instances, found.instance_count)
    change = Change(f"instances of {found.name}", str(found.instance_count), str(instances))
    return Plan(before.name, before, (step,), (undo,), (change,))


def plan_retirement(
    before: Endpoint, deployment: Deployment, rules: Sequence[DeploymentRule], definition: str
) -> Plan:
    """Plan the deletion of a deployment, then of the rules that it alone has.

    The deployment goes first: should its deletion fail, it is still watched and scaled.

    Parameters
    ----------
    definition
        Name of the file in the run's folder that creates the deployment again.
    """
    alone = [rule for rule in rules if not rule.others]
    name, size = deployment.name, f"{deployment.instance_count} x {deployment.instance_type}"
    again = CreateDeployment(
        before.name, name, definition, deployment.instance_type, deployment.instance_count, deployment.model
    )
    return Plan(
        before.name,
        before,
        (
            DeleteDeployment(before.name, name),
            *(DeleteRule(before.name, str(rule), rule.id, rule.api_version, rule.writable) for rule in alone),
        ),
        (
            again,
            *(RestoreRule(before.name, str(rule), rule.id, rule.api_version, rule.writable) for rule in alone),
        ),
        (
            Change(f"deployment {name}", f"{deployment.model} on {size}, 0 % of traffic", "absent"),
            *(Change(str(rule), f"targets {name}", "absent") for rule in alone),
        ),
    )


def canary_of(plan: Plan) -> str:
    """Return the deployment that the plan's traffic steps add."""
    last = plan.steps[-1]
    assert isinstance(last, SetTraffic)
    return next(name for name in last.after if not plan.before.traffic.get(name))


def _traffic_change(before: Traffic, after: Traffic) -> Change:
    return Change("traffic", describe_traffic(before), describe_traffic(after))
