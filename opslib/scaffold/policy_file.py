"""The operating rules of a live endpoint as a first policy.yml: what is known, and what a person must fill in."""

import math
from collections.abc import Sequence

from opslib.model import Endpoint, Observation, Served
from opslib.policy import FILE
from opslib.scaffold.yaml_file import Section, YamlFile

SCHEMA_FILE = "policy.schema.json"

MIN_REQUESTS = 200
"""Fewest requests from which objectives are suggested; min_requests of the runbooks [count]."""

MARGIN = 1.5
"""Suggested limit of p95, as a multiple of what was measured [ratio]."""

_TEAM = ("owner", "team", "owned-by", "owned_by", "business-owner")
_CONTACT = ("contact", "owner-contact", "owner_contact", "email", "oncall", "on-call")


def policy_file(endpoint: Endpoint, seen: Observation | None, unknown: str) -> YamlFile:
    """Return a policy for an endpoint.

    Parameters
    ----------
    endpoint
        As Azure reports it; tags may name the owner.
    seen
        What it served; None where that is not known.
    unknown
        Why it is not known.
    """
    team, contact = _tag(endpoint, _TEAM), _tag(endpoint, _CONTACT)
    missing = [f"owner.{name}" for name, value in (("team", team), ("contact", contact)) if not value]
    sections = [
        Section(
            [
                f"yaml-language-server: $schema={SCHEMA_FILE}",
                f"The operating rules of endpoint {endpoint.name}. Runs take their settings from here:",
                f"  opslib run canary -p endpoint={endpoint.name} -p canary=NAME -p policy={FILE}",
                "Check the folder after each change: opslib check FOLDER",
            ],
            {"version": 1, "endpoint": endpoint.name},
        ),
        Section(_about_owner(team, contact), {"owner": {"team": team, "contact": contact}}, _OPTIONAL_OWNER),
        _objectives(seen, unknown),
        *(Section(comments) for comments in _SUGGESTED),
    ]
    return YamlFile(FILE, sections, missing)


def _about_owner(team: str, contact: str) -> list[str]:
    if team and contact:
        return ["Who answers for the endpoint, taken from its tags. Check it."]
    named = " and ".join(name for name, value in (("team", team), ("contact", contact)) if not value)
    return [f"Who answers for the endpoint, at any hour. Fill in {named}: no tag of the endpoint names it."]


def _objectives(seen: Observation | None, unknown: str) -> Section:
    served = _total(seen)
    about = "What the endpoint must hold. A canary is judged against it, and a scale is reverted for it."
    if seen is None or served is None or served.requests < MIN_REQUESTS:
        why = unknown or f"{served.requests if served else 0} requests were served, {MIN_REQUESTS} are needed"
        return Section(
            [about, f"Not measured ({why}): set limits that your users notice.", *_EXAMPLE_OBJECTIVES],
        )
    limit = _round_up(max(MARGIN * served.failures, served.failures + 3.0) / served.requests, 1)
    objectives: dict[str, float | int] = {"max_failure_rate": min(max(limit, 0.0001), 0.5)}
    measured = f"{served.failures} of {served.requests:,} requests failed ({served.failures / served.requests:.3g})"
    if served.p95_ms:
        objectives["max_p95_ms"] = math.ceil(_round_up(MARGIN * served.p95_ms, 2))
        measured += f", p95 {served.p95_ms:.3g} ms"
    return Section(
        [
            about,
            f"Suggested from {seen.since:%Y-%m-%d %H:%M} to {seen.until:%Y-%m-%d %H:%M} UTC in the {seen.source}:",
            f"  {measured}.",
            f"Limits: {MARGIN:g} times the failures (at least 3 more), {MARGIN:g} times p95, rounded up.",
        ],
        {"objectives": objectives},
    )


def _total(seen: Observation | None) -> Served | None:
    """Sum what all deployments served; p95 is that of the deployment with most requests."""
    if seen is None or not seen.total:
        return None
    most = max(seen.total.values(), key=lambda one: one.requests)
    requests, failures = (sum(getattr(s, name) for s in seen.total.values()) for name in ("requests", "failures"))
    return Served(requests, failures, most.p50_ms, most.p90_ms, most.p95_ms, most.p99_ms)


def _round_up(value: float, digits: int) -> float:
    """Round a positive number up to some significant digits.

    >>> _round_up(0.00123, 1), _round_up(61.2, 2), _round_up(250.0, 2)
    (0.002, 62.0, 250.0)
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(round(value / unit, 9)) * unit:.{digits}g}")


def _tag(endpoint: Endpoint, names: Sequence[str]) -> str:
    tags = {name.lower(): value for name, value in endpoint.tags.items()}
    return next((str(tags[name]) for name in names if tags.get(name)), "")


_OPTIONAL_OWNER = (
    "  escalation: [second on call, head of the team]   # whom to call next, in order",
    "  dependents: [team of an application]             # owners of what depends on the endpoint",
)

_EXAMPLE_OBJECTIVES = (
    "objectives:",
    "  max_failure_rate: 0.01   # failures per request",
    "  max_p95_ms: 250          # 95th percentile of latency [ms]",
)

_SUGGESTED = (
    (
        "How a canary is released; what is left out has the default (opslib parameters canary).",
        "release:",
        "  stages: [10, 50, 100]    # percent of live traffic",
        "  bake_s: 600              # observation time of each stage [seconds]",
        "  on_hold: rollback        # if a stage is undecided: rollback, extend, smaller step, ask",
    ),
    (
        "When changes may begin: cron or an RRULE. A change that has begun may finish. A rollback never waits.",
        "windows:",
        '  - {schedule: "0 9 * * 1-4", duration_min: 420, time_zone: Europe/Berlin}',
        "freezes:",
        "  - {starts: 2026-12-19, ends: 2027-01-04, reason: year-end closing}",
    ),
    (
        "Who agrees to a plan before it is applied: names of the approvers file, which holds their keys.",
        "approvals:",
        "  - {runbooks: [canary], count: 2, of: [team-lead, model-risk, on-call], valid_h: 24}",
    ),
    (
        "What must watch the endpoint, how long an old deployment stays, and which tags must be there.",
        "monitoring:",
        "  logs: [AmlOnlineEndpointTrafficLog]",
        "  alerts: [NAME OF A METRIC ALERT RULE]",
        "retention: {release_cycles: 1, days: 14}",
        "tags: {endpoint: [owner], deployment: [model_version]}",
    ),
)
