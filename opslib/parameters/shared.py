"""What the parameters of several runbooks share."""

from typing import Annotated, Literal

from pydantic import Field

from opslib.runbook_parameters import RunbookParameters, Seconds

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
