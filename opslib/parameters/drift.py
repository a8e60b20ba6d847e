"""The parameters of the drift runbook."""

from typing import ClassVar, Literal

from pydantic import Field

from opslib.runbook_parameters import Name, RunbookParameters


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
