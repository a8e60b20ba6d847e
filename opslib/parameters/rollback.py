"""The parameters of the rollback runbook."""

from typing import ClassVar, Literal

from pydantic import Field

from opslib.parameters.shared import PROBES
from opslib.runbook_parameters import Name, RunbookParameters, Seconds


class RollbackParameters(RunbookParameters):
    """Return all live traffic to a deployment, and verify with live requests that it answers them."""

    runbook: ClassVar[str] = "rollback"

    to: Name | Literal[""] = Field(
        default="", description="deployment to return to; empty: the last known good one"
    )
    probes: str = Field(default="", description=PROBES)
    verify_requests: int = Field(
        default=20, ge=1, le=1000, description="consecutive live requests that it must answer [count, 1-1000]"
    )
    verify_s: Seconds = Field(default=120.0, description="longest wait for these requests [seconds]")
