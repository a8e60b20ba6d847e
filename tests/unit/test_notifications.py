"""Notices: when one is due, in which form it is sent, and that nothing a receiver does reaches the run."""

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import pytest
from awaiting import wait_until
from pydantic import ValidationError

from opslib.azure import webhook
from opslib.azure.webhook import post
from opslib.cli.main import main
from opslib.errors import ApplyError
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import Record
from opslib.model import Level, Outcome, Scope
from opslib.notify.forms import REASON_LIMIT, cloud_event, slack_message, teams_message, write_body
from opslib.notify.notice import Notice, ServedCount
from opslib.policy.policy import Notification, Policy
from opslib.redaction.redact import redact
from opslib.runbooks.notices import RunAbout, Seen, notice_of, notice_of_end
from opslib.runbooks.notifier import Notifier, notify_end, notify_recovery
from opslib.runbooks.steps.policy_preflight import check_notifications

ABOUT = RunAbout("run-7", "canary", "fraud", "/w/onlineEndpoints/fraud", dry_run=False)
NOTICE = Notice(
    "rolled_back",
    "run-7/12/rolled_back",
    "2026-11-02T09:00:00.000+00:00",
    "/w/onlineEndpoints/fraud",
    "fraud",
    "canary",
    "run-7",
    "Rolled back: failures. 5 of 73 canary requests failed <b>&",
    (ServedCount("blue", 0, 705), ServedCount("green", 5, 73)),
    ("opslib runs show run-7",),
)
APPROVALS = {"check": "approvals", "level": "blocker", "evidence": "0 of 2 approvals"}
STATE = {"check": "endpoint state", "level": "blocker", "evidence": "it is Updating"}


def event(kind, data, seq=3):
    return {"seq": seq, "at": "2026-11-02T09:00:00.000+00:00", "event": str(kind), "data": data}


def ended(outcome, reason="why"):
    return {"outcome": str(outcome), "reason": reason}


def due(*events, **about):
    """The notice that the last of these events is due."""
    seen = Seen()
    for each in events:
        seen = seen.then(each)
    return notice_of(events[-1], seen, replace(ABOUT, **about))


def preflight(*findings):
    return event(JournalEvent.PREFLIGHT, list(findings), seq=2)


@pytest.mark.parametrize(
    ("events", "about", "name"),
    [
        ([event(JournalEvent.ROLLOUT, ended(Outcome.SUCCEEDED))], {}, "promoted"),
        ([event(JournalEvent.ROLLOUT, ended(Outcome.ROLLED_BACK))], {}, "rolled_back"),
        ([event(JournalEvent.ROLLOUT, ended(Outcome.HELD))], {}, "held"),
        ([event(JournalEvent.ROLLOUT, ended(Outcome.ROLLED_BACK))], {"dry_run": True}, None),
        ([event(JournalEvent.SCALED, ended(Outcome.ROLLED_BACK))], {"runbook": "scale"}, "rolled_back"),
        ([event(JournalEvent.SCALED, ended(Outcome.SUCCEEDED))], {"runbook": "scale"}, None),
        ([event(JournalEvent.ROLLED_BACK, ended(Outcome.SUCCEEDED))], {"runbook": "rollback"}, "rolled_back"),
        ([event(JournalEvent.ROLLED_BACK, ended(Outcome.HELD))], {"runbook": "rollback"}, "held"),
        ([event(JournalEvent.UNDO_FAILED, {"message": "Azure refuses"})], {}, "undo_failed"),
        ([event(JournalEvent.UNDONE, {})], {}, None),
        ([event(JournalEvent.FINISHED, ended(Outcome.SUCCEEDED))], {"runbook": "sweep"}, "lease_recovered"),
        ([event(JournalEvent.FINISHED, ended(Outcome.HELD))], {"runbook": "sweep"}, "held"),
        ([event(JournalEvent.FINISHED, ended(Outcome.FAILED))], {"runbook": "sweep"}, "undo_failed"),
        ([event(JournalEvent.FINISHED, ended(Outcome.SUCCEEDED))], {}, None),
        ([preflight(APPROVALS), event(JournalEvent.RAISED, ended(Outcome.REFUSED))], {}, "approval_needed"),
        ([preflight(APPROVALS, STATE), event(JournalEvent.RAISED, ended(Outcome.REFUSED))], {}, None),
        ([preflight(STATE), event(JournalEvent.RAISED, ended(Outcome.REFUSED))], {}, None),
        ([preflight(APPROVALS), event(JournalEvent.RAISED, ended(Outcome.FAILED))], {}, None),
        (
            [preflight(APPROVALS | {"level": "warning"}), event(JournalEvent.FINISHED, ended(Outcome.PLANNED))],
            {"dry_run": True},
            "approval_needed",
        ),
        (
            [preflight(APPROVALS | {"level": "ok"}), event(JournalEvent.FINISHED, ended(Outcome.PLANNED))],
            {"dry_run": True},
            None,
        ),
    ],
)
def test_when_a_notice_is_due(events, about, name):
    """Each event that people are notified of, and its neighbours that they are not."""
    found = due(*events, **about)
    assert (found.event if found else None) == name


def test_a_request_for_a_decision_has_what_a_person_can_type():
    """The deadline, the last look with its numbers, and the three commands."""
    look = event(
        JournalEvent.LOOK,
        {
            "verdict": {"decision": "hold", "reason": "Hold: failures. 1 of 40 canary requests failed."},
            "details": {
                "log_evidence": 0.1,
                "log_threshold": 3.0,
                "lines": [{"source": "log", "metrics": [count("failures", 1, 40, 0, 41)]}],
            },
        },
    )
    plan = event(
        JournalEvent.PLAN,
        {"before": {"traffic": {"blue": 100}}, "steps": [{"bake_s": 6, "after": {"blue": 90, "green": 10}}]},
    )
    asked = event(JournalEvent.ASKED, {"asked_at": "x", "why": "too few requests", "until": "2026-11-02T10:00Z"})
    found = due(plan, look, asked)
    assert found.event == "decision_requested"
    assert found.reason == (
        "too few requests. Waits until 2026-11-02T10:00Z. Hold: failures. 1 of 40 canary requests failed."
    )
    assert found.commands[0] == 'opslib answer run-7 promote --reason "..."'
    assert found.counts == (ServedCount("blue", 0, 41), ServedCount("green", 1, 40))
    promoted = due(plan, event(JournalEvent.ROLLOUT, ended(Outcome.SUCCEEDED)))
    assert "opslib run rollback -p endpoint=fraud -p to=blue" in promoted.commands


def count(name, bad, requests, stable_bad, stable_requests):
    return {
        "name": name,
        "canary_bad": bad,
        "canary_n": requests,
        "stable_bad": stable_bad,
        "stable_n": stable_requests,
    }


def record(outcome=None, folder="run-7", **parameters):
    begun = datetime(2026, 11, 2, 9, tzinfo=UTC)
    scope = Scope("s", "g", "w", "https://127.0.0.1")
    made = Record(folder, "canary", "fraud", parameters, begun, scope=scope)
    return made.ended(outcome, "why") if outcome else made


@pytest.mark.parametrize(
    ("outcome", "kinds", "name"),
    [
        (Outcome.ABORTED, (JournalEvent.APPLYING, JournalEvent.UNDONE), "rolled_back"),
        (Outcome.FAILED, (JournalEvent.APPLYING,), "failed"),
        (Outcome.FAILED, (), None),
        (Outcome.ROLLED_BACK, (JournalEvent.APPLYING, JournalEvent.UNDONE), None),
    ],
)
def test_a_run_that_broke_off(outcome, kinds, name):
    """It is notified of once its change had begun; what ends as planned has its own event."""
    seen = Seen()
    for kind in kinds:
        seen = seen.then(event(kind, {}))
    found = notice_of_end(record(outcome), seen)
    assert (found.event if found else None) == name


def test_a_cloud_event_has_every_required_attribute():
    """Structured mode: the attributes beside the data, and an id that is the same when it is sent again."""
    found = cloud_event(NOTICE)
    assert {name: found[name] for name in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": "run-7/12/rolled_back",
        "source": "/w/onlineEndpoints/fraud",
        "type": "opslib.run.rolled_back",
        "subject": "run-7",
    }
    assert found["data"]["counts"][1] == {"deployment": "green", "failed": 5, "requests": 73}
    assert found["data"]["commands"] == ["opslib runs show run-7"]
    assert datetime.fromisoformat(found["time"]).tzinfo is not None
    assert write_body(NOTICE, "cloudevents").content_type == "application/cloudevents+json; charset=utf-8"


def test_a_card_for_teams_is_short_enough_for_teams():
    """Teams refuses messages of over 28 KB; a failed deployment's reason ends with its log."""
    body = write_body(replace(NOTICE, reason="a line of the log\n" * 4000), "teams").content
    assert len(body.encode()) < 28_000


def test_a_card_for_teams_and_blocks_for_slack():
    """Both show heading, reason, k of n and commands; Slack's markup is escaped and its limits are kept."""
    teams, slack = teams_message(NOTICE), slack_message(NOTICE)
    (attachment,) = teams["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["body"][0]["text"] == "Rolled back: canary of fraud"
    for shown in (json.dumps(teams), json.dumps(slack)):
        assert "green: 5 of 73 requests failed" in shown
        assert "opslib runs show run-7" in shown
    assert "failed &lt;b&gt;&amp;" in slack["text"]
    long = slack_message(replace(NOTICE, reason="x" * 9000, endpoint="e" * 200))
    assert len(long["blocks"][0]["text"]["text"]) == 150
    assert len(long["blocks"][1]["text"]["text"]) == REASON_LIMIT
    urgent = teams_message(replace(NOTICE, event="undo_failed"))["attachments"][0]["content"]
    assert urgent["body"][0]["color"] == "Attention"


@pytest.fixture
def impatient(monkeypatch):
    """Shorter pauses between the attempts."""
    monkeypatch.setattr(webhook, "PAUSES_S", (0.01, 0.01))


@pytest.fixture
def closed_url():
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/hook-of-a-channel"


def sent(monkeypatch, url):
    monkeypatch.setenv("HOOK", url)
    return post("env:HOOK", "application/json", b"{}")


@pytest.mark.parametrize(
    ("path", "statuses", "delivered", "status", "attempts", "problem"),
    [
        ("", [], True, 202, 1, ""),
        ("", [500, 503], True, 202, 3, ""),
        ("/500", [], False, 500, 3, "it answered 500"),
        ("/404", [], False, 404, 1, "it answered 404"),
        ("/302", [], False, 302, 1, "it answered 302"),
        ("/hang", [], False, None, 3, "ReadTimeout"),
    ],
)
def test_what_a_receiver_can_do(
    receiver, impatient, monkeypatch, path, statuses, delivered, status, attempts, problem
):
    """Server errors and silence are tried again, a bounded number of times; a refusal and a redirect are not."""
    receiver.statuses += statuses
    if path == "/hang":
        monkeypatch.setattr(webhook, "TIMEOUT_S", 0.3)
    found = sent(monkeypatch, f"{receiver.url}{path}")
    assert (found.delivered, found.status, found.attempts) == (delivered, status, attempts)
    assert found.problem.startswith(problem)
    wait_until(lambda: len(receiver.got) == attempts)


def test_a_receiver_that_is_not_there_and_an_address_that_is_none(impatient, closed_url, monkeypatch):
    """A refused connection, a variable that is not set, and an address without TLS are problems, not errors."""
    assert "ConnectError" in sent(monkeypatch, closed_url).problem
    assert "not the https:// URL" in sent(monkeypatch, "http://hooks.example/services/T0").problem
    assert "HOOK2 is not set" in post("env:HOOK2", "application/json", b"{}").problem


def test_the_address_is_a_secret(receiver, monkeypatch):
    """From the first use on it is masked, with and without its host."""
    sent(monkeypatch, receiver.url)
    path = receiver.url.rpartition("127.0.0.1")[2].partition("/")[2]
    assert "secret-path" not in redact(f"posted to {receiver.url} and to /{path}")


@pytest.fixture
def run(tmp_path, receiver, monkeypatch):
    """A run's journal whose notices go to the receiver."""

    def begin(*receivers, **variables):
        for name, url in variables.items():
            monkeypatch.setenv(name, url)
        wanted = [Notification.model_validate(one) for one in receivers]

        def follow(each):
            notifier.follow(each)

        journal = Journal(tmp_path, follow)
        notifier = Notifier(journal, wanted, ABOUT)
        return journal, notifier

    return begin


def notified(folder):
    """What the journal has of deliveries."""
    return [one["data"] for one in read_journal(folder / "journal.jsonl") if one["event"] == "notified"]


def test_a_receiver_that_hangs_holds_up_nothing(run, receiver, impatient, tmp_path):
    """The event is on disk and the run goes on at once; what became of each notice is journaled later."""
    journal, notifier = run(
        {"to": "env:GOOD"}, {"to": "env:SLOW", "form": "teams"}, GOOD=receiver.url, SLOW=f"{receiver.url}/hang"
    )
    begun_s = monotonic()
    journal.write(JournalEvent.ROLLOUT, ended(Outcome.ROLLED_BACK))
    assert monotonic() - begun_s < 4.0  # of the 5 s that it waits for an answer
    assert notified(tmp_path) == []
    wait_until(lambda: len(receiver.got) == 2)
    receiver.closing.set()
    notifier.settle()
    found = {one["to"]: one for one in notified(tmp_path)}
    assert (found["env:GOOD"]["delivered"], found["env:SLOW"]["delivered"]) == (True, False)
    assert found["env:GOOD"]["id"] == "run-7/1/rolled_back"
    shown = [one["data"] for one in read_journal(journal.path) if one["event"] == "progress"]
    assert shown[0].startswith("could not notify env:SLOW of rolled_back: RemoteProtocolError")


def test_what_settles_meanwhile_is_journaled_with_the_next_event(run, receiver, tmp_path):
    """A run that asks and then waits for hours has the delivery in its journal within a look."""
    journal, notifier = run({"to": "env:GOOD", "events": ["decision_requested"]}, GOOD=receiver.url)
    journal.write(JournalEvent.ASKED, {"asked_at": "x", "why": "few", "until": "2026-11-02T10:00Z"})

    def looked():
        journal.write(JournalEvent.PROGRESS, "watching")
        return notified(tmp_path)

    assert wait_until(looked)[0]["event"] == "decision_requested"
    journal.write(JournalEvent.ROLLOUT, ended(Outcome.HELD))
    notifier.settle()
    assert receiver.events() == ["decision_requested"]


def test_no_error_of_a_notice_reaches_the_run(run, monkeypatch, tmp_path):
    """Not where its form cannot be written, nor where no thread can be started."""
    journal, notifier = run({"to": "env:GOOD"}, GOOD="http://127.0.0.1:1/hook-of-a-channel")
    with monkeypatch.context() as patch:
        patch.setattr("opslib.runbooks.notifier.write_body", lambda *_: 1 / 0)
        journal.write(JournalEvent.ROLLOUT, ended(Outcome.HELD))
        notifier.settle()
    assert notified(tmp_path)[0]["problem"] == "ZeroDivisionError: division by zero"
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", lambda _: 1 / 0)
        journal.write(JournalEvent.ROLLOUT, ended(Outcome.HELD))
        notifier.settle()


def test_what_a_dead_process_did_not_send_is_sent_once(run, receiver, tmp_path):
    """Whatever ends the run sends what the journal has no delivery of, and the notice of the end."""
    policy = tmp_path / "policy.yml"
    policy.write_text(
        "version: 1\nendpoint: fraud\nowner: {team: claims, contact: on-call}\nnotifications: [{to: env:GOOD}]\n"
    )
    journal, _ = run(GOOD=receiver.url)
    journal.write(JournalEvent.APPLYING, {})
    journal.write(JournalEvent.UNDO_FAILED, {"message": "Azure refuses"})
    for _ in range(2):
        notify_end(tmp_path, record(Outcome.FAILED, policy=str(policy)))
    assert sorted(receiver.events()) == ["failed", "undo_failed"]
    assert len(notified(tmp_path)) == 2
    notify_end(tmp_path, record(Outcome.FAILED, policy="nowhere.yml"))
    broken = tmp_path / "broken.yml"
    broken.write_text("version: [")
    journal.write(JournalEvent.ROLLED_BACK, {"outcome": Outcome.SUCCEEDED, "reason": "back on blue"})
    notify_end(tmp_path, record(Outcome.ABORTED), ["nowhere.yml", broken, policy])
    assert receiver.events()[2:] == ["rolled_back"]
    notify_recovery(tmp_path, record(Outcome.SUCCEEDED, lease={}), [policy])
    assert len(receiver.got) == 3


def test_an_undo_that_fails_is_journaled_and_raised(run, receiver):
    """The message goes to the journal, and so to people; the error goes on."""
    journal, notifier = run({"to": "env:GOOD"}, GOOD=receiver.url)
    with pytest.raises(ApplyError, match="no"), journal.noted(JournalEvent.UNDO_FAILED):
        raise ApplyError("no")
    notifier.settle()
    assert receiver.events() == ["undo_failed"]
    assert receiver.bodies[0]["data"]["commands"][0] == "opslib recover --endpoint fraud --take-over"


def test_a_policy_names_its_receivers_by_reference():
    """An address in it is refused, without being repeated."""
    assert Notification(to="env:HOOK", events=("held",)).wants("held")
    assert not Notification(to="env:HOOK", events=("held",)).wants("promoted")
    assert Notification(to="keyvault:hook").wants("promoted")
    with pytest.raises(ValidationError, match="must be a reference") as raised:
        Notification(to="https://hooks.example/services/T0")
    assert all(isinstance(one["input"], dict) for one in raised.value.errors())


def test_preflight_warns_of_a_receiver_without_an_address():
    """A variable that is not set is found before the night on which it is needed."""
    owner = {"team": "claims", "contact": "on-call"}
    receivers = [{"to": "env:HOOK"}, {"to": "keyvault:hook"}]
    content = {"version": 1, "endpoint": "fraud", "owner": owner, "notifications": receivers}
    policy = Policy.model_validate(content)
    assert check_notifications(policy, {"HOOK"}).level is Level.OK
    found = check_notifications(policy, set())
    assert (found.level, found.evidence) == (Level.WARNING, "HOOK is not set: nothing is sent there")


def test_a_person_tries_the_set_up(receiver, tmp_path, monkeypatch, capsys):
    """`opslib notify` sends a test to each receiver of an event, or shows it."""
    policy = tmp_path / "policy.yml"
    receivers = "[{to: env:GOOD, form: slack}, {to: env:BAD, events: [rolled_back]}]"
    policy.write_text(
        f"version: 1\nendpoint: fraud\nowner: {{team: claims, contact: on-call}}\nnotifications: {receivers}\n"
    )
    monkeypatch.setenv("GOOD", receiver.url)
    monkeypatch.setenv("BAD", f"{receiver.url}/404")
    assert main(["notify", "--policy", str(policy), "--event", "held"]) == 0
    assert capsys.readouterr().out == "env:GOOD (slack): accepted, status 202\n"
    assert main(["notify", "--policy", str(policy)]) == 1
    assert "env:BAD (cloudevents): NOT DELIVERED: it answered 404" in capsys.readouterr().out
    got = len(receiver.got)
    assert main(["notify", "--policy", str(policy), "--show"]) == 0
    assert "This is a test" in capsys.readouterr().out
    assert len(receiver.got) == got
