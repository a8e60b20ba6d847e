"""One typed set of parameters per runbook: the contract that the notebook's parameters cell repeats.

papermill runs a misspelt parameter on its default, and a string where a number was meant. These classes are what
stands against that: `opslib run` validates before a kernel starts, and the notebook's bind cell validates again,
so that papermill alone is as strict.
"""

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from opslib.errors import ParameterError
from opslib.redaction.redact import SECRET_NAME, is_reference, looks_leaky, redact

Name = Annotated[str, Field(pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", min_length=3, max_length=32)]
"""Name of an endpoint or deployment. Source: the rule that azure-ai-ml checks before it sends a request."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Mode = Literal["observe", "advise", "act"]
"""What a metric may do: be recorded, stop a promotion, or roll back too."""


MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Name of a business metric; with `_` for a blank, so that it is none of opslib's own."""


class RunbookParameters(BaseModel):
    """What every runbook takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    runbook: ClassVar[str]

    target: str = Field(default="sandbox", min_length=1, description='"sandbox", "azure", or a config.json')
    endpoint: Name = Field(description="endpoint to work on")
    operation_timeout_s: Seconds = Field(default=3600.0, description="longest wait for one change [seconds]")
    reason: str = Field(default="", max_length=2000, description="why, for the record")
    dry_run: bool = Field(default=False, description="stop after the plan; change nothing")

    @field_validator("*", mode="wrap")
    @classmethod
    def _read_text(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Read text as YAML where text is not what is meant: command lines know only text."""
        try:
            return validate(value)
        except ValidationError:
            if not isinstance(value, str):
                raise
            try:
                return validate(yaml.safe_load(value))
            except yaml.YAMLError:
                return validate(value)

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> Self:
        """Validate parameters by name.

        Raises
        ------
        ParameterError
            Names every unknown, missing, ill-typed and out-of-range parameter at once.
        """
        _refuse_secrets(cls.runbook, given)
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            problems = "\n".join(f"  {_problem(cls, dict(item))}" for item in error.errors())
            message = redact(f"{cls.runbook} cannot run with these parameters:\n{problems}")
            raise ParameterError(message) from error

    @classmethod
    def bind(cls, namespace: Mapping[str, Any]) -> Self:
        """Validate the parameters that stand in a notebook's namespace (`globals()`).

        Unknown names are found in the cell that papermill injected, which IPython keeps in its history.
        """
        unknown = _injected_names(namespace.get("In", [])) - cls.model_fields.keys()
        given = {name: namespace[name] for name in cls.model_fields if name in namespace}
        return cls.check(given | {name: namespace.get(name) for name in sorted(unknown)})


class WatchedParameters(RunbookParameters):
    """What the runbooks take that watch what is served and judge it."""

    source: Literal["auto", "request log", "metrics"] = Field(
        default="auto", description="where the served requests are counted"
    )
    late_data_s: Seconds = Field(default=600.0, description="longest wait for late data [seconds]")
    min_requests: int = Field(default=200, ge=1, description="requests that a verdict needs [count]")
    max_failure_rate: float = Field(default=0.02, gt=0, lt=0.9, description="failures per request [fraction]")
    max_p95_ms: float = Field(default=1000.0, gt=0, description="95th percentile of latency [ms]")


class DeployParameters(RunbookParameters):
    """Create a deployment from its definition, at zero traffic, and prove that it answers."""

    runbook: ClassVar[str] = "deploy"

    definition: str = Field(min_length=1, description="path of the deployment.yml (CLI v2)")
    probes: str = Field(default="", description="path of a .jsonl of requests and expected answers")
    probe_requests: int = Field(
        default=20, ge=1, le=1000, description="requests sent to the new deployment [count]"
    )


class CanaryParameters(WatchedParameters):
    """Move live traffic to a deployment in stages, watched; promote it, hold, or roll back."""

    runbook: ClassVar[str] = "canary"

    canary: Name = Field(description="deployment on trial")
    stages: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[10, 50, 100], min_length=1, max_length=20, description="live traffic at each stage [percent]"
    )
    lease_s: Seconds = Field(
        default=900.0, ge=5, description="traffic that nobody watches is given back after this long [seconds]"
    )
    bake_s: Seconds = Field(default=600.0, gt=0, description="observation at each stage [seconds]")
    max_bake_s: Seconds = Field(
        default=1800.0, description="an undecided stage is watched up to this long [seconds]"
    )
    on_hold: Literal["rollback", "extend", "smaller step", "ask"] = Field(
        default="rollback", description="what follows a stage that is undecided at max_bake_s"
    )
    answer_s: Seconds = Field(
        default=3600.0, gt=0, description='longest wait for a person\'s answer, with on_hold="ask" [seconds]'
    )
    alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="chance of ever rolling back a good one [fraction]"
    )
    tolerated_slowdown: float = Field(default=0.05, ge=0, description="slower by this is no harm [fraction]")
    max_slowdown: float = Field(default=0.2, gt=0, description="proved not slower by this to promote [fraction]")
    proven_quantiles: list[float] = Field(
        default=[0.5, 0.95, 0.99], description="quantiles of latency that promotion needs proof of [fraction]"
    )
    settle_s: Seconds = Field(default=120.0, description="age that numbers must have to be judged [seconds]")
    warm_up_s: Seconds = Field(default=60.0, description="first traffic that is not judged [seconds]")
    failures_mode: Mode = Field(default="act", description="may failures roll back")
    latency_mode: Mode = Field(default="act", description="may latency roll back")
    rehearse: bool = Field(default=False, description="judge stable against itself; move no traffic")
    probes: str = Field(default="", description="path of a .jsonl of requests and expected answers")
    probe_every_s: Seconds = Field(
        default=60.0, description="probes are put to both versions this often, 0 only before [seconds]"
    )
    answers_mode: Mode = Field(default="observe", description="may changed answers to probes stop it")
    max_changed_answers: float = Field(
        default=0.1, gt=0, lt=0.9, description="probes without expected answer that may change [fraction]"
    )
    outcomes: str = Field(default="", description="path of a .jsonl of what became of requests, appended to")
    bad_outcomes: list[MetricName] = Field(default=[], description="yes/no outcomes in it that are judged")
    measures: dict[MetricName, float] = Field(
        default={}, description="measures in it, with the fall of the mean that is no harm [their unit]"
    )
    outcome_window_s: Seconds = Field(default=0.0, description="outcomes may follow this late [seconds]")
    outcomes_mode: Mode = Field(default="advise", description="may yes/no outcomes roll back")

    @model_validator(mode="after")
    def _tell_outcomes(self) -> Self:
        names = [*self.bad_outcomes, *self.measures]
        if bool(self.outcomes) != bool(names):
            raise ValueError(
                "outcomes and the names in it (bad_outcomes, measures) must be given together, got "
                f"outcomes={self.outcomes!r}, bad_outcomes={self.bad_outcomes}, measures={self.measures}"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"each outcome and measure needs a name of its own, got {names}")
        return self

    @field_validator("probe_every_s")
    @classmethod
    def _spare(cls, every_s: float) -> float:
        if 0 < every_s < 1:
            raise ValueError(f"probe_every_s must be 0, or at least 1 to spare the endpoint, got {every_s:g}")
        return every_s

    @field_validator("stages")
    @classmethod
    def _ascend(cls, stages: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(stages)):
            raise ValueError(f"stages must rise from one to the next, got {stages}")
        if stages[0] == 100:
            raise ValueError(f"the first stage must leave stable some traffic to compare with, got {stages}")
        if stages[-1] != 100:
            raise ValueError(f"the last stage must be 100, got {stages}: a canary nobody watches takes no traffic")
        return stages

    @field_validator("proven_quantiles")
    @classmethod
    def _known(cls, quantiles: list[float]) -> list[float]:
        if not set(quantiles) <= {0.5, 0.9, 0.95, 0.99}:
            raise ValueError(f"quantiles must be among 0.5, 0.9, 0.95 and 0.99, got {quantiles}")
        return quantiles


class ScaleParameters(WatchedParameters):
    """Change the number of instances of a deployment, and show what that did."""

    runbook: ClassVar[str] = "scale"

    deployment: Name = Field(description="deployment to scale")
    instances: int = Field(ge=1, le=50, description="instances wanted [count]")
    max_p95_ratio: float = Field(default=1.5, ge=1, description="p95 over that of before [ratio]")
    observe_s: Seconds = Field(default=300.0, description="observation before and after [seconds]")


class RollbackParameters(RunbookParameters):
    """Give all live traffic back to a deployment, and prove by real requests that it arrives."""

    runbook: ClassVar[str] = "rollback"

    to: Name | Literal[""] = Field(default="", description="deployment to return to; empty: last known good")
    probes: str = Field(default="", description="path of a .jsonl of requests and expected answers")
    verify_requests: int = Field(default=20, ge=1, le=1000, description="live requests to verify with [count]")
    verify_s: Seconds = Field(default=120.0, description="longest wait until they arrive as planned [seconds]")


RUNBOOKS: Mapping[str, type[RunbookParameters]] = {
    parameters.runbook: parameters
    for parameters in (DeployParameters, CanaryParameters, ScaleParameters, RollbackParameters)
}


def _refuse_secrets(runbook: str, given: Mapping[str, Any]) -> None:
    """Refuse values that are secret, without showing them: parameters stand in the notebook, as they are."""
    for name, value in given.items():
        if not isinstance(value, str) or not value or is_reference(value):
            continue
        if SECRET_NAME.search(name) or looks_leaky(value) or redact(value) != value:
            raise ParameterError(
                f"{runbook} cannot run with {name}: it holds a secret (not shown here), which would stand in the "
                "evidence. Pass a reference, env:NAME or keyvault:NAME, and read it with opslib.secret"
            )


def _injected_names(history: list[str]) -> set[str]:
    """Names assigned in the cell that papermill injected (it begins with this comment)."""
    injected = [source for source in history if source.startswith("# Parameters\n")]
    assignments = [node for source in injected for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {t.id for node in assignments for t in node.targets if isinstance(t, ast.Name)}


def _problem(parameters: type[RunbookParameters], error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if not name:  # about several together: its message says what was given
        return str(error["ctx"]["error"])
    if error["type"] == "extra_forbidden":
        meant = "".join(f" (did you mean {near}?)" for near in get_close_matches(name, parameters.model_fields, 1))
        return f"{name}: unknown{meant}; {parameters.runbook} takes {', '.join(sorted(parameters.model_fields))}"
    if error["type"] == "missing":
        return f"{name}: missing; {parameters.model_fields[name].description}"
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"
