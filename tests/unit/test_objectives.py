"""What scenarios' tables show: an objective without evidence is never met, and every folder passes its check."""

import json
import signal
from pathlib import Path

import pytest
from awaiting import wait_until

from opslib.cli.main import main
from opslib.demo.machine import stops_as_interrupt
from opslib.demo.scenarios import catalogue, objective
from opslib.demo.scenarios.carry_out import command
from opslib.demo.scenarios.catalogue import SCENARIOS
from opslib.demo.scenarios.measures import promoted_stages, stage_weights
from opslib.demo.scenarios.objective import Objective
from opslib.demo.scenarios.people import approve, enrol
from opslib.demo.scenarios.scenario import RunStep, ScenarioResult, Size
from opslib.demo.scenarios.shoppers import OUTCOMES, RATES, purchases
from opslib.evidence.run.files import JOURNAL, PLAN
from opslib.evidence.signing.approval import open_approval
from opslib.evidence.signing.approvers import VARIABLE, find_approvers


def test_an_objective_without_evidence_is_not_met():
    """No value, no case and no traffic are never a success; what this size cannot show is neither."""
    assert objective.at_most("p95", None, 250, "ms").met is False
    assert objective.all_of("proofs", "proofs", []).met is False
    assert objective.not_measured("p95", "at most 250 ms").met is None
    assert objective.at_most("p95", 250.0, 250, "ms").met is True
    assert objective.at_least("stages", 1.0, 2, "stages").met is False
    assert objective.all_of("sealed", "runs", [True, False]).measured == "1 of 2 runs"


def test_stages_are_counted_from_what_was_applied_and_promoted(tmp_path):
    """A change of traffic that no promotion led to is no judged stage."""
    events = [
        ("applying", {"after": {"blue": 90, "green": 10}}),
        ("look", {"verdict": {"decision": "continue"}}),
        ("look", {"verdict": {"decision": "promote"}}),
        ("applying", {"after": {"green": 100}}),
        ("look", {"verdict": {"decision": "rollback"}}),
        ("applying", {"after": {"blue": 100}}),
    ]
    lines = [{"seq": n, "at": "", "event": event, "data": data} for n, (event, data) in enumerate(events, start=1)]
    (tmp_path / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert (stage_weights(tmp_path, "green"), promoted_stages(tmp_path)) == ((10, 100), 1)


def test_a_purchase_or_none_is_recorded_for_each_answered_request(tmp_path):
    """An unfinished line of the report waits for its end; a request without an answer has no outcome."""
    report, outcomes = tmp_path / "report.jsonl", tmp_path / OUTCOMES
    (tmp_path / RATES).write_text('{"blue": 1.0, "green": 0.0}')
    row = {"client_request_id": "a", "status": 200, "deployment": "blue"}
    rows = [row, row | {"client_request_id": "b", "status": 503}, row | {"client_request_id": "c"}]
    with purchases(tmp_path, report):
        report.write_text("".join(json.dumps(one) + "\n" for one in rows)[:-9])
        wait_until(lambda: outcomes.exists() and outcomes.read_text())
        with report.open("a") as file:
            file.write(json.dumps(row)[-8:] + "\n" + json.dumps(row | {"deployment": "green"}) + "\n")
        wait_until(lambda: len(outcomes.read_text().splitlines()) == 3)
    lines = [json.loads(line) for line in outcomes.read_text().splitlines()]
    assert [(one["request_id"], one["bad"]) for one in lines] == [("a", False), ("c", False), ("a", True)]


def test_a_command_is_what_a_person_types():
    """Each parameter is given by name."""
    step = RunStep("canary", "canary", {"canary": "green", "stages": [10, 100]})
    assert command(step, "fraud") == "opslib run canary -p endpoint=fraud -p canary=green -p 'stages=[10, 100]'"


@pytest.mark.parametrize("words", [["pinecare", "--all"], ["pinecare", "--practice", "x"], ["--small"], ["--json"]])
def test_options_that_contradict_each_other_start_nothing(words, capsys):
    """A person who meant one of them does not wait for the other."""
    assert main(["demo", *words]) == 2
    assert "is given with" in capsys.readouterr().err


def test_what_a_scenario_showed_is_printed_for_programs(monkeypatch, tmp_path, capsys):
    """Stdout is JSON alone, with each objective and problem; what a person reads goes to stderr."""
    found = (
        Objective("p95", "at most 250 ms", "51 ms", met=True),
        Objective("errors", "at most 1 %", "2 %", met=False),
    )
    shown = ScenarioResult(SCENARIOS["pinecare"], Size.SMALL, (), found, (), 61.25)
    monkeypatch.setattr(catalogue, "_run", lambda *_: print("Triage") or shown)
    monkeypatch.setattr(catalogue, "_print", lambda _: print("a table"))
    assert main(["demo", "pinecare", "--small", "--json", "--runs", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    (result,) = json.loads(printed.out)
    assert result["objectives"][1] == {"name": "errors", "limit": "at most 1 %", "measured": "2 %", "met": False}
    assert result["problems"] == ["errors: limit at most 1 %, measured 2 %"]
    assert printed.err.startswith("Triage\na table\nFAILED: pinecare: errors")


def test_a_demo_that_is_terminated_stops_as_by_a_key():
    """SIGTERM ends the blocks that stop clients and sandbox; afterwards it has its usual effect."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stops_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_persons_key_signs_exactly_one_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The approval is opened with the public key that the folder lists under the person's name."""
    enrol(tmp_path, "safety@pinecare.example", "release@pinecare.example")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "approvers.pem"))
    plan = {"runbook": "canary", "endpoint": "triage", "changes": [], "parameters": {}, "workspace": []}
    (tmp_path / PLAN).write_text(json.dumps(plan))
    kept = approve(tmp_path, "safety@pinecare.example", tmp_path)
    assert open_approval(kept.read_bytes(), find_approvers()).who == "safety@pinecare.example"
