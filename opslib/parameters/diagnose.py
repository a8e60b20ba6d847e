"""The parameters of the diagnose runbook."""

from typing import ClassVar, Literal

from pydantic import Field

from opslib.runbook_parameters import Name, RunbookParameters


class DiagnoseParameters(RunbookParameters):
    """Find why an endpoint fails: the likely causes in order, each with its evidence and the next action."""

    runbook: ClassVar[str] = "diagnose"
    changes: ClassVar[bool] = False

    deployment: Name | Literal[""] = Field(default="", description="only this deployment; empty: all")
    window_min: float = Field(
        default=60.0, ge=5, le=10080, description="how far back requests and changes are read [minutes, 5-10080]"
    )
    probes: str = Field(default="", description="path of a .jsonl of probes, each sent once; empty: none is sent")
