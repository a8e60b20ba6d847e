"""The undo of a plan that moves no traffic: its steps were made before anything was applied."""

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.model import Plan
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.step_text import describe_step
from opslib.runbooks.undo.restore_traffic import print_progress


def undo_plan(plan: Plan, workspace: Workspace, journal: Journal, progress: Progress, timeout_s: float) -> None:
    """Apply the plan's undo, step by step.

    Raises
    ------
    ApplyError, AzureError
        If Azure refuses a step, or it fails or does not end in time.
    """
    for step in plan.undo:
        journal.try_write(JournalEvent.UNDOING, step)
        with journal.noted(JournalEvent.UNDO_FAILED):
            receipt = apply(step, workspace, timeout_s, print_progress)
        journal.write(JournalEvent.UNDONE, receipt)
        progress(f"undone: {describe_step(step)}")
