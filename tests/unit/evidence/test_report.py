"""The report of a run, the index of an archive, the bill of materials and the controls, for people who audit."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from evidence_fixture import MODEL, make_run

from opslib.cli.main import main
from opslib.evidence.present.controls import CONTROLS, PIECES
from opslib.evidence.present.page import Plot, summary_html
from opslib.evidence.run.record import Approval, read_record
from opslib.model import Outcome

HASHED = MODEL.replace("fraud-model/versions/2", f"{'b4d9' * 16}/versions/1")
GATE: dict[str, Any] = {"gate": "failures below 5 %", "result": "proven", "evidence": "7 of 694 canary requests"}
GATE |= {"stage": {"blue": 90, "green": 10}}
PROOF = {"canary_share": 0.01, "stable_share": 0.02, "bound": 0.05, "canary_n": 694, "p": 0.001, "alpha": 0.0025}


@pytest.fixture
def folder(tmp_path):
    """A canary that took all traffic, of a registered model against an uploaded one."""
    fields: dict[str, Any] = {
        "ticket": "CHG-1042",
        "requester": "claims <lead>",
        "traffic_before": {"blue": 100},
        "traffic_after": {"blue": 0, "green": 100},
        "deployments_after": {
            "blue": {"model": HASHED, "instance_type": "F2", "instance_count": 2},
            "green": {"model": MODEL, "environment": f"{MODEL}env", "code": f"{MODEL}code", "instance_count": 1},
        },
        "approvals": (Approval("ann@harborshield.example", "2026-01-31", "agreed", "00", keyid="ab" * 32),),
        "rollback": {"commands": ["az one", "az two"]},
        "results": {"canary": "green", "cost_per_month_before": 427.78, "cost_currency": "USD"},
        "gates": (
            {"gate": "probes", "result": "warning", "evidence": "none given"},
            GATE | PROOF,
        ),
    }
    made = make_run(tmp_path / "runs", reason="Promoted: green takes all traffic.", **fields)
    made.chmod(0o755)
    path = made / "after.json"
    path.write_text(json.dumps({"deployments": [{"name": "blue", "tags": {"model_version": "v1"}}]}))
    return made


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_the_report_starts_with_what_a_manager_wants_to_know(folder):
    """Outcome, people, models by name, before and after, the measured decision, plots, approvals, undo, seal."""
    record = read_record(folder)
    shown = replace(record, gates=({"gate": "probes", "result": "warning"}, GATE))
    page = summary_html(shown, folder, (Plot("AAAA", "p95 of both & more"),))
    text = text_of(page)
    for said in (
        "canary of fraud ✓ Succeeded Promoted: green takes all traffic.",
        "Requested by claims &lt;lead&gt;",
        "Change request CHG-1042",
        "blue model_version v1 (uploaded, not registered: b4d9b4d9b4d9) not there 0 % 2 x F2",
        "green fraud-model:2 0 % 100 %",
        "blue=90 green=10 failures below 5 % ✓ proven 7 of 694 canary requests",
        "cost per month before 427.78 USD",
        "ann@harborshield.example at 2026-01-31, ANOTHER PLAN, signed by key abababababababab",
        "0 of 1 checks passed.",
        "az one az two",
        f"opslib verify {record.run_id}",
    ):
        assert said in text, said
    assert 'alt="p95 of both &amp; more"' in page
    assert page.index("<h1>") < page.index("Before and after") < page.index("Decision") < page.index("Undo")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(Outcome.ROLLED_BACK, "✗ Rolled back"), (Outcome.WAITING, "… Waiting for approval"), (None, "… No outcome")],
)
def test_an_outcome_is_marked_by_more_than_a_colour(folder, outcome, said):
    """A sign and words, for people who do not see the colour."""
    record = read_record(folder)
    assert said in text_of(summary_html(replace(record, outcome=outcome), folder))


def test_a_bill_of_materials_lists_what_takes_traffic(folder, capsys):
    """CycloneDX 1.6, valid by its published schema: the model by name, what it needs, what was measured."""
    assert main(["runs", "export", folder.name, "--bom", "--runs", str(folder.parents[1])]) == 0
    text = capsys.readouterr().out
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    model, *others = bom["components"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "fraud-model", "2")
    assert {one["value"] for one in model["properties"]} >= {"green", "100", MODEL}
    assert [one["type"] for one in others] == ["platform", "application"]
    assert bom["dependencies"][1]["dependsOn"] == sorted(one["bom-ref"] for one in others)


def test_a_run_that_left_nothing_in_production_has_no_bill_of_materials(tmp_path, capsys):
    """The message names the run and the reason."""
    folder = make_run(tmp_path)
    assert main(["runs", "export", folder.name, "--bom", "--runs", str(tmp_path)]) != 0
    assert "left no deployment with traffic" in capsys.readouterr().err


def test_the_index_lists_every_run_and_what_did_not_verify(folder, tmp_path, capsys, monkeypatch):
    """Links are relative, the page loads nothing, and its script is named by digest."""
    other = make_run(folder.parents[1], Outcome.FAILED, "<script>alert(1)</script>", endpoint="pricing")
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "report", "--runs", str(folder.parents[1])]) == 0
    page = (tmp_path / capsys.readouterr().out.strip()).read_text()
    assert f'href="runs/{other.relative_to(folder.parents[1]).as_posix()}/report.html"' in page
    assert "<option>pricing</option>" in page
    assert "1 of 2 runs did not verify" in text_of(page)  # after.json was altered above
    assert "<script>alert" not in page
    assert not re.search(r"https?://", page)


def test_the_index_is_not_written_into_the_archive(folder, capsys):
    """Only evidence belongs there: verify would report the file."""
    archive = folder.parents[1]
    assert main(["runs", "report", str(archive / "index.html"), "--runs", str(archive)]) == 2
    assert "inside the archive" in capsys.readouterr().err


def test_each_piece_of_evidence_serves_controls_that_have_a_title(folder, capsys):
    """The table names framework and title of every control, and for a run whether the piece is there."""
    titles = {control: (name, title) for name, known in CONTROLS.items() for control, title in known.items()}
    assert {control for piece in PIECES for control in piece.controls} == titles.keys()
    assert main(["runs", "controls", folder.name, "--json", "--runs", str(folder.parents[1])]) == 0
    observations = json.loads(capsys.readouterr().out)["observations"]
    there = {one["relevant-evidence"][0]["href"]: one["collected"] for one in observations}
    assert (there["run.json"], there["attestation.dsse.json"], there["approvals.jsonl"]) == (True, True, False)
    assert main(["runs", "controls"]) == 0
    assert "does not certify" in capsys.readouterr().out
