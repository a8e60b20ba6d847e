"""A person's decision about an undecided canary: given from another terminal, kept as a file of the run.

Only the kernel writes the journal: it writes the request there and reads the answer from ``answer.json``. Both
sides lock the run's folder while they do, so that an accepted answer is taken and a request has one answer.
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

_CLOSES_REQUEST = frozenset(
    {
        JournalEvent.ANSWERED,
        JournalEvent.UNANSWERED,
        JournalEvent.UNDOING,
        JournalEvent.ROLLOUT,
        JournalEvent.RAISED,
        JournalEvent.FINISHED,
    }
)

LOCK_TIMEOUT_S = 2.0
"""Longest wait for another process's lock: a run that waits for a stopped process watches nothing [seconds]."""


@dataclass(frozen=True)
class DecisionRequest:
    """A run's request for a decision: when it was made (its identity), why, and its deadline [UTC]."""

    asked_at: str
    why: str
    until: datetime


@dataclass(frozen=True)
class OperatorDecision:
    """A person's decision and the request that it answers; `who` as given, `user` of the machine [UTC]."""

    question: str
    choice: Choice
    reason: str
    who: str
    user: str
    at: str


def command(folder: Path, choice: Choice) -> str:
    """Return the command that answers, from any folder of this machine."""
    return f'opslib answer {shlex.quote(str(folder))} {choice} --reason "..."'


def give_answer(folder: Path, choice: Choice, reason: str, who: str = "") -> OperatorDecision:
    """Answer a run that waits for a decision.

    Parameters
    ----------
    folder
        The run's folder.
    choice
        ``promote`` continues with the next planned stage (after the last one, the run succeeds), ``rollback``
        restores the traffic, ``extend`` watches the same stage for another bake.
    reason
        Why; it becomes part of the evidence.
    who
        The person who decides; by default the user of the machine.

    Raises
    ------
    AnswerError
        If no reason is given, or the run has ended, waits for no answer, or has or is getting another one.
    RecordError
        If the folder holds no run, or cannot be written.
    """
    if not reason.strip():
        raise AnswerError('an answer needs a reason, which becomes part of the evidence: --reason "..."')
    user = find_executor()["user"]
    with _exclusive(folder) as exclusive:
        if not exclusive:
            raise AnswerError(f"{folder.name} is being answered by another process; try again when that has ended")
        request = _open_request(folder)
        given = read_answer(folder)
        if given is not None and given.question == request:
            raise AnswerError(
                f"{folder.name} was answered already: {given.choice}, by {given.who} at {given.at} ({given.reason})"
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        answer = OperatorDecision(request, choice, reason.strip(), who.strip() or user, user, now)
        write_atomically(folder / ANSWER, json.dumps(asdict(answer), indent=2, ensure_ascii=False) + "\n")
    return answer


def take_answer(journal: Journal, request: DecisionRequest, over: str) -> OperatorDecision | None:
    """Take the answer to a request, if there is one; else close the request if `over` gives a reason.

    Either is written to the journal. An answer that is still being written is left for the next look: the watch
    does not stop for it.
    """
    folder = journal.path.parent
    with _exclusive(folder) as exclusive:
        answer = read_answer(folder) if exclusive else None
        if answer is not None and answer.question == request.asked_at:
            journal.write(JournalEvent.ANSWERED, answer)
            return answer
        if over:
            journal.write(JournalEvent.UNANSWERED, {"question": request.asked_at, "why": over})
    return None


def read_answer(folder: Path) -> OperatorDecision | None:
    """Read the last answer that a run was given; None where there is none.

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
        raise RecordError(f"{path} is not a valid answer file: {error}") from error
    if answer.choice not in CHOICES:
        raise RecordError(
            f"{path} is not a valid answer file: expected one of {', '.join(CHOICES)}, got {answer.choice!r}"
        )
    return answer


def _open_request(folder: Path) -> str:
    """Return the identity of the request that is open now."""
    record, name = read_record(folder), folder.name
    if record.outcome is not None:
        raise AnswerError(f"{name} has ended ({record.outcome}: {record.reason}): it takes no answer")
    if not is_held(folder):
        raise AnswerError(f"{name} has ended: its process died. `opslib recover` restores the traffic that it left")
    path = folder / JOURNAL
    events = list(read_journal(path)) if path.exists() else []
    relevant = [event for event in events if event["event"] in {JournalEvent.ASKED, *_CLOSES_REQUEST}]
    if not relevant or relevant[-1]["event"] != JournalEvent.ASKED:
        raise AnswerError(
            f"{name} waits for no answer now: only a canary with on_hold=ask does, while a stage is undecided"
        )
    return str(relevant[-1]["data"]["asked_at"])


@contextmanager
def _exclusive(folder: Path) -> Iterator[bool]:
    """Hold the lock for requests and answers of a run; False where another process keeps it for too long."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, monotonic() + LOCK_TIMEOUT_S)
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
