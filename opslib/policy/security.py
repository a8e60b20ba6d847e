"""What a security review expects of an endpoint, and the findings that its owner accepts for a time."""

from pydantic import Field

from opslib.policy.section import Moment, Section, Text


class Security(Section):
    """What a security review expects of the endpoint."""

    max_key_age_days: float = Field(default=90, gt=0, description="oldest key before it is regenerated [days]")
    approved_tag: Text = Field(
        default="approved", description="tag of a model version that is approved for release"
    )
    operators: tuple[Text, ...] = Field(
        default=(), description="object ids that may change the endpoint; empty: any that a role allows"
    )


class RuleException(Section):
    """A finding that the owner accepts for a time."""

    rule: Text = Field(description="id of the rule, as a report shows it")
    reason: Text = Field(description="why it is accepted")
    owner: Text = Field(description="who answers for it")
    expires: Moment = Field(description="first moment at which it no longer holds")
