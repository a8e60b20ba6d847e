"""A person's answer to a canary that asks: given from another terminal, kept as a file of the run.

The kernel alone writes the journal; it asks there, and takes the answer from ``answer.json``. Both sides hold a
lock on the run's folder meanwhile, so that an answer that was accepted is heard, and a question has one answer.
"""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

from opslib.errors import AnswerError, RecordError
from opslib.evidence.run.files import ANSWER, JOURNAL
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.provenance import find_executor
from opslib.evidence.run.record import read_record, write_atomically
from opslib.evidence.run.run_lock import is_held

Choice = Literal["promote", "rollback", "extend"]
CHOICES: tuple[Choice, ...] = ("promote", "rollback", "extend")

_AFTER_A_QUESTION = frozenset(
    {
        JournalEvent.ANSWERED,
        JournalEvent.UNANSWERED,
        JournalEvent.UNDOING,
        JournalEvent.ROLLOUT,
        JournalEvent.RAISED,
        JournalEvent.FINISHED,
    }
)
"""Events by which a question is over."""

PATIENCE_S = 2.0
"""Longest wait for somebody else's lock: a run that waited for a process that was stopped would watch nothing."""


@dataclass(frozen=True)
class DecisionRequest:
    """What a run asks: since when (that names the question), why, and until when an answer is waited for [UTC]."""

    asked_at: str
    why: str
    until: datetime


@dataclass(frozen=True)
class OperatorDecision:
    """What a person answered, and to which question: `who` by their own word, `user` by the machine's [UTC]."""

    question: str
    choice: Choice
    reason: str
    who: str
    user: str
    at: str


def command(folder: Path, choice: Choice) -> str:
    """What a person types to answer, in any folder of this machine."""
    return f'opslib answer {shlex.quote(str(folder))} {choice} --reason "..."'


def give_answer(folder: Path, choice: Choice, reason: str, who: str = "") -> OperatorDecision:
    """OperatorDecision a run that asks.

    Parameters
    ----------
    folder
        The run's folder.
    choice
        ``promote`` goes on to the next planned stage (from the last one: ends well), ``rollback`` gives the traffic
        back, ``extend`` watches the same stage for another bake.
    reason
        Why; it stands in the evidence.
    who
        Who answers; by default the user of the machine.

    Raises
    ------
    AnswerError
        If no reason is given, or the run is over, does not ask, was answered already or is just being answered.
    RecordError
        If the folder holds no run, or cannot be written.
    """
    if not reason.strip():
        raise AnswerError('an answer needs a reason, since it stands in the evidence: --reason "..."')
    user = find_executor()["user"]
    with _alone(folder) as alone:
        if not alone:
            raise AnswerError(f"{folder.name} is being answered by another process; try again when that has ended")
        question = _find_question(folder)
        given = read_answer(folder)
        if given is not None and given.question == question:
            raise AnswerError(
                f"{folder.name} was answered already: {given.choice}, by {given.who} at {given.at} ({given.reason})"
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        answer = OperatorDecision(question, choice, reason.strip(), who.strip() or user, user, now)
        write_atomically(folder / ANSWER, json.dumps(asdict(answer), indent=2, ensure_ascii=False) + "\n")
    return answer


def take_answer(folder: Path, journal: Journal, question: DecisionRequest, over: str) -> OperatorDecision | None:
    """Take the answer to a question, if there is one; else end it where `over` says why. Journals either.

    An answer that is being written and does not come to its end is not waited for: nobody would watch meanwhile.
    """
    with _alone(folder) as alone:
        answer = read_answer(folder) if alone else None
        if answer is not None and answer.question == question.asked_at:
            journal.write(JournalEvent.ANSWERED, answer)
            return answer
        if over:
            journal.write(JournalEvent.UNANSWERED, {"question": question.asked_at, "why": over})
    return None


def read_answer(folder: Path) -> OperatorDecision | None:
    """The last answer that a run was given; None where there is none.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    path = folder / ANSWER
    try:
        answer = OperatorDecision(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{path} is no answer: {error}") from error
    if answer.choice not in CHOICES:
        raise RecordError(f"{path} is no answer: expected one of {', '.join(CHOICES)}, got {answer.choice!r}")
    return answer


def _find_question(folder: Path) -> str:
    """The question that a run asks now."""
    record, name = read_record(folder), folder.name
    if record.outcome is not None:
        raise AnswerError(f"{name} is over ({record.outcome}: {record.reason}): nothing is asked any more")
    if not is_held(folder):
        raise AnswerError(f"{name} is over: its process died. opslib recover gives back what it left")
    path = folder / JOURNAL
    events = list(read_journal(path)) if path.exists() else []
    told = [event for event in events if event["event"] in {JournalEvent.ASKED, *_AFTER_A_QUESTION}]
    if not told or told[-1]["event"] != JournalEvent.ASKED:
        raise AnswerError(f"{name} does not ask anything now: only a canary with on_hold=ask does, once it holds")
    return str(told[-1]["data"]["asked_at"])


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep others from asking and answering in a run meanwhile; False where somebody else does, for too long."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, monotonic() + PATIENCE_S)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, until_s: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until_s:
                return False
            sleep(0.02)
        else:
            return True
