"""The parameters of the review runbook."""

from typing import ClassVar, Literal

from pydantic import Field

from opslib.runbook_parameters import RunbookParameters


class ReviewParameters(RunbookParameters):
    """Review an endpoint's security: authentication, network, identity, access, secrets and lineage."""

    runbook: ClassVar[str] = "review"
    changes: ClassVar[bool] = False

    fail_on: Literal["high", "medium", "low", "info", "none"] = Field(
        default="high", description='least severe open finding that fails the run, or "none"'
    )
