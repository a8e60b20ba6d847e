"""The parameters of the validate runbook."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from opslib.runbook_parameters import Name, RunbookParameters

VALIDATION = 'path of a .jsonl with {"request": ..., "answer": ...} per line; empty: the one of the policy'


class ValidateParameters(RunbookParameters):
    """Score requests with expected answers on one deployment alone, and compare every answer."""

    runbook: ClassVar[str] = "validate"
    changes: ClassVar[bool] = False

    deployment: Name = Field(description="deployment to validate; no traffic is moved")
    validation: str = Field(default="", description=VALIDATION)
    min_correct_rate: float = Field(
        default=1.0, gt=0, le=1, description="limit of the correct answers per request [fraction]"
    )

    @model_validator(mode="after")
    def _check_set(self) -> Self:
        if not self.validation and not self.policy:
            raise ValueError("validation: missing, and no policy names one; pass validation=FILE.jsonl or a policy")
        return self
