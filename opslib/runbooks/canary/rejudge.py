"""Judge a recorded canary again from its journal: the same intervals must give the same verdicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.run.files import JOURNAL
from opslib.evidence.run.journal import JournalEvent, as_json, read_journal
from opslib.evidence.run.record import read_record
from opslib.judge import from_json, from_record, judge, next_stage, read_criteria

Event = Mapping[str, Any]

EXPLANATIONS = {"sentence", "reasons", "basis", "place", "counted"}
"""Stored fields of a verdict that explain its numbers to people."""

ROUNDING = 1e-9
"""Largest difference between two numbers that are the same, as a share of the larger."""


@dataclass(frozen=True)
class RejudgedLook:
    """One look: its decision in the journal, and its decision now."""

    at: str
    then: str
    now: str
    sentence: str
    same: bool


def judge_again(folder: Path) -> Iterator[RejudgedLook]:
    """Judge every look in a run's journal again.

    Parameters
    ----------
    folder
        The folder of a canary run.

    Raises
    ------
    RecordError
        If it is not a canary, has no looks, or its journal is damaged.
    JudgeError
        If its criteria were written by another version of the judge.
    """
    record = read_record(folder)
    if record.runbook != "canary":
        raise RecordError(
            f"{record.run_id} is a run of {record.runbook}, expected canary: other runs have no looks"
        )
    events = list(read_journal(folder / JOURNAL))
    for event in events:
        if event["event"] == JournalEvent.UNREADABLE:
            raise RecordError(
                f"line {event['data']['line']} of {folder / JOURNAL} is not an event: what was judged cannot be "
                "judged again without it. Restore the file from a copy of the archive; opslib verify checks it"
            )
    if not any(event["event"] == JournalEvent.LOOK for event in events):
        raise RecordError(f"nothing was judged in {record.run_id} ({record.outcome}: {record.reason})")
    for event in events:
        if event["event"] == JournalEvent.JUDGING:
            state, criteria = from_json(event["data"]["state"]), read_criteria(event["data"]["criteria"])
        if event["event"] == JournalEvent.NEXT_STAGE:
            state = next_stage(state)
        if event["event"] != JournalEvent.LOOK:
            continue
        seen = event["data"]
        intervals = [from_record(interval) for interval in seen["intervals"]]
        cohorts = [from_record(cohort) for cohort in seen.get("cohorts", [])]
        state, verdict = judge(
            state,
            intervals,
            criteria,
            bake_over=seen["bake_over"],
            stops=seen["stops"],
            cohorts=cohorts,
            unseen=seen.get("unseen", ""),
        )
        yield RejudgedLook(
            at=event["at"],
            then=seen["verdict"]["decision"],
            now=verdict.outcome,
            sentence=verdict.sentence,
            same=_agrees(as_json(verdict), seen["details"]),
        )


def _agrees(now: Any, then: Any) -> bool:
    """Compare the decision and numbers of two verdicts, as far as the recorded one holds them.

    A later opslib may explain the same numbers in other words, and record more of them. Another processor, or
    another version of NumPy, may round the last digits of a number otherwise.
    """
    if isinstance(then, Mapping):
        return isinstance(now, Mapping) and all(
            name in now and _agrees(now[name], value) for name, value in then.items() if name not in EXPLANATIONS
        )
    if isinstance(then, list | tuple):
        return len(now) == len(then) and all(_agrees(*pair) for pair in zip(now, then, strict=True))
    if isinstance(then, float) and isinstance(now, float):
        return isclose(now, then, rel_tol=ROUNDING)
    return bool(now == then)
