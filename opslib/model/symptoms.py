"""What shows how an endpoint fails: statuses, operations, changes, certificate, utilization. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class AnswerCount:
    """Requests that got the same answer.

    Attributes
    ----------
    deployment
        The deployment that answered; "" where the endpoint refused the request itself.
    status, model_status
        HTTP status of the endpoint, and of the container; "" where none was reached.
    requests
        How many there were [count].
    first, last
        Times of the first and the last one; where metrics were read, their minutes.
    reason
        Azure's reason, as "too_many_pending_request"; "" where metrics were read, which have none.
    """

    deployment: str
    status: int
    model_status: str
    requests: int
    first: datetime
    last: datetime
    reason: str = ""


@dataclass(frozen=True)
class LastOperation:
    """The last long-running operation of a resource; `error` is its error as Azure wrote it, None without one."""

    status: str
    error: Mapping[str, Any] | None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Attempt:
    """A change that was sent to Azure, as the activity log has it, with the error where it was refused."""

    at: datetime
    resource_id: str
    operation: str
    caller: str
    succeeded: bool
    message: str = ""
    correlation_id: str = ""

    @property
    def name(self) -> str:
        """Last part of the resource's id."""
        return self.resource_id.rsplit("/", 1)[-1]

    @property
    def action(self) -> str:
        """What was done, without the provider."""
        parts = self.operation.split("/")
        return parts[-2] if parts[-1].lower() == "action" and len(parts) > 1 else parts[-1]


@dataclass(frozen=True)
class Certificate:
    """The TLS certificate that an endpoint's address shows; `problem` is why it is not accepted, "" if it is."""

    host: str
    issuer: str
    not_after: datetime | None
    problem: str = ""


@dataclass(frozen=True)
class Utilization:
    """Highest utilization of any instance of a deployment; None without a point [percent]."""

    cpu: float | None
    memory: float | None
