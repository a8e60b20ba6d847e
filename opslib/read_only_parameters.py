"""The parameters of the runbooks that change nothing and need a reader's role."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from opslib.runbook_parameters import Name, RunbookParameters

VALIDATION = 'path of a .jsonl with {"request": ..., "answer": ...} per line; empty: the one of the policy'


class InventoryParameters(RunbookParameters):
    """List all deployments that the caller can read, with their cost, requests, owner and last change."""

    runbook: ClassVar[str] = "inventory"
    changes: ClassVar[bool] = False

    endpoint: Name | Literal[""] = Field(default="", description="only endpoints of this name; empty: all")
    subscriptions: list[str] = Field(default=[], description="only these subscriptions, by id; empty: all")
    groups: list[str] = Field(default=[], description="only these resource groups; empty: all")
    workspaces: list[str] = Field(default=[], description="only these workspaces; empty: all")
    definitions: str = Field(
        default="", description="folder whose policies name the owners, searched with its subfolders; empty: none"
    )
    route: Literal["auto", "graph", "lists"] = Field(
        default="auto", description='"graph" (Azure Resource Graph), "lists", or "auto": lists where it refuses'
    )


class DriftParameters(RunbookParameters):
    """Compare live endpoints, field by field, with what they should be, and name who changed them."""

    runbook: ClassVar[str] = "drift"
    changes: ClassVar[bool] = False

    base: str = Field(
        min_length=1, description="folder of definitions, inventory.json, after.json, or a run's id or part of it"
    )
    endpoint: Name | Literal[""] = Field(default="", description="only this endpoint; empty: all of the base")
    route: Literal["auto", "graph", "lists"] = Field(
        default="auto", description='of an inventory. "graph", "lists", or "auto": lists where graph refuses'
    )


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


class ReviewParameters(RunbookParameters):
    """Review an endpoint's security: authentication, network, identity, access, secrets and lineage."""

    runbook: ClassVar[str] = "review"
    changes: ClassVar[bool] = False

    fail_on: Literal["high", "medium", "low", "info", "none"] = Field(
        default="high", description='least severe open finding that fails the run, or "none"'
    )


class DiagnoseParameters(RunbookParameters):
    """Find why an endpoint fails: the likely causes in order, each with its evidence and the next action."""

    runbook: ClassVar[str] = "diagnose"
    changes: ClassVar[bool] = False

    deployment: Name | Literal[""] = Field(default="", description="only this deployment; empty: all")
    window_min: float = Field(
        default=60.0, ge=5, le=10080, description="how far back requests and changes are read [minutes, 5-10080]"
    )
    probes: str = Field(default="", description="path of a .jsonl of probes, each sent once; empty: none is sent")
