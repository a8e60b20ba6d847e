"""The parameters of the retire runbook."""

from typing import ClassVar

from pydantic import Field

from opslib.runbook_parameters import Name, RunbookParameters


class RetireParameters(RunbookParameters):
    """Delete a deployment that has had no traffic for the policy's retention, and keep what creates it again."""

    runbook: ClassVar[str] = "retire"

    deployment: Name = Field(description="deployment to delete")
