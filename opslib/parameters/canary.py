"""The parameters of the canary runbook."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from opslib.parameters.shared import PROBES, MetricName, Mode, WatchedParameters
from opslib.runbook_parameters import Name, Seconds


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
