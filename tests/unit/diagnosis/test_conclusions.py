"""The table of conclusions: every fault that the sandbox can make, and what is concluded from what was read."""

from dataclasses import replace
from datetime import timedelta

import pytest
from recorded_facts import CASES, RECORDED, Case, read_case

from opslib.diagnosis.catalogue import CATALOGUE
from opslib.diagnosis.cause import Certainty
from opslib.diagnosis.diagnose import diagnose
from opslib.displayed import view
from opslib.model import ProbeResult
from opslib.model.surroundings import Unread
from opslib.model.symptoms import AnswerCount, Certificate
from opslib.runbooks.diagnose import conclude_diagnosis, diagnose_facts
from opslib.show import diagnosis as shown

FAULTS = [case for case in CASES if case.cause]


def ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_the_first_cause_is_the_fault_that_was_made(case: Case):
    """Cause and certainty are right, and the evidence names what was seen; a healthy endpoint has no cause."""
    found = diagnose(read_case(case.name))
    first = found.causes[0] if found.causes else None
    assert (first.id if first else "") == case.cause, found.sentence
    if first is not None:
        assert first.certainty == case.certainty
        assert case.seen in " ".join(map(str, first.evidence))
        assert "{" not in first.command + first.advice
        assert first.summary


@pytest.mark.parametrize("case", FAULTS, ids=ids)
def test_a_fault_has_one_cause(case: Case):
    """No second cause is named beside the right one, but for requests that time out on a hung instance."""
    allowed = {"hung_instance": {"timeout"}}.get(case.name, set())
    assert {one.id for one in diagnose(read_case(case.name)).causes} - allowed == {case.cause}


def test_every_recorded_file_is_in_the_table():
    """No recording is left without its right conclusion."""
    assert {path.stem for path in RECORDED.glob("*.json")} == {case.name for case in CASES}


def test_each_cause_has_an_action():
    """Every conclusion of the table is in the catalogue, whose entries are a command and a sentence."""
    assert {case.cause for case in FAULTS} <= set(CATALOGUE)
    assert all(entry.command and entry.advice.endswith((".", "{e}")) for entry in CATALOGUE.values())


def test_an_error_is_unwrapped_to_the_line_of_the_script():
    """The layers of a failed start lead from the operation over the event to the traceback."""
    layers = diagnose(read_case("missing_package")).causes[0].layers
    assert [layer.name for layer in layers] == ["operation error", "event", "container log"]
    assert layers[0].code == "ResourceNotReady"
    assert layers[-1].code == "ModuleNotFoundError"
    assert "score.py, line 1" in layers[-1].message


def test_a_refusal_is_unwrapped_to_the_field():
    """The layers of a refused creation lead from ARM over the inference service to the field."""
    layers = diagnose(read_case("out_of_quota")).causes[0].layers
    assert [layer.code for layer in layers] == ["BadRequest", "InferencingClientCreateDeploymentFailed", "VmSize"]


def test_the_missing_role_is_the_command():
    """Where the identity may not read the model, the command assigns the role to it on the storage account."""
    command = diagnose(read_case("no_model_permission")).causes[0].command
    assert command.startswith("az role assignment create --assignee ")
    assert "'Storage Blob Data Reader'" in command
    assert command.endswith("/storageAccounts/sandbox")


def test_one_deployment_is_diagnosed_alone():
    """With a deployment given, what happened to the other one is left out."""
    facts = read_case("script_init")
    assert diagnose_facts(facts, "blue").causes == ()
    assert [one.id for one in diagnose_facts(facts, "GREEN").causes] == ["script-init"]


def test_without_logs_nothing_is_made_up():
    """Where the log may not be read, the cause is only possible, and the log is named as unread."""
    facts = read_case("script_init")
    blind = replace(facts.deployments[1], logs={"InferenceServer": Unread("403 AuthorizationFailed")})
    found = diagnose(replace(facts, deployments=(facts.deployments[0], blind)))
    assert [(one.id, one.certainty) for one in found.causes] == [("start-unknown", Certainty.POSSIBLE)]
    assert [one.part for one in found.unread] == ["log of green's InferenceServer"]
    assert found.causes[0].summary == "the container ended, and its log could not be read"
    assert any("403" in str(one) for one in found.causes[0].evidence)


def test_no_cause_and_a_part_unread_is_undecided():
    """A healthy endpoint of which the log could not be read is held, not taken for a healthy one."""
    facts = read_case("healthy")
    assert conclude_diagnosis(diagnose(facts))[0] == "succeeded"
    outcome, reason = conclude_diagnosis(diagnose(replace(facts, answers=Unread("403"))))
    assert outcome == "held"
    assert "not read: requests by status" in reason


def test_metrics_without_reasons_suffice():
    """Azure Monitor has statuses but no reasons: the causes are the same."""
    for name in ("concurrency", "timeout", "user_error", "wrong_key", "no_traffic"):
        facts = read_case(name)
        assert not isinstance(facts.answers, Unread)
        plain = tuple(replace(one, reason="") for one in facts.answers)
        first = diagnose(replace(facts, answers=plain)).causes[0]
        assert first.id == next(case.cause for case in CASES if case.name == name)


def test_requests_to_a_deleted_deployment_of_the_same_name_do_not_count():
    """Requests that ended before the deployment was created were another one's."""
    facts = read_case("concurrency")
    assert not isinstance(facts.answers, Unread)
    earlier = tuple(
        replace(one, first=one.first - timedelta(hours=1), last=one.last - timedelta(hours=1))
        for one in facts.answers
    )
    assert diagnose(replace(facts, answers=earlier)).causes == ()


def test_probes_and_certificate_are_judged():
    """A wrong answer of a probe and a refused certificate are causes of a healthy-looking endpoint."""
    facts = read_case("healthy")
    wrong = ProbeResult(facts.at, 200, 5.0, "blue", "id", "answered 1, expected 2")
    refused = Certificate("fraud.eastus.inference.ml.azure.com", "", None, "self-signed certificate")
    found = diagnose(replace(facts, probes=(wrong,), certificate=refused))
    assert {one.id for one in found.causes} == {"probe-answers", "certificate"}


@pytest.mark.parametrize(
    ("status", "cause"), [(424, "model-status"), (401, "credential"), (503, "instances-dead"), (408, "timeout")]
)
def test_probes_that_failed_are_a_fault_before_metrics_have_them(status: int, cause: str):
    """Metrics are minutes late: without their rows the probes' own statuses are judged, with them not twice."""
    facts = read_case("healthy")
    assert not isinstance(facts.answers, Unread)
    served = tuple(one for one in facts.answers if one.status < 400)
    requests = 3 + sum(one.requests for one in served)
    failed = ProbeResult(facts.at, status, 5.0, "blue", "id", f"answered {status}")
    found = diagnose(replace(facts, answers=served, probes=(failed,) * 3)).causes
    assert [one.id for one in found] == [cause]
    assert any(f"3 of {requests} requests" in one.seen for one in found[0].evidence)
    counted = replace(facts, answers=(*served, AnswerCount("Blue", status, "", 3, facts.at, facts.at)))
    seen = [one.seen for one in diagnose(replace(counted, probes=(failed,) * 3)).causes[0].evidence]
    assert any(text.startswith("3 of ") for text in seen)


def test_a_person_reads_the_command():
    """Text and HTML show cause, evidence and command; JSON has them as fields."""
    found = diagnose(read_case("missing_package"))
    for text in (view(found).text, view(found).html, shown.diagnosis_json(found)):
        assert "package-missing" in text or "fails while it is imported" in text
        assert "az ml online-deployment show" in text
