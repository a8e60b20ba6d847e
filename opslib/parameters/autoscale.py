"""The parameters of the autoscale runbook."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from opslib.runbook_parameters import Name, RunbookParameters


class AutoscaleParameters(RunbookParameters):
    """Set, move or remove the autoscale setting of a deployment, or undo an earlier run of this runbook."""

    runbook: ClassVar[str] = "autoscale"
    autoscale: ClassVar[bool] = True

    action: Literal["set", "move", "remove", "undo"] = Field(
        default="set", description='"set" (create or replace), "move", "remove" or "undo"'
    )
    deployment: Name | Literal[""] = Field(
        default="", description="deployment that is or will be scaled; empty: the one with most of the traffic"
    )
    move_from: Name | Literal[""] = Field(
        default="", description="deployment whose setting is moved; empty: the only other one with a setting"
    )
    undo_run: str = Field(default="", description="run of this runbook to undo, by its id or part of it")
    setting: str = Field(default="", description="the setting's name; empty: the present one, else a new name")
    min_instances: int = Field(default=3, ge=1, le=1000, description="fewest instances [count]")
    max_instances: int = Field(default=10, ge=1, le=1000, description="most instances [count]")
    default_instances: int = Field(
        default=0, ge=0, le=1000, description="instances where no metric can be read; 0: min_instances [count]"
    )
    metric: str = Field(default="CpuUtilizationPercentage", min_length=1, description="what the rules read")
    scale_out_above: float = Field(default=70.0, description="adds instances above [unit of the metric]")
    scale_in_below: float = Field(default=30.0, description="removes instances below [unit of the metric]")
    step_instances: int = Field(default=1, ge=1, le=50, description="instances that one action adds or removes")
    window_min: int = Field(default=5, ge=5, le=720, description="time that is averaged [minutes, 5-720]")
    cooldown_min: int = Field(default=5, ge=1, le=10080, description="rest after an action [minutes]")
    schedules: list[str] = Field(
        default=[], description="other bounds at some time of the week, each as NAME=DAYS@HH:MM-HH:MM/MIN-MAX"
    )
    time_zone: str = Field(default="UTC", description="of the schedules, by Windows' names")

    @model_validator(mode="after")
    def _check_undo(self) -> Self:
        if (self.action == "undo") != bool(self.undo_run):
            raise ValueError('undo_run: is given with action="undo", and only then')
        return self
