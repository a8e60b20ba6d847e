"""The canary runbook, executed by papermill against the sandbox, under real client traffic."""

import json
from pathlib import Path

from awaiting import wait_until
from prepared_opslib import start_opslib
from runbook_world import QUICK_CANARY as QUICK
from runbook_world import Background, answers, journal

from opslib.evidence.present.summary import summarize
from opslib.evidence.run.files import JUDGE_STATE
from opslib.model import Outcome
from opslib.runbooks.canary.rejudge import judge_again

ROOT = Path(__file__).parents[2]


def test_promotes_a_good_version_and_no_client_notices_and_a_rollback_passes_back(make_world):
    """All traffic ends on the canary; every client request was answered well by one of the two.

    Then the archive has the last known good deployment; live requests verify that it serves again.
    """
    world = make_world(green={})
    with world.clients() as report:
        folder, record = world.run(
            "canary", canary="green", stages=[50, 100], probes=world.probes("green"), **QUICK
        )
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert world.read().traffic == {"green": 100}
    assert (record.traffic_before, record.traffic_after) == ({"blue": 100}, {"green": 100})
    got = answers(report)
    assert {a["status"] for a in got} == {200}
    assert {a["deployment"] for a in got} == {"blue", "green"}
    looks = [
        json.loads(line)["data"] for line in (folder / "journal.jsonl").read_text().splitlines() if '"look"' in line
    ]
    assert looks[-1]["verdict"]["decision"] == "promote"
    assert sum(i["canary"]["requests"] for look in looks for i in look["intervals"]) >= 20
    import scrapbook  # noqa: PLC0415 - takes a second, most tests need none

    scraps = scrapbook.read_notebook(str(folder / "notebook.ipynb")).scraps.data_dict
    assert scraps["outcome"] == "succeeded"
    assert scraps["canary"] == "green"
    assert '"image/png"' in (folder / "notebook.ipynb").read_text()
    _, record = world.run("rollback", probes=world.probes("blue"), verify_requests=10)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert record.results["to"] == "blue"
    assert 0 < record.results["recovery_s"] < record.duration_s
    assert world.read().traffic == {"blue": 100}


def test_a_recorded_canary_is_judged_again_from_its_record_alone(make_world):
    """The same minutes give the same verdicts, number by number; an earlier hold's evidence is gone on with."""
    world = make_world(green={})
    short = QUICK | {"stages": [50, 100], "bake_s": 2, "max_bake_s": 2, "min_requests": 60}
    run = Background(world, **short)
    with world.clients(after=run.await_traffic):  # preflight sees no traffic, and forecasts nothing
        folder, held = run.result()
        assert held.outcome is Outcome.HELD, held.reason
        again, _ = world.run("canary", canary="green", **short)
    for each in (folder, again):
        looks = list(judge_again(each))
        assert looks
        assert all(look.same for look in looks), looks
    assert any("intervals of evidence from" in text for text in journal(again, "progress"))
    left = json.loads((folder / JUDGE_STATE).read_text())
    begun = json.loads(journal(again, "judging")[0]["state"])
    assert begun["log_bets"] == left["log_bets"]
    assert begun["reference_ms"]
    assert begun["reference_ms"] != left["reference_ms"]  # stable may serve otherwise today


def test_a_rehearsal_judges_stable_against_itself(make_world):
    """No traffic moves; the record has how often a harmless canary would have been rolled back."""
    world = make_world(green={})
    with world.clients(rps=40):
        wait_until(lambda: len(world.client_answers()) > 150)
    given = QUICK | {"stages": [50, 100], "bake_s": 60, "max_bake_s": 60}  # the requests of the last two minutes
    _, record = world.run("canary", canary="green", rehearse=True, **given)
    assert record.outcome is Outcome.PLANNED, record.reason
    assert "Stable judged against itself 200 times" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_rolls_back_a_version_that_only_live_traffic_breaks(make_world, receiver, monkeypatch):
    """Its probes pass, its users' rare requests fail: the traffic is back on blue by itself; a notice is sent."""
    world = make_world(green={"FRAGILE": "1"})
    monkeypatch.setenv("HOOK", receiver.url)
    monkeypatch.setenv("GONE", f"{receiver.url}/404")
    policy = world.policy(notifications=[{"to": "env:HOOK"}, {"to": "env:GONE", "form": "slack"}])
    with world.clients() as report:
        few = QUICK | {"max_failure_rate": 0.03}  # far below one in eight: chance must not get it promoted
        given = few | {"probes": world.probes("green"), "policy": policy}
        folder, record = world.run("canary", canary="green", stages=[50, 100], **given)
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert record.outcome.exit_code == 3
    (event,) = (body for path, _, body in receiver.got if not path.endswith("404"))
    assert event["type"] == "opslib.run.rolled_back"
    assert event["source"].endswith(f"/onlineEndpoints/{world.name}")
    assert (event["subject"], event["data"]["reason"]) == (record.run_id, record.reason)
    counts = {count["deployment"]: count for count in event["data"]["counts"]}
    assert 0 < counts["green"]["failed"] <= counts["green"]["requests"]
    assert counts["blue"]["failed"] == 0
    assert {one["to"]: one["delivered"] for one in record.notifications} == {"env:HOOK": True, "env:GONE": False}
    assert not [path for path in folder.rglob("*") if path.is_file() and b"secret-path" in path.read_bytes()]
    assert "fail" in record.reason
    assert world.read().traffic == {"blue": 100}
    assert {a["deployment"] for a in answers(report) if a["status"] != 200} == {"green"}
    story = summarize(folder)
    assert "traffic changed: blue=100 -> blue=50 green=50 (Azure correlation id " in story
    assert "none needed: traffic is as it was before" in story
    assert "rolled_back to env:GONE (slack): NOT DELIVERED: it answered 404" in story


def test_rolls_back_a_slow_version(make_world):
    """Latency is judged against stable's own."""
    world = make_world(green={"DELAY_S": "0.05"})
    with world.clients(rps=20):
        _, record = world.run(
            "canary", canary="green", stages=[50, 100], **(QUICK | {"tolerated_slowdown": 0.5, "max_slowdown": 1})
        )
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert "latency" in record.reason or "p95" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_holds_without_requests(make_world):
    """No data is a hold, never a success: the traffic is restored, and the exit code reports it."""
    world = make_world(green={})
    _, record = world.run("canary", canary="green", **(QUICK | {"bake_s": 1, "max_bake_s": 2, "late_data_s": 1}))
    assert record.outcome is Outcome.HELD, record.reason
    assert record.outcome.exit_code == 4
    assert "no canary request was seen in this stage" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_refuses_with_every_reason_and_an_unchanged_endpoint(make_world):
    """A canary that does not exist, or takes traffic already, is refused before anything moves."""
    world = make_world(green={})
    before = world.read()
    _, record = world.run("canary", canary="violet", **QUICK)
    assert record.outcome is Outcome.REFUSED
    assert "deployment 'violet' does not exist" in record.reason
    assert world.read() == before
    world.route(blue=90, green=10)
    _, record = world.run("canary", canary="green", **QUICK)
    assert record.outcome is Outcome.REFUSED
    assert "already takes 10 %" in record.reason
    assert world.read().traffic == {"blue": 90, "green": 10}


def test_refuses_a_canary_that_answers_wrongly(make_world):
    """It is probed directly before any user is exposed."""
    world = make_world(green={})
    _, record = world.run("canary", canary="green", probes=world.probes("red"), **QUICK)
    assert record.outcome is Outcome.REFUSED
    assert "1 of 1 probes of green failed" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_a_dry_run_moves_no_traffic(make_world):
    """The plan shows the stages, the undo and the commands."""
    world = make_world(green={})
    folder, record = world.run("canary", canary="green", dry_run=True)
    assert record.outcome is Outcome.PLANNED
    assert world.read().traffic == {"blue": 100}
    (plan,) = journal(folder, "plan")
    assert plan["steps"][0]["after"] == {"blue": 90, "green": 10}
    assert plan["undo"][0]["after"] == {"blue": 100}


def test_papermill_itself_runs_it(make_world):
    """Without the runner the notebook makes its own folder."""
    world = make_world(green={})
    module, *arguments = papermill(world, "dry_run")
    output = world.folder / "output.txt"
    process = start_opslib(*arguments, module=module, folder=world.folder, output=output)
    assert process.wait(120) == 0, output.read_text()
    (record,) = world.runs.glob("*/*/run.json")
    assert json.loads(record.read_text())["outcome"] == "planned"


def test_papermill_itself_is_as_strict(make_world):
    """A misspelt parameter fails the notebook."""
    world = make_world(green={})
    module, *arguments = papermill(world, "dryrun")
    output = world.folder / "output.txt"
    process = start_opslib(*arguments, module=module, folder=world.folder, output=output)
    assert process.wait(120) == 1
    assert "dryrun: unknown" in output.read_text()


def papermill(world, parameter):
    """What papermill is started with: the module, the notebook, where it is written, parameters."""
    parameters = ("-p", "endpoint", world.name, "-p", "canary", "green", "-p", parameter, "True")
    return ["papermill", str(ROOT / "notebooks/canary.ipynb"), str(world.runs / "x.ipynb"), *parameters]
