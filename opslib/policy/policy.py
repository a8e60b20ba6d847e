"""The operating rules of one endpoint, as ``policy.yml`` beside its definitions gives them."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from opslib.errors import PolicyError
from opslib.notify.notice import Form, NoticeEvent
from opslib.parameters import RUNBOOKS
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.shared import MetricName
from opslib.policy.section import Moment, Section, Text
from opslib.policy.security import RuleException, Security
from opslib.policy.standards import RequiredMonitoring, RequiredTags, Retention
from opslib.policy.windows import require_schedule
from opslib.redaction.redact import is_reference

VERSION = 1

RELEASE_FIELDS = (
    *(
        "stages",
        "mirror_percent",
        "bake_s",
        "max_bake_s",
        "lease_s",
        "on_hold",
        "answer_s",
        "min_requests",
        "alpha",
    ),
    *("tolerated_slowdown", "max_slowdown", "proven_quantiles", "settle_s", "warm_up_s", "late_data_s", "source"),
    *("failures_mode", "latency_mode", "answers_mode", "outcomes_mode", "max_changed_answers"),
    *("probe_every_s", "outcome_window_s"),
)
"""Parameters of the canary runbook that a policy may set; their names, units and ranges are the runbook's own."""

CHANGES = ("deploy", "canary", "scale", "autoscale", "retire")
"""Runbooks that windows and freezes concern unless they name others: a rollback must not wait."""

RunbookName = Literal["deploy", "canary", "scale", "autoscale", "retire", "rollback"]
Roles = Mapping[str, tuple[str, ...]]
"""People by role."""


class Owner(Section):
    """Who answers for the endpoint."""

    team: Text = Field(description="team that owns the endpoint")
    contact: Text = Field(description="address or channel that reaches the team at any hour")
    escalation: tuple[Text, ...] = Field(default=(), description="whom to call next, in order")
    dependents: tuple[Text, ...] = Field(default=(), description="owners of what depends on the endpoint")


class BusinessObjective(Section):
    """A limit of a yes/no outcome, or of the fall of a measure's mean."""

    name: MetricName = Field(description="the outcome's or measure's name in the outcomes file")
    bad: bool = Field(default=True, description="true: a yes/no outcome; false: a measure, more is better")
    tolerated_fall: float | None = Field(
        default=None, ge=0, description="for a measure: fall of its mean that is no harm [its unit]"
    )

    @model_validator(mode="after")
    def _fall_of_a_measure(self) -> Self:
        if self.bad == (self.tolerated_fall is not None):
            raise ValueError("tolerated_fall goes with bad: false, and is needed there")
        return self


class Objectives(Section):
    """What the endpoint must hold (SLOs)."""

    max_failure_rate: float | None = Field(
        default=None, gt=0, lt=0.9, description="failures per request [fraction]"
    )
    max_p95_ms: float | None = Field(default=None, gt=0, description="95th percentile of latency [ms]")
    business: tuple[BusinessObjective, ...] = Field(default=(), description="outcomes and measures that are judged")


class ChangeWindow(Section):
    """When changes may begin."""

    schedule: Text = Field(description="starts: five cron fields, or an RRULE (RFC 5545)")
    duration_min: int = Field(ge=1, le=7 * 24 * 60, description="how long it is open from each start [minutes]")
    time_zone: Text = Field(default="UTC", description="IANA time zone of the schedule")
    runbooks: tuple[RunbookName, ...] = Field(
        default=(), description="only for these; empty: for all of them but rollback"
    )

    @property
    def duration(self) -> timedelta:
        """How long it is open from each start."""
        return timedelta(minutes=self.duration_min)

    @model_validator(mode="after")
    def _known_schedule(self) -> Self:
        try:
            require_schedule(self.schedule, self.time_zone)
        except PolicyError as error:
            raise ValueError(str(error)) from error
        return self


class ChangeFreeze(Section):
    """When no change may begin; it ends by itself."""

    starts: Moment = Field(description="first moment")
    ends: Moment = Field(description="first moment after it")
    reason: Text = Field(description="why, for the person who is refused")
    runbooks: tuple[RunbookName, ...] = Field(
        default=(), description="only for these; empty: for all of them but rollback"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ends <= self.starts:
            raise ValueError(f"ends must be after starts, got {self.starts.isoformat()} to {self.ends.isoformat()}")
        return self


class ApprovalRule(Section):
    """How many people agree to a plan before it is applied."""

    count: int = Field(ge=1, le=10, description="approvals needed [count]")
    of: tuple[Text, ...] = Field(
        default=(), description="people (`who` of the approvers file) or roles that count; empty: any approver"
    )
    including: tuple[Text, ...] = Field(
        default=(), description="people or roles of which each must be among the approvers"
    )
    valid_h: float = Field(default=24, gt=0, le=24 * 90, description="an approval counts for this long [hours]")

    def people(self, roles: Roles) -> tuple[str, ...]:
        """Return the people whose approval counts; empty where every approver's does."""
        return tuple(dict.fromkeys(person for name in self.of for person in roles.get(name, (name,))))


class Approvals(ApprovalRule):
    """How many people agree to the plans of some runbooks."""

    runbooks: tuple[RunbookName, ...] = Field(min_length=1, description="runbooks that need it")


def _unreachable(rule: ApprovalRule, roles: Roles) -> str:
    """Return why no approvals can ever be enough for a rule; empty where they can."""
    people = rule.people(roles)
    if people and rule.count > len(people):
        return f"count is {rule.count}, and only {len(people)} may approve: {', '.join(people)}"
    outside = [name for name in rule.including if people and not set(roles.get(name, (name,))) & set(people)]
    if outside:
        return f"including names {', '.join(outside)}, and of lets only these approve: {', '.join(people)}"
    return ""


class Validation(Section):
    """The validation that a version must pass before it takes production traffic."""

    file: Text = Field(description="validation set, relative to this file: a request with its answer per line")
    required: bool = Field(default=True, description="whether production traffic waits for a passed validation")
    min_correct_rate: float = Field(
        default=1.0, gt=0, le=1, description="limit of the correct answers per request [fraction]"
    )
    valid_h: float = Field(default=168, gt=0, le=24 * 365, description="a validation counts for this long [hours]")


class CostLimit(Section):
    """What the endpoint may cost at list prices."""

    max_per_month: float = Field(gt=0, description="highest cost of all instances for a month of 730 h [currency]")
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="ISO 4217 code, such as USD or EUR")

    @property
    def ceiling(self) -> Decimal:
        """`max_per_month`, exact."""
        return Decimal(str(self.max_per_month))


class Notification(Section):
    """Where notices go. The address of a webhook is a secret, so that it is named by reference."""

    events: tuple[NoticeEvent, ...] = Field(default=(), description="only these; empty: all")
    to: Text = Field(description="the webhook's URL by reference: env:NAME or keyvault:NAME")
    form: Form = Field(default="cloudevents", description="form of the message")

    @model_validator(mode="after")
    def _reference(self) -> Self:
        if not is_reference(self.to):  # raised here, where pydantic does not repeat the value
            raise ValueError(
                "`to` must be a reference to the webhook's URL, env:NAME or keyvault:NAME, not the URL"
            )
        return self

    def wants(self, event: NoticeEvent) -> bool:
        """Return whether notices of this event go there."""
        return not self.events or event in self.events


def _optional(name: str) -> Any:
    """Return a canary parameter's type and description, with nothing as its default."""
    field = CanaryParameters.model_fields[name]
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return (kind | None, Field(default=None, description=field.description))


if TYPE_CHECKING:
    Release = Section
else:
    Release = create_model(
        "Release",
        __base__=Section,
        __doc__="How a canary is released and judged; what is left out has the runbook's default.",
        **{name: _optional(name) for name in RELEASE_FIELDS},
    )


class Policy(Section):
    """The operating rules of one endpoint."""

    version: Literal[1] = Field(description="version of this file's format")
    endpoint: str = Field(min_length=3, max_length=32, description="the endpoint's name")
    owner: Owner
    objectives: Objectives = Objectives()
    release: Release = Field(default=Release(), description="stages, bake and judge settings")
    windows: tuple[ChangeWindow, ...] = Field(default=(), description="when changes may begin; empty: at any time")
    freezes: tuple[ChangeFreeze, ...] = Field(default=(), description="when no change may begin")
    emergency: bool = Field(
        default=True,
        description="whether --emergency passes windows, freezes and a rollback's validation; it is recorded",
    )
    roles: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default={}, description="people (`who` of the approvers file) by role"
    )
    approvals: tuple[Approvals, ...] = Field(default=(), description="who agrees to which runbooks' plans")
    monitoring: RequiredMonitoring = Field(default=RequiredMonitoring(), description="what must watch the endpoint")
    retention: Retention | None = Field(default=None, description="how long an old deployment stays")
    tags: RequiredTags = Field(default=RequiredTags(), description="tags that must be there")
    validation: Validation | None = Field(
        default=None, description="what a version must pass before it takes production traffic"
    )

    @field_validator("approvals")
    @classmethod
    def _reachable(cls, approvals: tuple[Approvals, ...], info: ValidationInfo) -> tuple[Approvals, ...]:
        for number, rule in enumerate(approvals):
            if problem := _unreachable(rule, info.data.get("roles", {})):
                raise PydanticCustomError("unreachable", "{problem}", {"problem": problem, "entry": number})
        return approvals

    cost: CostLimit | None = Field(default=None, description="what the endpoint may cost; empty: no ceiling")
    security: Security = Field(default=Security(), description="what a security review expects")
    exceptions: tuple[RuleException, ...] = Field(
        default=(), description="findings of a review or a check that are accepted for a time"
    )

    notifications: tuple[Notification, ...] = Field(default=(), description="who is notified of what")

    @field_validator("approvals")
    @classmethod
    def _once_each(cls, approvals: tuple[Approvals, ...]) -> tuple[Approvals, ...]:
        named = [runbook for approval in approvals for runbook in approval.runbooks]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"approvals of {', '.join(twice)} are given more than once")
        return approvals

    def windows_for(self, runbook: str) -> tuple[ChangeWindow, ...]:
        """Return the windows that concern a runbook; a rollback only by those that name it."""
        return tuple(window for window in self.windows if runbook in (window.runbooks or CHANGES))

    def freezes_for(self, runbook: str) -> tuple[ChangeFreeze, ...]:
        """Return the freezes that concern a runbook; a rollback only by those that name it."""
        return tuple(freeze for freeze in self.freezes if runbook in (freeze.runbooks or CHANGES))

    def approvals_for(self, runbook: str) -> Approvals | None:
        """Return what a runbook's plan needs, None where it needs no approval."""
        return next((approval for approval in self.approvals if runbook in approval.runbooks), None)

    def settings(self, runbook: str) -> dict[str, Any]:
        """Return the parameters of a runbook that this policy sets, by name."""
        release: dict[str, Any] = self.release.model_dump(exclude_none=True)
        found: dict[str, Any] = {
            **release,
            "max_failure_rate": self.objectives.max_failure_rate,
            "max_p95_ms": self.objectives.max_p95_ms,
        }
        if bad := [one.name for one in self.objectives.business if one.bad]:
            found["bad_outcomes"] = bad
        if measures := {one.name: one.tolerated_fall for one in self.objectives.business if not one.bad}:
            found["measures"] = measures
        if self.validation is not None:
            found["validation"] = self.validation.file
            found["min_correct_rate"] = self.validation.min_correct_rate
        fields = RUNBOOKS[runbook].model_fields
        return {name: value for name, value in found.items() if name in fields and value is not None}
