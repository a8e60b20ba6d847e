"""Execute a runbook in this process, and show how it goes on and ends."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.evidence.run.files import NOTEBOOK, RECORD
from opslib.model import Outcome

if TYPE_CHECKING:
    from opslib.evidence.run.record import ChangeRequest


def execute_shown(
    runbook: str,
    given: Mapping[str, object],
    archive: Path,
    timeout_s: float | None = None,
    request: "ChangeRequest | None" = None,
    *,
    as_json: bool = False,
) -> int:
    """Execute a runbook with its progress; print how it ended, or its record, and return its exit code."""
    from opslib.cli.output import shown_if_read
    from opslib.runner.execute import execute
    from opslib.show.terminal import show_progress

    with show_progress(aside=as_json) as on_event:
        folder, record = execute(runbook, given, archive, timeout_s, on_event, request)
    with shown_if_read():
        if as_json:
            print((folder / RECORD).read_text(encoding="utf-8"), end="")
        else:
            print(f"{record.outcome}: {record.reason}")
            if record.outcome in (Outcome.PLANNED, Outcome.WAITING):
                from opslib.evidence.present.summary import planned_changes

                print("".join(f"  plan: {change}\n" for change in planned_changes(folder)), end="")
            print(os.path.relpath(folder / NOTEBOOK))
    return Outcome.FAILED.exit_code if record.outcome is None else record.outcome.exit_code
