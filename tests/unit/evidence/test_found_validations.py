"""Validate runs that an archive holds: of which deployment and version, and whether they are sound."""

import json
from dataclasses import replace

import pytest
from evidence_fixture import SCOPE, make_run

from opslib.evidence.run.files import RECORD
from opslib.evidence.validations import find_validations
from opslib.model import Outcome

RESULTS = {
    "deployment": "green",
    "version_sha256": "v1",
    "validation_sha256": "set",
    "correct": 9,
    "requests": 10,
}


def validated(archive, outcome=Outcome.SUCCEEDED, runbook="validate", scope=SCOPE, **results):
    return make_run(archive, outcome, runbook=runbook, scope=scope, results=RESULTS | results)


def found(archive, version="v1"):
    return find_validations(archive, SCOPE, "fraud", "Green", version)


def test_a_sealed_run_is_found_with_its_result(tmp_path):
    """By workspace, endpoint and deployment; names ignore case, as Azure's do."""
    folder = validated(tmp_path)
    (run,) = found(tmp_path)
    assert (run.run_id, run.correct, run.requests, run.problem) == (folder.name, 9, 10, "")
    assert (run.version_sha256, run.validation_sha256) == ("v1", "set")


@pytest.mark.parametrize(
    "other",
    [
        {"deployment": "blue"},
        {"runbook": "deploy"},
        {"outcome": Outcome.PLANNED},
        {"outcome": Outcome.REFUSED},
        {"scope": replace(SCOPE, workspace_name="other")},
    ],
)
def test_what_is_no_result_of_this_deployment_is_left_out(tmp_path, other):
    """A dry run, another workspace's endpoint of the same name, another runbook."""
    validated(tmp_path, **other)
    assert found(tmp_path) == ()


def test_a_failed_validation_is_a_result(tmp_path):
    """It is newer than the success before it, and decides."""
    validated(tmp_path)
    failed = validated(tmp_path, Outcome.FAILED, correct=1)
    assert {run.run_id: run.correct for run in found(tmp_path)}[failed.name] == 1


def test_a_result_that_was_altered_proves_nothing(tmp_path):
    """The seal covers the record: k of n cannot be raised afterwards."""
    folder = validated(tmp_path)
    path = folder / RECORD
    content = json.loads(path.read_text())
    content["results"]["correct"] = 10
    path.chmod(0o644)
    path.write_text(json.dumps(content))
    (run,) = found(tmp_path)
    assert "run.json: changed after the run was sealed" in run.problem
    (other,) = found(tmp_path, "v2")
    assert other.problem == ""  # it decides nothing there
