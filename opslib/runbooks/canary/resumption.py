"""The evidence of an earlier, undecided canary of the same release, kept in its run's folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from opslib.azure.arm import Progress
from opslib.errors import JudgeError, RecordError
from opslib.evidence.archive.run_folders import find_archive, read_archive
from opslib.evidence.run.files import JUDGE_STATE
from opslib.judge import Criteria, State, from_json, require_release
from opslib.model import Outcome


def resume(
    folder: Path, endpoint: str, criteria: Criteria, names: Mapping[str, str], progress: Progress
) -> State | None:
    """Return the evidence of the endpoint's newest canary, if it was about this release and left undecided.

    Parameters
    ----------
    folder
        Folder of the current run, which is left out.
    endpoint
        Name of the endpoint.
    criteria
        What is judged; evidence by other criteria is not used.
    names
        The endpoint's id and the digests of both versions.
    progress
        Is called with the run whose evidence is used.
    """
    for earlier, record in read_archive(find_archive(), endpoint):
        if record.runbook != "canary" or earlier == folder or not (earlier / JUDGE_STATE).is_file():
            continue
        if record.outcome in {Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.PLANNED}:
            return None
        try:
            state = require_release(read_state(earlier), criteria, **names)
        except (JudgeError, RecordError):
            return None
        progress(f"resuming with {state.judged} intervals of evidence from {record.run_id}")
        return replace(state, first_canary_s=None)  # its instances may be cold again
    return None


def read_state(folder: Path) -> State:
    """Read the evidence that a run kept.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    path = folder / JUDGE_STATE
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not a valid state of the judge: {error}") from error
