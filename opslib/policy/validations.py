"""Whether a version has passed the validation that the endpoint's policy requires."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opslib.policy.policy import Validation


@dataclass(frozen=True)
class ValidationRun:
    """A validate run of the archive that has ended.

    Attributes
    ----------
    run_id, finished_at
        The run, and when it ended.
    version_sha256, validation_sha256
        Digests of the version that was validated and of the validation set.
    correct, requests
        Correct answers, and requests of the set [count].
    problem
        Why the run proves nothing, such as a broken seal; empty where it was verified.
    """

    run_id: str
    finished_at: datetime
    version_sha256: str
    validation_sha256: str
    correct: int
    requests: int
    problem: str = ""

    def __str__(self) -> str:
        """The result and its run."""
        return f"{self.correct:,} of {self.requests:,} answers correct in {self.run_id}"


@dataclass(frozen=True)
class ValidationDecision:
    """Whether production traffic may go to a version, and the evidence."""

    passed: bool
    evidence: str


def decide_validation(
    rule: Validation, runs: Sequence[ValidationRun], version_sha256: str, validation_sha256: str, now: datetime
) -> ValidationDecision:
    """Decide by the newest run that validated exactly this version.

    Parameters
    ----------
    rule
        What the policy requires.
    runs
        Validate runs of this deployment, newest first.
    version_sha256, validation_sha256
        Digests of the version that is to take traffic, and of the validation set as it is now.
    now
        Time of the decision.
    """
    if not runs:
        return ValidationDecision(False, "no validation of this deployment in the archive")
    newest = next((run for run in runs if run.version_sha256 == version_sha256), None)
    if newest is None:
        return ValidationDecision(False, f"{runs[0]}, but of another version: the deployment was changed since")
    objection = _objection(rule, newest, validation_sha256, now)
    hours = (now - newest.finished_at).total_seconds() / 3600
    return ValidationDecision(not objection, f"{newest}, {hours:.1f} h ago{objection and f', {objection}'}")


def _objection(rule: Validation, run: ValidationRun, validation_sha256: str, now: datetime) -> str:
    """Return why a run of this version does not count; empty where it does."""
    if run.problem:
        return f"but it proves nothing: {run.problem}"
    if run.validation_sha256 != validation_sha256:
        return f"but with another validation set than {rule.file} is now"
    if not run.requests or run.correct / run.requests < rule.min_correct_rate:
        return f"limit {100 * rule.min_correct_rate:.4g} %"
    if now - run.finished_at > timedelta(hours=rule.valid_h):
        return f"valid for {rule.valid_h:g} h"
    return ""
