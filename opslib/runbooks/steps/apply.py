"""Apply one step at a time. Each re-reads before it writes, stops on drift, and is idempotent."""

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.endpoint_changes import EditTags, delete_deployment, scale, set_traffic, settle
from opslib.azure.endpoints import read_endpoint
from opslib.errors import ApplyError, Drift
from opslib.model import (
    CreateDeployment,
    DeleteDeployment,
    DeleteRule,
    Receipt,
    RestoreRule,
    SendProbes,
    SetInstanceCount,
    SetRule,
    SetTraffic,
    Step,
)


def apply(
    step: Step,
    workspace: Workspace,
    deadline_s: float,
    progress: Progress,
    tags: EditTags = dict,
) -> Receipt:
    """Apply one step and return its receipt; a traffic step edits the endpoint's tags in the same request.

    Raises
    ------
    Drift
        If another change altered what the step starts from.
    ApplyError, AzureError
        If Azure refuses the step, or it fails or does not end in time.
    """
    match step:
        case SetTraffic():
            return set_traffic(workspace, step, deadline_s, progress, tags)
        case SetInstanceCount():
            return scale(workspace, step, deadline_s, progress)
        case DeleteDeployment():
            return delete_deployment(workspace, step.endpoint, step.deployment, deadline_s, progress)
        case CreateDeployment():
            return _create(step, workspace, deadline_s, progress)
        case DeleteRule() | SetRule() | RestoreRule():
            return _write_rule(step, workspace, deadline_s, progress)
        case SendProbes():
            raise ApplyError("probes are sent, not applied")


def _write_rule(
    step: DeleteRule | SetRule | RestoreRule, workspace: Workspace, deadline_s: float, progress: Progress
) -> Receipt:
    from opslib.azure.rules import delete_rule, write_rule  # noqa: PLC0415 - a rollback's first move does without

    if isinstance(step, DeleteRule):
        return delete_rule(workspace, step, deadline_s, progress)
    return write_rule(workspace, step, deadline_s, progress)


def _create(step: CreateDeployment, workspace: Workspace, deadline_s: float, progress: Progress) -> Receipt:
    from opslib.azure.create_deployment import create_deployment  # noqa: PLC0415 - as above
    from opslib.definitions.deployment import read_deployment  # noqa: PLC0415

    started_at, begun_s = datetime.now(UTC), monotonic()
    definition = read_deployment(Path(step.definition), step.endpoint, step.deployment, step.replacements)

    def check() -> None:
        require_absent(step, workspace, deadline_s, progress)

    check()
    create_deployment(workspace, definition, deadline_s, progress, check)
    return Receipt("PUT", f"{step.endpoint}/{step.deployment}", "", started_at, round(monotonic() - begun_s, 3))


def require_absent(step: CreateDeployment, workspace: Workspace, deadline_s: float, progress: Progress) -> None:
    """Wait until no operation runs on the endpoint, and require that the deployment does not exist.

    Raises
    ------
    Drift
        If it does: another change created it since the plan was made.
    """
    settle(workspace, step.endpoint, deadline_s, progress)
    if read_endpoint(workspace, step.endpoint).find(step.deployment):
        raise Drift(
            f"another change created {step.deployment} meanwhile: it was left alone. Choose another name for the "
            "new version"
        )
