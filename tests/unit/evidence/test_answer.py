"""An operator's decision: taken once for each request, by a run that waits for one, with a reason."""

import fcntl
import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from evidence_fixture import make_run, open_run

from opslib.errors import AnswerError, RecordError
from opslib.evidence.run.files import ANSWER
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import write_record
from opslib.evidence.run.run_lock import release
from opslib.model import Outcome
from opslib.runbooks.canary import operator_decision
from opslib.runbooks.canary.operator_decision import DecisionRequest, give_answer, read_answer, take_answer


@pytest.fixture
def run(tmp_path):
    """A run under way: its folder and its record."""
    folder, record = open_run(tmp_path / "runs")
    yield folder, record
    release(folder)


def ask(folder, seconds=0.0):
    question = DecisionRequest(
        f"2026-01-01T00:00:{seconds:06.3f}+00:00", "not proven", datetime.now(UTC) + timedelta(hours=1)
    )
    Journal(folder).write(JournalEvent.ASKED, question)
    return question


def test_an_answer_is_taken_and_journaled(run):
    """It contains choice, reason, person and time; the kernel takes it once."""
    folder, _ = run
    question = ask(folder)
    assert take_answer(Journal(folder), question, "") is None
    given = give_answer(folder, "promote", "  checked by hand ", who="oncall")
    assert (given.choice, given.reason, given.who) == ("promote", "checked by hand", "oncall")
    assert given.user
    assert take_answer(Journal(folder), question, "") == given == read_answer(folder)
    last = list(read_journal(folder / "journal.jsonl"))[-1]
    assert last["event"] == "answered"
    assert last["data"]["who"] == "oncall"


def test_a_question_has_one_answer_and_the_next_one_its_own(run):
    """A second answer is refused, before it was heard and after; the next question takes one again."""
    folder, _ = run
    question = ask(folder)
    give_answer(folder, "extend", "let it bake", who="oncall")
    with pytest.raises(AnswerError, match="answered already: extend, by oncall"):
        give_answer(folder, "promote", "in a hurry")
    take_answer(Journal(folder), question, "")
    with pytest.raises(AnswerError, match="waits for no answer now"):
        give_answer(folder, "promote", "in a hurry")
    other = ask(folder, 1.0)
    assert take_answer(Journal(folder), other, "") is None
    give_answer(folder, "rollback", "enough")
    assert take_answer(Journal(folder), other, "").choice == "rollback"


def test_an_answer_that_is_never_finished_is_not_waited_for(run, monkeypatch):
    """A terminal is stopped while it answers: the run continues to watch, and closes its request itself."""
    folder, _ = run
    question = ask(folder)
    monkeypatch.setattr(operator_decision, "LOCK_TIMEOUT_S", 0.05)
    stopped = os.open(folder, os.O_RDONLY)
    fcntl.flock(stopped, fcntl.LOCK_EX)
    try:
        assert take_answer(Journal(folder), question, "") is None
        assert take_answer(Journal(folder), question, "no answer") is None
        with pytest.raises(AnswerError, match="is being answered by another process"):
            give_answer(folder, "promote", "checked")
    finally:
        os.close(stopped)
    assert list(read_journal(folder / "journal.jsonl"))[-1]["event"] == "unanswered"


def test_of_many_who_answer_at_once_one_is_heard(run):
    """The others are errors."""
    folder, _ = run
    ask(folder)
    taken, refused = [], []

    def give(who):
        try:
            taken.append(give_answer(folder, "promote", "mine", who=who))
        except AnswerError as error:
            refused.append(error)

    threads = [threading.Thread(target=give, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 7)
    assert read_answer(folder) == taken[0]


def test_an_answer_without_reason_is_refused(run):
    """It is in the evidence."""
    folder, _ = run
    ask(folder)
    with pytest.raises(AnswerError, match="needs a reason"):
        give_answer(folder, "promote", " ")
    assert not (folder / ANSWER).exists()


def test_a_run_that_does_not_ask_takes_no_answer(run):
    """Not without a request, not after its end, and not while the run restores its traffic."""
    folder, _ = run
    with pytest.raises(AnswerError, match="waits for no answer now"):
        give_answer(folder, "promote", "why not")
    take_answer(Journal(folder), ask(folder), "no answer within 1 s")
    with pytest.raises(AnswerError, match="waits for no answer now"):
        give_answer(folder, "promote", "too late")
    ask(folder, 1.0)
    Journal(folder).write(JournalEvent.UNDOING, {})
    with pytest.raises(AnswerError, match="waits for no answer now"):
        give_answer(folder, "promote", "too late")


def test_a_run_that_is_over_takes_no_answer(run, tmp_path):
    """Ended, sealed, or left by a process that died while it waited."""
    folder, record = run
    ask(folder)
    write_record(folder, record.ended(Outcome.HELD, "not decided"))
    with pytest.raises(AnswerError, match=r"has ended \(held: not decided\)"):
        give_answer(folder, "promote", "too late")
    with pytest.raises(AnswerError, match="has ended"):
        give_answer(make_run(tmp_path / "others"), "promote", "too late")
    write_record(folder, replace(record))
    release(folder)
    with pytest.raises(AnswerError, match="its process died"):
        give_answer(folder, "promote", "too late")


def test_a_file_that_is_no_answer_is_refused(run):
    """An answer written by hand that is invalid is an error that shows what is wrong."""
    folder, _ = run
    (folder / ANSWER).write_text(json.dumps({"choice": "promote"}))
    with pytest.raises(RecordError, match="is not a valid answer file"):
        read_answer(folder)
    fields = {"question": "", "choice": "ship it", "reason": "r", "who": "w", "user": "u", "at": ""}
    (folder / ANSWER).write_text(json.dumps(fields))
    with pytest.raises(RecordError, match="expected one of promote, rollback, extend, got 'ship it'"):
        read_answer(folder)
