"""A canary that is undecided when its bake is over: extended, a smaller step, a person's decision, or undone."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from awaiting import wait_until
from prepared_opslib import start_opslib
from runbook_world import QUICK_CANARY, Background, journal

from opslib.cli.main import main
from opslib.errors import AnswerError
from opslib.evidence.present.summary import summarize
from opslib.evidence.run.record import read_record
from opslib.evidence.run.run_lock import is_held
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.canary.operator_decision import give_answer
from opslib.runbooks.canary.rejudge import judge_again
from opslib.runbooks.lease.tags import read_lease

SHORT = QUICK_CANARY | {"max_bake_s": 6, "stages": [20, 100], "latency_mode": "observe"}
UNPROVABLE = SHORT | {"bake_s": 3, "max_bake_s": 3, "max_failure_rate": 0.002}
"""Some seconds of traffic cannot show so few failures; preflight does not know that where clients come later."""
UNSEEN = SHORT | {"bake_s": 1, "max_bake_s": 1, "late_data_s": 1, "on_hold": "ask", "answer_s": 60}
"""Without clients there is no data, so that it requests a decision at once."""


def weights(folder):
    """The canary's weight at each traffic step that was applied."""
    return [step["after"].get("green", 0) for step in journal(folder, "applying")]


def decisions(folder):
    return [json.loads(line)["decision"] for line in (folder / "decisions.jsonl").read_text().splitlines()]


def assert_judged_again(folder):
    looks = list(judge_again(folder))
    assert looks
    assert all(look.same for look in looks)


def test_extend_goes_on_for_as_long_again_once(make_world):
    """Then it is held, and the traffic is back."""
    world = make_world(green={})
    run = Background(world, **UNPROVABLE, on_hold="extend")
    with world.clients(after=run.await_traffic):
        folder, record = run.result()
    assert record.outcome is Outcome.HELD, record.reason
    said = [text for text in journal(folder, "progress") if "for as long again, once" in text]
    assert len(said) == 1
    assert said[0].startswith("bake extended to 6 s in all")
    (rollout,) = journal(folder, "rollout")
    assert rollout["stages"][0]["bake_s"] == 6
    assert world.read().traffic == {"blue": 100}
    assert_judged_again(folder)


def test_a_smaller_step_brings_the_traffic_that_decides(make_world):
    """What 20 % cannot prove in time 60 % does: then it goes on as planned, with the evidence of before."""
    world = make_world(green={})
    run = Background(world, **(SHORT | {"max_failure_rate": 0.03, "on_hold": "smaller step"}))
    with world.clients(rps=40, after=run.await_traffic):
        folder, record = run.result()
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert weights(folder) == [20, 60, 100]
    assert world.read().traffic == {"green": 100}
    assert "smaller step" in decisions(folder)
    assert_judged_again(folder)


def test_a_smaller_step_that_holds_again_gives_the_traffic_back(make_world):
    """There is one for each planned stage; the undo knows the state that was not planned."""
    world = make_world(green={})
    run = Background(world, **(UNPROVABLE | {"bake_s": 6, "max_bake_s": 6}), on_hold="smaller step")
    with world.clients(rps=40, after=run.await_traffic):
        folder, record = run.result()
    assert record.outcome is Outcome.HELD, record.reason
    assert record.reason.startswith("at 60 % of traffic: Hold")
    assert weights(folder) == [20, 60]
    (receipt,) = journal(folder, "undone")
    assert receipt["changed"]
    assert world.read().traffic == {"blue": 100}


def test_a_person_promotes_what_the_judge_left_undecided(make_world, capsys):
    """From another terminal, with a reason; the record has the person, the decision log the judge's verdict."""
    world = make_world(green={})
    run = Background(world, **(UNPROVABLE | {"on_hold": "ask", "stages": [50, 100]}))
    with world.clients(after=run.await_traffic):
        for number in (1, 2):
            run.await_question(number)
            words = ["answer", run.folder.name, "promote", "--reason", "checked by hand", "--who", "oncall"]
            assert main([*words, "--runs", str(world.runs)]) == 0
            assert main([*words, "--runs", str(world.runs)]) == 2
        folder, record = run.result()
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert record.reason.startswith(
        "green takes all traffic. At 50 % of traffic: promoted by oncall although undecided"
    )
    assert record.reason.count("promoted by oncall although undecided: checked by hand. Hold: ") == 2
    assert world.read().traffic == {"green": 100}
    asking = next(text for text in journal(folder, "progress") if text.startswith("undecided"))
    assert f'opslib answer {folder} promote --reason "..."' in asking
    assert [d for d in decisions(folder) if d not in {"continue", "clear"}] == [
        *(["hold", "ask", "promote"] * 2),
        "succeeded",
    ]
    assert {"gate": "a person's answer", "result": "promote"}.items() <= record.gates[-1].items()
    assert "promoted by oncall although undecided" in (folder / "report.html").read_text()
    assert "oncall answered promote: checked by hand" in summarize(folder)
    assert json.loads((folder / "answer.json").read_text())["reason"] == "checked by hand"
    assert verify(folder, None, None).state.exit_code == 0
    assert_judged_again(folder)
    with pytest.raises(AnswerError, match="has ended"):
        give_answer(folder, "rollback", "too late")
    refused = capsys.readouterr().err
    assert refused.count("answered already") + refused.count("waits for no answer now") == 2


def test_a_person_extends_and_then_rolls_back(make_world):
    """Each question is answered for itself; what a person gives back counts as rolled back."""
    world = make_world(green={})
    run = Background(world, **UNSEEN)
    run.await_question()
    give_answer(run.folder, "extend", "clients come soon", who="oncall")
    run.await_question(2)
    assert world.read().traffic == {"blue": 80, "green": 20}
    give_answer(run.folder, "rollback", "no clients came", who="owner")
    _, record = run.result()
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert "rolled back by owner although undecided: no clients came" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_no_answer_comes_in_time(make_world):
    """The traffic is restored, and the run held."""
    world = make_world(green={})
    folder, record = world.run("canary", canary="green", **(UNSEEN | {"answer_s": 2}))
    assert record.outcome is Outcome.HELD, record.reason
    assert "no answer by" in record.reason
    assert len(journal(folder, "unanswered")) == 1
    assert world.read().traffic == {"blue": 100}


def test_harm_that_is_found_while_a_person_is_asked_rolls_back_at_once(make_world):
    """No answer is needed for that."""
    world = make_world(green={"FRAGILE": "1"})
    run = Background(world, **(UNSEEN | {"stages": [50, 100], "max_failure_rate": 0.03}))
    with world.clients(rps=40, after=run.await_question):
        folder, record = run.result()
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert "fail" in record.reason
    assert [one["why"] for one in journal(folder, "unanswered")] == ["decided meanwhile: rollback"]
    assert world.read().traffic == {"blue": 100}
    assert_judged_again(folder)


def test_a_proof_that_comes_in_while_a_person_is_asked_promotes(make_world):
    """The planned looks are taken; no answer is needed."""
    world = make_world(green={})
    run = Background(world, **(UNSEEN | {"stages": [50, 100], "bake_s": 6, "max_bake_s": 6}))
    with world.clients(after=run.await_question):
        folder, record = run.result()
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert [one["why"] for one in journal(folder, "unanswered")] == ["decided meanwhile: promote"]
    assert not journal(folder, "answered")
    assert_judged_again(folder)


def test_a_run_that_is_killed_while_it_asks_leaves_no_canary_behind(make_world, receiver, monkeypatch):
    """Its lease was renewed while it waited; runner and kernel die, the guardian restores the traffic."""
    world = make_world(green={})
    monkeypatch.setenv("HOOK", receiver.url)
    policy = world.policy(notifications=[{"to": "env:HOOK"}])
    given = UNSEEN | {"endpoint": world.name, "canary": "green", "lease_s": 6, "policy": policy}
    words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    run = start_opslib("run", "canary", "--runs", str(world.runs), *words, folder=world.folder)
    folder = wait_until(lambda: next((p.parent for p in world.runs.glob("*/*/journal.jsonl")), None))
    (question,) = wait_until(lambda: journal(folder, "asked"))
    asked_at = datetime.fromisoformat(question["asked_at"])
    wait_until(lambda: datetime.now(UTC) > asked_at + timedelta(seconds=6))
    assert not read_lease(world.read().tags).expired(datetime.now(UTC))
    (request,) = wait_until(lambda: receiver.bodies)
    assert request["data"]["commands"][0] == f'opslib answer {folder.name} promote --reason "..."'
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: (record := read_record(folder)).outcome is not None and not is_held(folder) and record)
    assert read_record(folder).outcome is Outcome.ABORTED
    assert receiver.events() == ["decision_requested", "rolled_back"]
    assert [one["delivered"] for one in read_record(folder).notifications] == [True, True]
    endpoint = world.read()
    assert endpoint.traffic == {"blue": 100}
    assert read_lease(endpoint.tags) is None
    with pytest.raises(AnswerError, match="has ended"):
        give_answer(folder, "promote", "too late")
