"""The parameters of each runbook: names, types, ranges and defaults; the notebook's parameters cell repeats them.

papermill ignores a misspelt name and does not check types. `opslib run` validates the parameters with these classes
before a kernel starts, and the notebook's bind cell validates them again for runs by papermill alone.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from opslib.read_only_parameters import (
    DiagnoseParameters,
    DriftParameters,
    InventoryParameters,
    ReviewParameters,
    ValidateParameters,
)
from opslib.runbook_parameters import Name, RunbookParameters, Seconds

PROBES = 'path of a .jsonl with {"request": ..., "answer": ...} per line; empty: no probes'

Mode = Literal["observe", "advise", "act"]
"""Effect of a metric: "observe" records it, "advise" may block the promotion, "act" may also roll back."""

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Name of a business metric; without blanks, which the names of opslib's own metrics have."""


class WatchedParameters(RunbookParameters):
    """Parameters of the runbooks that observe and judge served requests."""

    source: Literal["auto", "request log", "metrics"] = Field(
        default="auto", description='"request log", "metrics", or "auto": the log if it is kept'
    )
    late_data_s: Seconds = Field(default=600.0, description="longest wait for late data of the source [seconds]")
    min_requests: int = Field(default=200, ge=1, description="fewest requests for a verdict [count]")
    max_failure_rate: float = Field(
        default=0.02, gt=0, lt=0.9, description="limit of the failure rate [fraction, below 0.9]"
    )
    max_p95_ms: float = Field(default=1000.0, gt=0, description="limit of the 95th percentile of latency [ms]")


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


class CanaryParameters(WatchedParameters):
    """Move live traffic to a deployment in stages, judge each stage, and promote, hold or roll back."""

    runbook: ClassVar[str] = "canary"

    canary: Name = Field(description="deployment to release")
    stages: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[10, 50, 100],
        min_length=1,
        max_length=20,
        description="live traffic at each stage, rising to 100 [percent, 1-100]",
    )
    mirror_percent: int = Field(default=0, ge=0, le=50, description="traffic copied in a first stage [percent]")
    lease_s: Seconds = Field(
        default=900.0, ge=5, description="traffic is returned if the lease is not renewed for this long [seconds]"
    )
    bake_s: Seconds = Field(default=600.0, gt=0, description="observation time of each stage [seconds]")
    max_bake_s: Seconds = Field(
        default=1800.0, description="longest observation time of an undecided stage [seconds]"
    )
    on_hold: Literal["rollback", "extend", "smaller step", "ask"] = Field(
        default="rollback",
        description='if undecided at max_bake_s: "rollback", "extend", "smaller step" or "ask"',
    )
    answer_s: Seconds = Field(
        default=3600.0, gt=0, description='longest wait for an operator if on_hold="ask" [seconds]'
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="highest probability of rolling back a good canary [fraction, below 0.5]",
    )
    tolerated_slowdown: float = Field(
        default=0.05, ge=0, description="slowdown that does not count as harm [fraction]"
    )
    max_slowdown: float = Field(
        default=0.2, gt=0, description="promotion needs proof that the slowdown is below this [fraction]"
    )
    proven_quantiles: list[float] = Field(
        default=[0.5, 0.95, 0.99], description="latency quantiles of this proof, of 0.5, 0.9, 0.95, 0.99 [fraction]"
    )
    settle_s: Seconds = Field(default=120.0, description="age at which data is final and is judged [seconds]")
    warm_up_s: Seconds = Field(
        default=60.0, description="time after the first traffic that is not judged [seconds]"
    )
    failures_mode: Mode = Field(default="act", description='effect of failures: "observe", "advise" or "act"')
    latency_mode: Mode = Field(default="act", description='effect of latency: "observe", "advise" or "act"')
    rehearse: bool = Field(default=False, description="A/A test: judge stable against itself, move no traffic")
    probes: str = Field(default="", description=PROBES)
    probe_every_s: Seconds = Field(
        default=60.0, description="interval of probes to both versions; 0: only before traffic moves [seconds]"
    )
    answers_mode: Mode = Field(
        default="observe", description='effect of changed probe answers: "observe", "advise" or "act"'
    )
    max_changed_answers: float = Field(
        default=0.1,
        gt=0,
        lt=0.9,
        description="limit of changed answers, of probes without an expected answer [fraction]",
    )
    outcomes: str = Field(
        default="", description="path of a .jsonl of business outcomes, appended to during the run"
    )
    bad_outcomes: list[MetricName] = Field(default=[], description="names of the yes/no outcomes to judge")
    measures: dict[MetricName, float] = Field(
        default={}, description="names of numeric outcomes to judge: tolerated drop of the mean [its unit]"
    )
    outcome_window_s: Seconds = Field(
        default=0.0, description="time after a request within which its outcome arrives [seconds]"
    )
    outcomes_mode: Mode = Field(
        default="advise", description='effect of yes/no outcomes: "observe", "advise" or "act"'
    )

    @model_validator(mode="after")
    def _check_outcomes(self) -> Self:
        names = [*self.bad_outcomes, *self.measures]
        if bool(self.outcomes) != bool(names) and not (self.outcomes and self.policy):
            raise ValueError(
                "outcomes and the names in it (bad_outcomes, measures) must be given together, got "
                f"outcomes={self.outcomes!r}, bad_outcomes={self.bad_outcomes}, measures={self.measures}"
            )
        if self.mirror_percent and self.bad_outcomes and self.outcomes_mode == "act":
            raise ValueError('mirror_percent: copies have no outcomes; set outcomes_mode="advise" or "observe"')
        if len(set(names)) < len(names):
            raise ValueError(f"the names of bad_outcomes and measures must differ, got {names}")
        return self

    @field_validator("probe_every_s")
    @classmethod
    def _check_interval(cls, every_s: float) -> float:
        if 0 < every_s < 1:
            raise ValueError(
                f"probe_every_s must be 0, or at least 1 to limit the load on the endpoint, got {every_s:g}"
            )
        return every_s

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(stages)):
            raise ValueError(f"stages must rise from one to the next, got {stages}")
        if stages[0] == 100:
            raise ValueError(
                f"the first stage must be below 100, so that stable has traffic to compare with, got {stages}"
            )
        if stages[-1] != 100:
            raise ValueError(
                f"the last stage must be 100, so that the run ends with one deployment serving, got {stages}"
            )
        return stages

    @field_validator("proven_quantiles")
    @classmethod
    def _check_quantiles(cls, quantiles: list[float]) -> list[float]:
        if not set(quantiles) <= {0.5, 0.9, 0.95, 0.99}:
            raise ValueError(f"quantiles must be among 0.5, 0.9, 0.95 and 0.99, got {quantiles}")
        return quantiles


class ScaleParameters(WatchedParameters):
    """Change the number of instances of a deployment, and compare latency and failures before and after."""

    runbook: ClassVar[str] = "scale"

    deployment: Name = Field(description="deployment to scale")
    instances: int = Field(ge=1, le=50, description="target number of instances [count, 1-50]")
    max_p95_ratio: float = Field(
        default=1.5, ge=1, description="limit of p95 after the change / p95 before [ratio]"
    )
    observe_s: Seconds = Field(default=300.0, description="observation time before and after the change [seconds]")


class SizeParameters(RunbookParameters):
    """Recommend an instance type and a number of instances from measured load, utilization and latency."""

    runbook: ClassVar[str] = "size"
    changes: ClassVar[bool] = False

    deployment: Name | Literal[""] = Field(
        default="", description="deployment to size; empty: the one with most of the traffic"
    )
    look_back_h: float = Field(default=24.0, gt=0, le=720, description="time whose load is read [hours, up to 720]")
    source: Literal["auto", "request log", "metrics"] = Field(
        default="auto", description='"request log", "metrics", or "auto": the log if it is kept'
    )
    min_requests: int = Field(default=200, ge=1, description="fewest requests for a recommendation [count]")
    max_p95_ms: float = Field(default=1000.0, gt=0, description="limit of the 95th percentile of latency [ms]")
    max_use: float = Field(
        default=0.7, gt=0, lt=1, description="limit of the use of room and processors at the peak [fraction]"
    )
    min_instances: int = Field(default=3, ge=1, le=50, description="fewest instances, for availability [count]")
    instance_types: list[str] = Field(
        default=[], description="instance types to compare; empty: the family of the present one"
    )
    definition: str = Field(default="", description="path of the deployment.yml, for the commands that are printed")
    load_test: bool = Field(
        default=False, description="send requests to load_test_deployment, which must take no traffic"
    )
    load_test_deployment: Name | Literal[""] = Field(default="", description="deployment at 0 % traffic to test")
    load_test_rps: float = Field(
        default=5.0, gt=0, le=100, description="highest rate of the load test [requests per second, up to 100]"
    )
    load_test_s: float = Field(default=60.0, ge=3, le=600, description="length of the load test [seconds, 3-600]")
    probes: str = Field(default="", description="path of a .jsonl with the load test's requests; empty: no test")

    @model_validator(mode="after")
    def _check_test(self) -> Self:
        if self.load_test and not (self.load_test_deployment and self.probes):
            raise ValueError("load_test: needs load_test_deployment and probes")
        return self


class RetireParameters(RunbookParameters):
    """Delete a deployment that has had no traffic for the policy's retention, and keep what creates it again."""

    runbook: ClassVar[str] = "retire"

    deployment: Name = Field(description="deployment to delete")


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


RUNBOOKS: Mapping[str, type[RunbookParameters]] = {
    parameters.runbook: parameters
    for parameters in (
        *(DeployParameters, ValidateParameters, CanaryParameters, ScaleParameters, SizeParameters),
        *(AutoscaleParameters, RetireParameters, RollbackParameters, InventoryParameters, DriftParameters),
        *(ReviewParameters, DiagnoseParameters),
    )
}
