"""What an endpoint must have at any time: monitoring, tags, and old deployments that stay for a while."""

from pydantic import Field

from opslib.policy.section import Section, Text


class RequiredMonitoring(Section):
    """What must watch the endpoint before it is changed."""

    alerts: tuple[Text, ...] = Field(
        default=(), description="metric alert rules that must exist on the endpoint or a deployment, and be enabled"
    )
    logs: tuple[Text, ...] = Field(
        default=(),
        description="categories that a diagnostic setting must keep, such as AmlOnlineEndpointTrafficLog",
    )
    block_severity: int = Field(
        default=1,
        ge=-1,
        le=4,
        description="an alert that has fired blocks a change at this severity or a more critical one; "
        "0 is critical, 4 verbose, -1: none blocks",
    )


class Retention(Section):
    """How long an old deployment stays after it has lost its traffic; the longer of both decides."""

    release_cycles: int = Field(default=1, ge=0, le=20, description="later releases for which it stays [count]")
    days: float = Field(default=14, ge=0, le=3650, description="time for which it stays [days]")


class RequiredTags(Section):
    """Tags that must be there, by name; cost and ownership reports group by them."""

    endpoint: tuple[Text, ...] = Field(default=(), description="tags of the endpoint")
    deployment: tuple[Text, ...] = Field(default=(), description="tags of each deployment")
