"""What can go wrong, in the caller's terms.

Our error tree::

    OpsError
    +-- ParameterError       a runbook's parameter is unknown, missing, ill-typed or out of range
    +-- ConnectError            the workspace cannot be reached safely: sandbox down, stale CA, wrong cloud
    +-- DefinitionError      an endpoint.yml, deployment.yml or probes file does not say what it must
    +-- PreflightError       a finding blocks the change; carries the findings
    +-- PlanError            the wanted state cannot be planned from the state before
    +-- AzureError           Azure refused or failed a request; carries status, code and correlation id
    |   +-- NotFound         the endpoint or deployment does not exist
    |   +-- PollError         an operation could not be asked after; it may be under way, or have ended
    +-- ApplyError           a change was begun and did not reach its end
    |   +-- OperationFailed  a long-running operation ended in Failed; carries Azure's code and the logs
    |   +-- OperationTimeout a long-running operation did not end in time
    |   +-- Drift            somebody else changed what was about to be changed
    |   |   +-- LeaseHeld    another change holds the endpoint, or took it over
    |   +-- ProbeFailed      a deployment was asked directly and did not answer as it must
    +-- ObserveError         what was served cannot be read
    +-- JudgeError           criteria, counts or a state that cannot be judged
    +-- AnswerError          a run does not take a person's answer
    +-- RecordError          the evidence of a run cannot be written or read
    +-- OutcomeError         the run reached its end and its outcome is not the good one

Every message says what, expected, seen and what to do. All are picklable, since papermill and pytest carry
them across processes.
"""

from typing import ClassVar


class OpsError(Exception):
    """Any error that opslib raises on purpose.

    `refused` is true for errors that are raised before anything was changed: the run ends as ``refused``,
    not as ``failed``.
    """

    refused: ClassVar[bool] = False


class ParameterError(OpsError):
    """A runbook's parameter is unknown, missing, ill-typed or out of range."""

    refused = True


class ConnectError(OpsError):
    """The workspace cannot be reached safely: the sandbox is down, its CA is stale, or it is the wrong cloud."""

    refused = True


class DefinitionError(OpsError):
    """An endpoint.yml, deployment.yml or probes file does not say what it must."""

    refused = True


class PreflightError(OpsError):
    """A finding blocks the change."""

    refused = True


class PlanError(OpsError):
    """The wanted state cannot be planned from the state before."""

    refused = True


class AzureError(OpsError):
    """Azure refused or failed a request.

    `status` is the HTTP status, `code` ARM's error code (more reliable than the status: a failed
    long-running operation reports status 200), `correlation_id` what Microsoft's support asks for.
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
    """An operation could not be asked after; it may be under way, or have ended."""


class NotFound(AzureError):  # noqa: N818 - the field's word
    """The endpoint or deployment does not exist."""

    refused = True


class ApplyError(OpsError):
    """A change was begun and did not reach its end."""


class OperationFailed(ApplyError):  # noqa: N818 - the field's word
    """A long-running operation ended in Failed; `code` is Azure's, `logs` the container's last lines."""

    def __init__(self, message: str, code: str = "", logs: str = "") -> None:
        super().__init__(message, code, logs)
        self.message = message
        self.code = code
        self.logs = logs

    def __str__(self) -> str:
        return f"{self.message}\n\n{self.logs}" if self.logs else self.message


class OperationTimeout(ApplyError):  # noqa: N818 - the field's word
    """A long-running operation did not end in time; it may still be under way."""


class Drift(ApplyError):  # noqa: N818 - the field's word
    """Somebody else changed what was about to be changed; nothing was overwritten."""


class LeaseHeld(Drift):
    """Another change holds the endpoint, or took it over; nothing was overwritten."""


class ProbeFailed(ApplyError):  # noqa: N818 - the field's word
    """A deployment was asked directly and did not answer as it must."""


class ObserveError(OpsError):
    """What was served cannot be read."""


class JudgeError(OpsError):
    """Criteria, counts or a state of the judge cannot be judged."""


class AnswerError(OpsError):
    """A run does not take a person's answer: it does not ask, is over, was answered, or no reason is given."""

    refused = True


class RecordError(OpsError):
    """The evidence of a run cannot be written or read."""


class OutcomeError(OpsError):
    """The run reached its end and its outcome is not the good one."""
