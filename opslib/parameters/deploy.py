"""The parameters of the deploy runbook."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from opslib.parameters.shared import PROBES
from opslib.redaction.redact import register_secrets
from opslib.runbook_parameters import Name, RunbookParameters


class DeployParameters(RunbookParameters):
    """Create a deployment from its definition at 0 % traffic, and test it with probes."""

    runbook: ClassVar[str] = "deploy"

    definition: str = Field(min_length=1, description="path of the deployment.yml (CLI v2)")
    deployment: Name | Literal[""] = Field(default="", description="its name, where the file has none")
    set: list[str] = Field(
        default=[], description="values that replace the file's, each as name, equals sign, value"
    )
    probes: str = Field(default="", description=PROBES)
    probe_requests: int = Field(
        default=20, ge=1, le=1000, description="probe requests sent to the new deployment [count, 1-1000]"
    )

    @field_validator("set")
    @classmethod
    def _mask_secrets(cls, pairs: list[str]) -> list[str]:
        """Mask the secrets among the values in all that the run writes: a template takes them from here."""
        for name, _, value in (pair.partition("=") for pair in pairs):
            register_secrets({name.rpartition(".")[2]: value.strip().strip("'\"")})
        return pairs
