"""Whether the people whom the policy names have approved this plan; without them, the run ends as waiting."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opslib.errors import ApprovalNeeded, PlanError
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.signing.approval import describe_no_approvers
from opslib.evidence.signing.approvers import find_approvers
from opslib.model import Plan
from opslib.policy.agreements import describe_rule
from opslib.runbooks.plan_content import approved_content, digest_of
from opslib.runbooks.run import Run


@dataclass(frozen=True)
class Waiting:
    """What a run waits for.

    Attributes
    ----------
    plan_sha256
        Digest of the plan that needs approval.
    given
        How many approvals count, whose, and why others do not.
    needed
        What the policy requires.
    approve, resume
        The command for each approver, and the one that carries out the approved plan.
    unconfigured
        What has to be configured before any approval counts; empty for nothing.
    """

    plan_sha256: str
    given: str
    needed: str
    approve: str
    resume: str
    unconfigured: str = ""

    def __str__(self) -> str:
        """What is missing, and the commands, for a person who reads a log."""
        first = f"  first:          {self.unconfigured}\n" if self.unconfigured else ""
        return (
            f"nothing was changed: plan {self.plan_sha256[:16]} waits for approval. {self.given}. Needed: "
            f"{self.needed}.\n{first}"
            f"  each approver:  {self.approve}\n"
            f"  then:           {self.resume}\n"
            "  FILE is what `opslib approve` wrote, or a folder of such files. The plan stays the same as long as "
            "the endpoint, the parameters and the files do."
        )


def require_approved(run: Run[Any], plan: Plan) -> None:
    """Require that enough people have approved exactly this plan.

    Raises
    ------
    PlanError
        If a file of the plan was changed after it was planned.
    ApprovalNeeded
        If approvals are missing; the run then ends as ``waiting``, and nothing was changed.
    """
    policy, record = run.policy, run.record
    rule = policy.approvals_for(run.parameters.runbook) if policy else None
    if rule is None and not record.approvals:
        return
    if digest_of(approved_content(plan, run.parameters, run.workspace.scope, policy)) != record.plan_sha256:
        raise PlanError("a file of this plan was changed after it was planned. Nothing was changed; plan again")
    count = run.count_approvals()
    if rule is None or policy is None or count is None or count.enough:
        return
    waiting = Waiting(
        plan_sha256=record.plan_sha256,
        given=str(count),
        needed=describe_rule(rule, policy.roles),
        approve=f"opslib approve {record.run_id} --who NAME",
        resume=" ".join(_command(run)),
        unconfigured="" if count.rejected or find_approvers() else describe_no_approvers(),
    )
    run.journal.write(JournalEvent.WAITING, waiting)
    raise ApprovalNeeded(str(waiting))


def _command(run: Run[Any]) -> Iterator[str]:
    """Yield the words of the command that starts this run again, with approvals."""
    yield f"opslib run {run.parameters.runbook}"
    for name, value in run.parameters.model_dump().items():
        if run.origins[name] == "given" and name != "dry_run":
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"-p {shlex.quote(f'{name}={text}')}"
    for option in ("ticket", "requester"):
        if value := getattr(run.record, option):
            yield f"--{option} {shlex.quote(value)}"
    yield "--emergency --approval FILE" if run.record.emergency else "--approval FILE"
