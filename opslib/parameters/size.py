"""The parameters of the size runbook."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from opslib.runbook_parameters import Name, RunbookParameters


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
