"""Rules of autoscale settings: what Azure accepts and then does not do as it was meant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from opslib.autoscale.setting import ScaleProfile, ScaleRule, ScaleSetting
from opslib.model import Endpoint

DEPLOYMENT_METRICS = frozenset(
    {
        *("CpuUtilizationPercentage", "CpuMemoryUtilizationPercentage", "DiskUtilization", "DeploymentCapacity"),
        *("GpuUtilizationPercentage", "GpuMemoryUtilizationPercentage", "GpuEnergyJoules"),
        *("RequestsPerMinute", "RequestLatency_P50", "RequestLatency_P90", "RequestLatency_P95"),
        *("RequestLatency_P99", "DataCollectionErrorsPerMinute", "DataCollectionEventsPerMinute"),
    }
)
"""Metrics of a deployment. Source: Azure Monitor, supported metrics, onlineEndpoints/deployments (July 2026)."""

ENDPOINT_METRICS = frozenset(
    {
        *("RequestsPerMinute", "RequestLatency", "RequestLatency_P50", "RequestLatency_P90", "RequestLatency_P95"),
        *("RequestLatency_P99", "ConnectionsActive", "NewConnectionsPerSecond", "NetworkBytes"),
        *("DataCollectionErrorsPerMinute", "DataCollectionEventsPerMinute"),
    }
)
"""Metrics of an endpoint. Source: as above, onlineEndpoints."""


class Severity(StrEnum):
    """How bad a problem is: an error makes scaling fail or run the wrong way."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class LintFacts:
    """What a setting is compared with: the endpoint, and most instances by deployment (lower case)."""

    endpoint: Endpoint
    most_instances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One problem of a setting: which rule, where, what was seen, and what to do."""

    rule: str
    severity: Severity
    setting: str
    profile: str
    evidence: str
    fix: str


Found = Iterator[tuple[str, str]]
"""Evidence and fix of each problem."""


def lint(settings: Sequence[ScaleSetting], facts: LintFacts) -> tuple[Problem, ...]:
    """Return the problems of all settings of an endpoint, in their order."""
    found: list[Problem] = []
    for setting in settings:
        for rule, (severity, check) in OF_SETTING.items():
            found += [Problem(rule, severity, setting.name, "", *one) for one in check(setting, settings, facts)]
        for profile in setting.profiles:
            for rule, (severity, inspect) in OF_PROFILE.items():
                found += [
                    Problem(rule, severity, setting.name, profile.name, *one)
                    for one in inspect(profile, setting, facts)
                ]
    return tuple(found)


def _check_target(setting: ScaleSetting, _: Sequence[ScaleSetting], facts: LintFacts) -> Found:
    if facts.endpoint.find(setting.deployment) is None:
        yield (
            f"{setting.deployment} does not exist",
            "Delete the setting, or move it to the deployment that serves.",
        )


def _check_left_behind(setting: ScaleSetting, settings: Sequence[ScaleSetting], facts: LintFacts) -> Found:
    endpoint, serving = facts.endpoint, facts.endpoint.stable
    taken = {name.lower(): weight for name, weight in endpoint.traffic.items()}
    scaled = {one.deployment.lower() for one in settings if one.enabled}
    idle = not taken.get(setting.deployment.lower())
    if endpoint.find(setting.deployment) and serving and idle and serving.lower() not in scaled:
        yield (
            f"{setting.deployment} takes no traffic; {serving}, which does, has no setting",
            f"opslib autoscale move {endpoint.name} --from {setting.deployment} --to {serving}",
        )


def _check_range(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    if not 1 <= profile.minimum <= profile.maximum:
        seen = f"minimum {profile.minimum}, maximum {profile.maximum}"
        yield (
            f"{seen}; expected 1 <= minimum <= maximum",
            "Correct the range; a deployment has at least 1 instance.",
        )


def _check_default(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    if not profile.minimum <= profile.default <= profile.maximum:
        seen = f"default {profile.default} is outside {profile.minimum} to {profile.maximum}"
        yield seen, "Set the default, which applies where no metric can be read, within the range."


def _check_quota(profile: ScaleProfile, setting: ScaleSetting, facts: LintFacts) -> Found:
    most = facts.most_instances.get(setting.deployment.lower())
    if most is not None and profile.maximum > most:
        yield (
            f"maximum {profile.maximum}, the quota has room for {most} instances of {setting.deployment}",
            f"Request more quota, or set the maximum to {most}: a scale-out beyond it fails.",
        )


def _check_direction(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    for rule in profile.rules:
        if rule.type != "ExactCount" and rule.above != rule.increase:
            way = "adds instances at a low value" if rule.increase else "removes instances at a high value"
            turned = "Decrease" if rule.increase else "Increase"
            yield f"{rule} {way}", f"Set the direction to {turned}, or turn the operator round."


def _check_pair(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    out, inward = _by_direction(profile)
    if out and not inward:
        yield "rules add instances, none removes them: the count only rises", "Add a rule that scales in."
    if inward and not out:
        yield "rules remove instances, none adds them: the count only falls", "Add a rule that scales out."


def _check_flapping(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    """Project as Azure does: value x instances / instances after; it does not scale in where that would scale out.

    Source: Microsoft Learn, Azure Monitor, "Flapping in autoscale".
    """
    out, inward = _by_direction(profile)
    for low in inward:
        for high in (
            one for one in out if (one.metric, one.resource.lower()) == (low.metric, low.resource.lower())
        ):
            if low.threshold >= high.threshold:
                yield f"scales in below {low.threshold:g}, out above {high.threshold:g}", _APART
                continue
            blocked = [n for n in range(profile.minimum + 1, profile.maximum + 1) if _flaps(low, high, n, profile)]
            if blocked:
                first = blocked[0]
                after = max(low.target(first), profile.minimum)
                projected = low.threshold * first / after
                seen = (
                    f"{low.metric} just below {low.threshold:g} at {first} instances is {projected:.3g} at {after}"
                )
                fix = f"Scale in below {high.threshold * after / first:.3g}, or out at a higher value."
                yield f"{seen}, beyond {high.threshold:g}: Azure does not scale in", fix


_APART = "Set the scale-in threshold well below the one that scales out."


def _flaps(low: ScaleRule, high: ScaleRule, instances: int, profile: ScaleProfile) -> bool:
    after = max(low.target(instances), profile.minimum)
    return 0 < after < instances and high.triggers(low.threshold * instances / after)


def _check_metric(profile: ScaleProfile, setting: ScaleSetting, facts: LintFacts) -> Found:
    for rule in profile.rules:
        of_endpoint = rule.resource.strip("/").lower() == facts.endpoint.id.strip("/").lower()
        if rule.metric not in (ENDPOINT_METRICS if of_endpoint else DEPLOYMENT_METRICS):
            kind = "an endpoint" if of_endpoint else "a deployment"
            yield (
                f"{rule.metric} is no metric of {kind}: the rule never acts",
                "Correct the metric or its resource.",
            )
        elif (
            not of_endpoint
            and rule.resource
            and rule.resource.strip("/").lower() != setting.target.strip("/").lower()
        ):
            other = rule.resource.rstrip("/").rsplit("/", 1)[-1]
            yield f"{rule.metric} is measured on {other}, not on {setting.deployment}", "Measure what is scaled."


def _check_cooldown(profile: ScaleProfile, _: ScaleSetting, __: LintFacts) -> Found:
    for rule in profile.rules:
        if rule.cooldown_s < rule.grain_s:
            seen = f"cooldown {rule.cooldown_s:g} s is shorter than the metric's grain, {rule.grain_s:g} s"
            yield seen, "Rest for at least a grain: the next value does not show the last action yet."


def _by_direction(profile: ScaleProfile) -> tuple[list[ScaleRule], list[ScaleRule]]:
    return [one for one in profile.rules if one.increase], [one for one in profile.rules if not one.increase]


OF_SETTING: Mapping[str, tuple[Severity, Callable[[ScaleSetting, Sequence[ScaleSetting], LintFacts], Found]]] = {
    "target-missing": (Severity.ERROR, _check_target),
    "left-behind": (Severity.WARNING, _check_left_behind),
}
OF_PROFILE: Mapping[str, tuple[Severity, Callable[[ScaleProfile, ScaleSetting, LintFacts], Found]]] = {
    "range": (Severity.ERROR, _check_range),
    "default": (Severity.ERROR, _check_default),
    "quota": (Severity.WARNING, _check_quota),
    "direction": (Severity.ERROR, _check_direction),
    "pair": (Severity.WARNING, _check_pair),
    "flapping": (Severity.WARNING, _check_flapping),
    "metric": (Severity.ERROR, _check_metric),
    "cooldown": (Severity.WARNING, _check_cooldown),
}
