"""The validate runbook: a set of requests with expected answers, scored on one deployment alone.

Its sealed run is the evidence that a policy requires before the version takes production traffic.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from opslib.azure.scoring_client import ScoringClient, scoring_client
from opslib.definitions.probes import Probe, read_validation_set
from opslib.displayed import Displayed
from opslib.errors import Drift
from opslib.evidence.run.files import VALIDATION
from opslib.evidence.run.journal import JournalEvent, as_json
from opslib.evidence.run.record import write_atomically
from opslib.judge.proof.upper_bounds import share_upper
from opslib.model import Deployment, Endpoint, Finding, Findings, Outcome, Plan, ProbeResult, SendProbes
from opslib.model.text import percent
from opslib.parameters.validate import ValidateParameters
from opslib.runbooks.access import check_access, check_scope
from opslib.runbooks.arrival import name_deployments
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight

LEVEL = 0.05
"""One minus the confidence of the upper bound [fraction]."""

UNANSWERED_IN_A_ROW = 10
"""Requests without any answer after which the rest is not sent: each may wait three minutes [count]."""

PROGRESS_EVERY_S = 2.0

Cases = Sequence[tuple[int, Probe]]
"""The requests of a validation set, each with its line in the file."""


@dataclass(frozen=True)
class ScoredCase:
    """One request of the set: its line in the file, and its result."""

    line: int
    result: ProbeResult


@dataclass(frozen=True)
class Validated(Displayed):
    """How a validation ended.

    Attributes
    ----------
    deployment, version_sha256
        The deployment, and the digest of the version that answered (`Deployment.version_sha256`).
    validation_sha256
        Digest of the validation set's file.
    correct, requests
        Correct answers, and requests of the set [count].
    wrong_upper
        Largest share of wrong answers that the result does not exclude [fraction]; None where none was sent.
    cases
        Every request that was sent.
    """

    outcome: Outcome
    reason: str
    deployment: str
    version_sha256: str
    validation_sha256: str
    correct: int = 0
    requests: int = 0
    wrong_upper: float | None = None
    cases: tuple[ScoredCase, ...] = ()

    def results(self) -> dict[str, Any]:
        """Return what the record keeps: later runs find the validation of a version by it."""
        names = ("deployment", "version_sha256", "validation_sha256", "correct", "requests", "wrong_upper")
        return {name: getattr(self, name) for name in names}


def check_validate(run: Run[ValidateParameters], before: Endpoint) -> Findings:
    """Check whether the deployment can be scored, and whether the validation set can be read."""
    p = run.parameters
    findings = (
        check_scope(run, before),
        preflight.check_state(before),
        *run.check_policy(),
        check_access(run, before, lambda: planning.plan_validation(before, p.deployment, 1), ()),
        preflight.check_ready(before, p.deployment, "deployment"),
        _check_set(p),
    )
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_set(p: ValidateParameters) -> Finding:
    if not p.validation:
        return Finding.blocker(
            "validation set", f"{p.policy} names none", "Add `validation: {file: ...}` to it, or pass validation."
        )
    count = len(read_validation_set(p.validation))
    return Finding.ok("validation set", f"{p.validation}: {count} requests, each with its expected answer")


def plan_validate(run: Run[ValidateParameters], before: Endpoint) -> Plan:
    """Plan one request for each line of the validation set."""
    cases = read_validation_set(run.parameters.validation)
    return run.log(JournalEvent.PLAN, planning.plan_validation(before, run.parameters.deployment, len(cases)))


def validate(run: Run[ValidateParameters], plan: Plan) -> Validated:
    """Send each request to the deployment alone, compare the answers, and keep every result in a file of the run.

    Raises
    ------
    Drift
        If the deployment was changed meanwhile: the answers are not those of one version.
    """
    p, step = run.parameters, plan.steps[0]
    assert isinstance(step, SendProbes)
    deployment = plan.before.find(step.deployment)
    assert deployment is not None
    content = Path(p.validation).read_bytes()
    ended = Validated(
        outcome=Outcome.PLANNED,
        reason="dry run: no request was sent",
        deployment=deployment.name,
        version_sha256=deployment.version_sha256,
        validation_sha256=hashlib.sha256(content).hexdigest(),
    )
    if p.dry_run:
        return ended
    cases = read_validation_set(p.validation)
    with scoring_client(run.workspace, plan.before) as client:
        results = list(_send(run, client, deployment.name, cases))
    results = [_traceable(one) for one in name_deployments(run.workspace, plan.before, results)]
    scored = tuple(ScoredCase(line, result) for (line, _), result in zip(cases, results, strict=False))
    _keep(run, scored, deployment)
    _require_same_version(run.read_endpoint(), deployment)
    ended = _conclude(replace(ended, cases=scored), len(cases), p.min_correct_rate)
    run.journal.write(JournalEvent.VALIDATED, replace(ended, cases=()))
    return ended


def _send(
    run: Run[ValidateParameters], client: ScoringClient, deployment: str, cases: Cases
) -> Iterator[ProbeResult]:
    unanswered, correct, shown_s = 0, 0, monotonic()
    for number, (_, probe) in enumerate(cases, start=1):
        result = client.send(probe, deployment)
        yield result
        correct += result.ok
        unanswered = unanswered + 1 if result.status is None else 0
        if monotonic() - shown_s >= PROGRESS_EVERY_S or number == len(cases):
            shown_s = monotonic()
            run.progress(f"{correct} of {number} answers of {deployment} correct, {len(cases)} requests in the set")
        if unanswered == UNANSWERED_IN_A_ROW:
            run.progress(f"stopped: the last {unanswered} requests got no answer")
            return


def _traceable(result: ProbeResult) -> ProbeResult:
    """Count an answer as wrong if nothing shows which deployment gave it."""
    if result.ok and not result.deployment:
        return replace(result, problem="neither the answer nor the request log names the deployment that answered")
    return result


def _keep(run: Run[ValidateParameters], scored: Sequence[ScoredCase], deployment: Deployment) -> None:
    """Write each request's ids, deployment, model and result; only what is wrong with an answer is kept of it."""
    version = {
        "sent_to": deployment.name,
        "model": deployment.arm["properties"].get("model") or "",
        "version_sha256": deployment.version_sha256,
    }
    lines = [{"line": one.line} | as_json(one.result) | version | {"correct": one.result.ok} for one in scored]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(run.folder / VALIDATION, text)


def _require_same_version(after: Endpoint, deployment: Deployment) -> None:
    found = after.find(deployment.name)
    if found is None or found.version_sha256 != deployment.version_sha256:
        raise Drift(
            f"{deployment.name} was changed or deleted while it was validated: the answers are not those of one "
            "version. Validate it again"
        )


def _conclude(ended: Validated, requests: int, min_correct_rate: float) -> Validated:
    """Compare the correct answers with the limit; requests that were not sent count as wrong."""
    correct = sum(one.result.ok for one in ended.cases)
    upper = share_upper(requests - correct, requests, LEVEL)
    reason = (
        f"{ended.deployment}: {correct:,} of {requests:,} answers correct, limit {percent(min_correct_rate)}; "
        f"wrong answers at most {percent(upper)} at {percent(1 - LEVEL)} confidence"
    )
    first = next((one for one in ended.cases if not one.result.ok), None)
    if first:
        reason += f"; first wrong: line {first.line}: {first.result.problem}"
    outcome = Outcome.SUCCEEDED if correct / requests >= min_correct_rate else Outcome.FAILED
    return replace(ended, outcome=outcome, reason=reason, correct=correct, requests=requests, wrong_upper=upper)
