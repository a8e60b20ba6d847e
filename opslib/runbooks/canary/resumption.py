"""Going on where an earlier canary of the same release stopped undecided: its evidence is kept in its folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from opslib.errors import JudgeError, RecordError
from opslib.evidence.archive.run_folders import find_archive, read_archive
from opslib.evidence.run.files import JUDGE_STATE
from opslib.judge import Criteria, State, from_json, require_release
from opslib.model import Outcome
from opslib.parameters import CanaryParameters
from opslib.runbooks.run import Run


def resume(run: Run[CanaryParameters], criteria: Criteria, names: Mapping[str, str]) -> State | None:
    """The evidence of the newest canary on this endpoint, if it was about this release and left undecided."""
    for folder, record in read_archive(find_archive(), run.parameters.endpoint):
        if record.runbook != "canary" or folder == run.folder or not (folder / JUDGE_STATE).is_file():
            continue
        if record.outcome in {Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.PLANNED}:
            return None
        try:
            state = require_release(read_state(folder), criteria, **names)
        except (JudgeError, RecordError):
            return None
        run.say(f"going on with the evidence of {record.run_id}: {state.judged} intervals")
        return replace(state, first_canary_s=None)  # its instances may be cold again
    return None


def read_state(folder: Path) -> State:
    """Read the evidence that a run kept.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    try:
        return from_json((folder / JUDGE_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{folder / JUDGE_STATE} holds no state of the judge: {error}") from error
