"""Findings about room for the traffic: instances, requests at once, and autoscale settings. Pure.

A deployment works on instances x max_concurrent_requests_per_instance requests at once; more wait, then get 429.
"""

import math
from collections.abc import Sequence

from opslib.model import AutoscaleSetting, Deployment, Endpoint, Finding, Level, Load

LITTLE_ROOM = 0.8
"""Share of the room from which a deployment is called nearly full: bursts exceed a minute's mean [fraction]."""


def check_canary_size(
    endpoint: Endpoint, canary: str, load: Load | None, settings: Sequence[AutoscaleSetting], unknown: str = ""
) -> Finding:
    """The canary has room for all traffic, which it takes at the last stage."""
    found = endpoint.find(canary)
    if found is None:
        return Finding.ok("canary's size", f"{canary} does not exist")
    return _check_room("canary's size", endpoint, found, load, settings, unknown, Level.BLOCKER)


def check_return_size(
    endpoint: Endpoint, to: str, load: Load | None, settings: Sequence[AutoscaleSetting], unknown: str = ""
) -> Finding:
    """The target of a rollback has room for all traffic.

    Too little room is a warning: while the other version fails, an overloaded one that answers is better.
    """
    found = endpoint.find(to)
    if found is None:
        return Finding.ok("target's size", f"{to} does not exist")
    return _check_room("target's size", endpoint, found, load, settings, unknown, Level.WARNING)


def check_scale_size(
    endpoint: Endpoint, deployment: str, instances: int, load: Load | None, unknown: str = ""
) -> Finding:
    """The instances that are wanted have room for the deployment's share of the traffic."""
    found, check = endpoint.find(deployment), "room after the scale"
    if found is None:
        return Finding.ok(check, f"{deployment} does not exist")
    if instances >= found.instance_count:
        return Finding.ok(check, f"{found.instance_count} to {instances} instances: not fewer than now")
    weight = endpoint.traffic.get(found.name, 0)
    if not weight:
        return Finding.ok(check, f"{found.name} takes no live traffic")
    if load is None:
        return _unknown(check, unknown, "Check the traffic before you take instances away.")
    return _compare(check, found, instances, load, weight, Level.BLOCKER)


def check_undo_size(endpoint: Endpoint, load: Load | None, settings: Sequence[AutoscaleSetting]) -> Finding:
    """What serves now keeps room for all traffic while the canary takes it: autoscale may take instances away."""
    check = "rollback target's size"
    serving = [found for name in endpoint.traffic if (found := endpoint.find(name)) and endpoint.traffic[name]]
    kept = {found.name: _setting(settings, found) for found in serving}
    shrinking = [found for found in serving if (one := kept[found.name]) and one.minimum < found.instance_count]
    if not shrinking:
        names = ", ".join(f"{found.name} {_room_of(found, found.instance_count)}" for found in serving) or "none"
        return Finding.ok(check, f"keeps its instances: {names}")
    least = sum((one.minimum if (one := kept[f.name]) else f.instance_count) * _each(f) for f in serving)
    named = ", ".join(f"{found.name} by {kept[found.name]}" for found in shrinking)
    if load is not None and load.concurrency <= least * LITTLE_ROOM:
        return Finding.ok(
            check, f"autoscale may shrink {named}; that is room for {least} requests at once, {_of(load)}"
        )
    needed = f", and {_of(load)}" if load else ""
    return Finding(
        check,
        Level.WARNING,
        f"autoscale may shrink {named} while the canary takes the traffic: room for {least} at once{needed}",
        "Raise the setting's minimum to the present instances for the time of the canary.",
    )


def check_autoscale_follows(settings: Sequence[AutoscaleSetting], leaving: Sequence[str], arriving: str) -> Finding:
    """The deployment that gets the traffic is scaled as the one that loses it."""
    behind = [one for one in settings if one.deployment.lower() in {name.lower() for name in leaving}]
    own = [one for one in settings if one.deployment.lower() == arriving.lower()]
    if own:
        return Finding.ok("autoscale", f"{arriving} has {', '.join(map(str, own))}")
    if not behind:
        return Finding.ok("autoscale", "no autoscale setting targets the deployments of this change")
    named = ", ".join(f"{one} on {one.deployment}" for one in behind)
    return Finding(
        "autoscale",
        Level.WARNING,
        f"{named} stays behind, {arriving} has none: with all traffic nothing would scale it",
        f"Once {arriving} serves: opslib autoscale move ENDPOINT --from {behind[0].deployment} --to {arriving}",
    )


def _check_room(  # noqa: PLR0913 - what is compared, and how much it matters
    check: str,
    endpoint: Endpoint,
    found: Deployment,
    load: Load | None,
    settings: Sequence[AutoscaleSetting],
    unknown: str,
    level: Level,
) -> Finding:
    if load is not None:
        setting = _setting(settings, found)
        grown = setting.maximum if setting else found.instance_count
        if found.instance_count < grown and load.concurrency > _room(found, found.instance_count):
            level = Level.WARNING  # autoscale adds instances, after minutes
        return _compare(check, found, found.instance_count, load, 100, level)
    now = sum(_room(d, d.instance_count) for n, w in endpoint.traffic.items() if w and (d := endpoint.find(n)))
    own = _room(found, found.instance_count)
    if own < now:
        return Finding(
            check,
            Level.WARNING,
            f"{found.name} has {_room_of(found, found.instance_count)}; what serves now has room for {now}; "
            f"{unknown or 'no traffic was measured'}",
            f"Give it as many instances as what serves now: {_more(found, math.ceil(now / _each(found)))}",
        )
    return Finding.ok(check, f"{found.name} has {_room_of(found, found.instance_count)}, what serves now has {now}")


def _compare(check: str, found: Deployment, instances: int, load: Load, weight: int, level: Level) -> Finding:
    room, needed = _room(found, instances), load.share(weight)
    evidence = (
        f"{found.name}: {_room_of(found, instances)}; at {weight} % of the traffic it needs {_of(load, weight)}"
    )
    if needed <= room * LITTLE_ROOM:
        return Finding.ok(check, evidence)
    enough = math.ceil(needed / LITTLE_ROOM / _each(found))
    return Finding(check, level if needed > room else Level.WARNING, evidence, _more(found, enough))


def _more(found: Deployment, instances: int) -> str:
    return f"Scale it first: opslib run scale -p deployment={found.name} -p instances={instances}"


def _of(load: Load, weight: int = 100) -> str:
    rate = load.requests_per_s * weight / 100
    return f"{load.share(weight):.2g} at once ({rate:.3g} requests per second, {load.source})"


def _room_of(found: Deployment, instances: int) -> str:
    return f"room for {_room(found, instances)} requests at once ({instances} x {_each(found)})"


def _room(found: Deployment, instances: int) -> int:
    return instances * _each(found)


def _each(found: Deployment) -> int:
    return max(1, found.max_concurrent_requests_per_instance)


def _setting(settings: Sequence[AutoscaleSetting], found: Deployment) -> AutoscaleSetting | None:
    return next((one for one in settings if one.deployment.lower() == found.name.lower()), None)


def _unknown(check: str, problem: str, fix: str) -> Finding:
    return Finding(check, Level.WARNING, problem or "no traffic was served in the last minutes", fix)
