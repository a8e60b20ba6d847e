"""Errors that a person pasted: what az, azure-ai-ml, ARM, a container and a client print, each to its cause."""

import io
import json
from datetime import UTC, datetime

import pytest
from recorded_facts import CASES, Case, read_case

from opslib.cli.main import main
from opslib.diagnosis.facts import SERVER
from opslib.diagnosis.pasted import diagnose_text
from opslib.model.surroundings import Unread
from opslib.model.symptoms import LastOperation

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
HERE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
QUOTA = """\
Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/azure/ai/ml/operations/_deployments.py", line 214, in x
    raise ex
azure.core.exceptions.HttpResponseError: (BadRequest) The request is invalid.
Code: BadRequest
Message: The request is invalid.
Exception Details:\t(InferencingClientCreateDeploymentFailed) InferencingClient HttpRequest error, error detail: \
{"errors":{"VmSize":["Not enough quota available for Standard_DS3_v2 in SubscriptionId s. \
Current usage/limit: 96/100. Additional needed: 8"]},"title":"One or more validation errors occurred.","status":400}
\tCode: InferencingClientCreateDeploymentFailed
Additional Information:Type: ComponentName
Info: {
    "value": "managementfrontend"
}
"""
SCRIPT = """\
2026-11-27 11:44:14,928 E [16043] azmlinfsrv - Encountered Exception Traceback (most recent call last):
  File "/var/azureml-app/code/score.py", line 13, in run
    return clean(request)
ValueError: a rare request
"""
IMPORT = """\
Traceback (most recent call last):
  File "/var/azureml-app/code/score.py", line 1, in <module>
    import lightgbm
ModuleNotFoundError: No module named 'lightgbm'
"""
RED = "\x1b[31m{}\x1b[39m"

TEXTS = {
    QUOTA: "quota",
    SCRIPT: "user-code",
    IMPORT: "package-missing",
    "ModuleNotFoundError: No module named 'sklearn'": "package-missing",
    "No module named 'sklearn'": "package-missing",
    "ERROR: (ResourceNotReady) User container has crashed: Liveness probe failed: HTTP 502": "slow-start",
    "ERROR: (BadArgument) Failed to download user model: the identity is not authorized": "model-access",
    "(ImageBuildFailure) Image build failed. Build log: https://x": "image-build",
    f"(AuthorizationFailed) The client 'ada' does not have authorization to perform action 'x' over {HERE}": (
        "caller-forbidden"
    ),
    "(Conflict) Cannot update a deployment because it is in Updating provisioning state.": "conflict",
    "(InternalServerError) Received 500 from a service request": "service",
    "azure.identity.CredentialUnavailableError: DefaultAzureCredential failed to retrieve a token": "sign-in",
    "ServiceRequestError: [Errno -2] Name or service not known": "network",
    "requests.exceptions.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer": "certificate",
    "ValidationException: Failed to open scoring script /home/ada/fraud/code/score.py": "script-missing",
    "(BadRequest) The request is invalid.\nMessage: Instance type Standard_NC6 is not supported": "refused",
    '{"error": {"code": "BadRequest", "message": "request_timeout_ms must be at most 180000"}}': "refused",
    "The value of tag 'version' must be a string": "refused",
    f"azure.ai.ml.exceptions.ValidationException: {RED.format('regular_deployment is no valid name')}": "refused",
    json.dumps({"result": "Failed", "errors": [{"message": "ValidationError: model", "path": "model"}]}): "refused",
    "ResourceNotFoundError: (UserError) Model fraud with label latest is not found": "refused",
    "HttpResponseError: Operation returned an invalid status 501: not implemented": "refused",
    "urllib.error.HTTPError: HTTP Error 424: Failed Dependency": "user-code",
    "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://fraud/score": "overload",
    "HTTP/1.1 408 Request Timeout": "timeout",
    "status code 401": "credential",
    "502 Server Error: Bad Gateway": "service-answers",
}
"""Texts in our own words, of the kinds that people bring, and their causes."""


@pytest.mark.parametrize(("text", "cause"), TEXTS.items(), ids=lambda value: value[-30:])
def test_a_text_has_its_cause(text: str, cause: str):
    """One cause, from the catalogue, whose command has no name left to fill in."""
    (found,) = diagnose_text(text, AT).causes
    assert found.id == cause, found
    assert "{" not in found.command + found.advice
    assert "\x1b" not in found.summary
    assert found.summary


@pytest.mark.parametrize("case", [one for one in CASES if one.cause], ids=lambda case: case.name)
def test_what_azure_wrote_gives_the_cause_of_the_whole_diagnosis(case: Case):
    """The refusal or the operation's error alone; where that only shows that the container ended, with its log."""
    facts = read_case(case.name)
    attempts = () if isinstance(facts.attempts, Unread) else facts.attempts
    refused = next((one.message for one in attempts if not one.succeeded), "")
    failed = [one for one in facts.deployments if isinstance(one.operation, LastOperation) and one.operation.error]
    texts = [(json.dumps(one.operation.error), one.log(SERVER)) for one in failed if one.operation]
    for text, log in [*texts, *([(refused, "")] if refused else [])]:
        (alone,) = diagnose_text(text, AT).causes
        if alone.id != case.cause:
            assert alone.id == "start-unknown"
            (alone,) = diagnose_text(f"{text}\n{log}", AT).causes
            assert diagnose_text(log, AT).causes[0].id == case.cause
        assert alone.id == case.cause


def test_the_names_in_the_text_are_put_into_the_command():
    """An ARM id gives endpoint and deployment; the layers lead to the innermost message."""
    (found,) = diagnose_text(
        f"(ImageBuildFailure) {HERE}/onlineEndpoints/fraud/deployments/green failed", AT
    ).causes
    assert (found.subject, "-e fraud -n green" in found.command) == ("deployment green", True)
    assert [one.code for one in diagnose_text(QUOTA, AT).causes[0].layers] == [
        "BadRequest",
        "InferencingClientCreateDeploymentFailed",
        "VmSize",
    ]


def test_a_pasted_error_is_read_from_a_file_or_the_standard_input(tmp_path, monkeypatch, capsys):
    """No Azure is read; exit code 3 with a cause, 4 where no rule recognizes the text, 2 without one."""
    (tmp_path / "error.txt").write_text(QUOTA)
    assert main(["diagnose", "--error", str(tmp_path / "error.txt")]) == 3
    assert "[quota, certain]" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("it does not work"))
    assert main(["diagnose", "--error", "-", "--json"]) == 4
    content = json.loads(capsys.readouterr().out)
    assert (content["endpoint"], content["causes"]) == (None, [])
    assert main(["diagnose", "--error", str(tmp_path / "absent")]) == 2
    assert main(["diagnose", "fraud", "--error", "-"]) == 2
    assert main(["diagnose"]) == 2
