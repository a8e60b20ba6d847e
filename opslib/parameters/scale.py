"""The parameters of the scale runbook."""

from typing import ClassVar

from pydantic import Field

from opslib.parameters.shared import WatchedParameters
from opslib.runbook_parameters import Name, Seconds


class ScaleParameters(WatchedParameters):
    """Change the number of instances of a deployment, and compare latency and failures before and after."""

    runbook: ClassVar[str] = "scale"

    deployment: Name = Field(description="deployment to scale")
    instances: int = Field(ge=1, le=50, description="target number of instances [count, 1-50]")
    max_p95_ratio: float = Field(
        default=1.5, ge=1, description="limit of p95 after the change / p95 before [ratio]"
    )
    observe_s: Seconds = Field(default=300.0, description="observation time before and after the change [seconds]")
