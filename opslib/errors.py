"""The errors that opslib raises on purpose.

The tree::

    OpsError
    +-- ParameterError       a runbook's parameter is unknown, missing, ill-typed or out of range
    +-- ConnectError         the workspace or a secret cannot be reached: sandbox down, stale CA, wrong cloud
    +-- DefinitionError      an endpoint.yml, deployment.yml or probes file is unreadable or incomplete
    +-- PreflightError       a finding blocks the change
    +-- ApprovalNeeded       the plan waits for people to approve it
    +-- PlanError            the requested state cannot be planned from the current state
    +-- AzureError           Azure rejected or failed a request; has status, code and correlation id
    |   +-- NotFound         the endpoint or deployment does not exist
    |   +-- AccessDenied     the caller lacks a permission (403)
    |   +-- PollError        the state of an operation could not be read; it may be running or have ended
    |   +-- UnexpectedAnswer an answer has not the form that opslib reads
    +-- ApplyError           a change was started and not completed
    |   +-- OperationFailed  a long-running operation ended as Failed; has Azure's code and the logs
    |   +-- OperationTimeout a long-running operation did not end in time
    |   +-- Drift            the resource was changed by someone else since it was read
    |   |   +-- LeaseHeld    another change holds the endpoint's lease, or took it over
    |   +-- ProbeFailed      a deployment did not give the expected answers to probes
    +-- ObserveError         request counts and latencies cannot be read
    +-- JudgeError           the criteria, the counts or a saved state of the judge are invalid
    +-- AnswerError          a run does not accept an operator's answer
    +-- RecordError          the evidence of a run cannot be written or read
    +-- OutcomeError         the run ended, but did not succeed

A message states the problem, what was expected, what was seen and what to do. All errors can be pickled, since
papermill and pytest pass them between processes.
"""

from typing import ClassVar


class OpsError(Exception):
    """Base class of the errors that opslib raises on purpose.

    `refused` is true for errors that are raised before anything was changed: the run then ends as ``refused``,
    not as ``failed``.
    """

    refused: ClassVar[bool] = False


class ParameterError(OpsError):
    """A runbook's parameter is unknown, missing, ill-typed or out of range."""

    refused = True


class ConnectError(OpsError):
    """The workspace or a secret cannot be reached: sandbox down, stale CA, wrong cloud, no such secret."""

    refused = True


class DefinitionError(OpsError):
    """An endpoint.yml, deployment.yml or probes file is unreadable or incomplete."""

    refused = True


class PolicyError(OpsError):
    """A policy file cannot be used, or a rule in it cannot be evaluated."""

    refused = True


class PreflightError(OpsError):
    """A finding blocks the change."""

    refused = True


class ApprovalNeeded(OpsError):  # noqa: N818 - what happened
    """The plan waits for approvals; a later run with them carries it out."""

    refused = True


class PlanError(OpsError):
    """The requested state cannot be planned from the current state."""

    refused = True


class AzureError(OpsError):
    """Azure rejected or failed a request.

    `status` is the HTTP status and `code` ARM's error code, which is more reliable: the poll of a failed
    long-running operation has status 200. `correlation_id` identifies the request to Microsoft's support.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "", correlation_id: str = "") -> None:
        super().__init__(message, status, code, correlation_id)
        self.message = message
        self.status = status
        self.code = code
        self.correlation_id = correlation_id

    def __str__(self) -> str:
        return self.message


class PollError(AzureError):
    """The state of an operation could not be read; it may be running or have ended."""


class UnexpectedAnswer(AzureError):  # noqa: N818 - what happened
    """An answer has not the form that opslib reads; the message has what was expected and what was seen."""


class NotFound(AzureError):  # noqa: N818 - the field's word
    """The endpoint or deployment does not exist."""

    refused = True


class AccessDenied(AzureError):  # noqa: N818 - what happened
    """The caller lacks a permission; Azure's message names the action and the scope."""

    refused = True


class ApplyError(OpsError):
    """A change was started and not completed."""


class CreateRefused(ApplyError):  # noqa: N818 - what happened
    """Azure rejected the request for a deployment, so none was created."""

    refused = True


class OperationFailed(ApplyError):  # noqa: N818 - the field's word
    """A long-running operation ended as Failed; `code` is Azure's, `logs` the last lines of the container's log."""

    def __init__(self, message: str, code: str = "", logs: str = "") -> None:
        super().__init__(message, code, logs)
        self.message = message
        self.code = code
        self.logs = logs

    def __str__(self) -> str:
        return f"{self.message}\n\n{self.logs}" if self.logs else self.message


class OperationTimeout(ApplyError):  # noqa: N818 - the field's word
    """A long-running operation did not end in time; it may still be running."""


class Drift(ApplyError):  # noqa: N818 - the field's word
    """The resource was changed by someone else since it was read; nothing was overwritten."""


class LeaseHeld(Drift):
    """Another change holds the endpoint's lease, or took it over; nothing was overwritten."""


class ProbeFailed(ApplyError):  # noqa: N818 - the field's word
    """A deployment did not give the expected answers to probes."""


class ObserveError(OpsError):
    """Request counts and latencies cannot be read."""


class JudgeError(OpsError):
    """The criteria, the counts or a saved state of the judge are invalid."""


class AnswerError(OpsError):
    """A run does not accept an operator's answer: none is awaited, one is there, or the reason is missing."""

    refused = True


class RecordError(OpsError):
    """The evidence of a run cannot be written or read."""


class OutcomeError(OpsError):
    """The run ended, but did not succeed."""
