"""Errors unwrapped: the forms in which Azure, its SDK and its command line write them; and container logs."""

import json

import pytest

from opslib.diagnosis.layers import innermost, unwrap
from opslib.diagnosis.log import Phase, read_log

FIELD = json.dumps({"errors": {"VmSize": ["Not enough quota available for Standard_F2s_v2"]}, "status": 400})
ARM = {
    "error": {
        "code": "BadRequest",
        "message": "The request is invalid.",
        "details": [{"code": "InferencingClientCreateDeploymentFailed", "message": FIELD, "details": []}],
    }
}
LOG = """\
Instance status:
SystemSetup: Succeeded
UserContainerImagePull: Failed

Container events:
Kind: Pod, Name: Failed, Type: Warning, Time: 2026-11-27T10:00:00Z, Message: Failed to pull image, denied

Container logs:
2026-11-27 11:44:14,928 E [16043] azmlinfsrv - Encountered Exception Traceback (most recent call last):
  File "/opt/site-packages/azureml_inference_server_http/server/user_script.py", line 130, in invoke_run
    run_output = self._wrapped_user_run(request)
  File "/var/azureml-app/code/score.py", line 13, in run
    return clean(request)
  File "/var/azureml-app/code/clean.py", line 4, in clean
    raise ValueError("a rare request")
ValueError: a rare request

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/lib/python3.11/site-packages/azureml_inference_server_http/server/routes.py", line 200, in handle
    raise UserScriptException(ex) from ex
azureml_inference_server_http.server.user_script.UserScriptException: Caught an unhandled exception

2026-11-27 11:44:15,000 E [16043] azmlinfsrv - Traceback (most recent call last):
  File "/var/azureml-app/code/score.py", line 15, in run
    return 1 / 0
ZeroDivisionError: division by zero
"""


def test_arms_error_is_followed_to_the_field():
    """ARM's error, its detail, and the JSON in the detail's message become three layers, as text and as object."""
    layers = unwrap(ARM, "ARM error")
    assert [layer.code for layer in layers] == ["BadRequest", "InferencingClientCreateDeploymentFailed", "VmSize"]
    assert innermost(layers).message.startswith("Not enough quota")
    assert unwrap(json.dumps(ARM), "ARM error") == layers


def test_what_az_prints_is_read_by_its_codes():
    """`(Code) message`, with colours and the repeated Code and Message lines, is one layer."""
    layers = unwrap("\x1b[31m(ResourceNotReady) User container has crashed.\nCode: ResourceNotReady\x1b[39m", "az")
    assert [(layer.code, layer.message) for layer in layers] == [
        ("ResourceNotReady", "User container has crashed.")
    ]


def test_text_and_broken_json_stay_as_they_are():
    """A message that is no JSON is one layer; what only looks like it is kept too."""
    assert [str(layer) for layer in unwrap("nothing {to parse}", "message")] == ["message: nothing {to parse}"]
    assert innermost(unwrap({"code": "X", "message": ""}, "operation error")).code == "X"


@pytest.mark.parametrize(
    ("details", "layers"),
    [("3", ["e: X: m"]), ('"none"', ["e: X: m"]), ('{"code": "Y", "message": "n"}', ["e: X: m", "detail: Y: n"])],
)
def test_details_of_another_form_are_read_or_passed_over(details, layers):
    """A number and a text have no layer; an error without a list around it has."""
    error = f'{{"error": {{"code": "X", "message": "m", "details": {details}}}}}'
    assert [str(layer) for layer in unwrap(error, "e")] == layers


def test_json_that_is_nested_too_deeply_is_text():
    """It is no reason to end a diagnosis."""
    assert unwrap('{"a":' * 5000, "e")[0].message.startswith('{"a":')


def test_nesting_without_end_is_cut():
    """An error that holds itself a hundred times is read to a limit."""
    deep: dict[str, object] = {"code": "X", "message": "m"}
    for _ in range(100):
        deep = {"error": deep}
    assert len(unwrap(deep, "ARM error")) <= 1


def test_steps_events_and_the_first_of_chained_exceptions():
    """The log's parts are read; of a chain the user's own exception, at the last line outside libraries."""
    log = read_log(LOG)
    assert log.failed_step == "UserContainerImagePull"
    assert [(one.name, one.type, one.message) for one in log.events] == [
        ("Failed", "Warning", "Failed to pull image, denied")
    ]
    assert [(str(one), one.where, one.phase) for one in log.errors] == [
        ("ValueError: a rare request", "clean.py, line 4", Phase.RUN),
        ("ZeroDivisionError: division by zero", "score.py, line 15", Phase.RUN),
    ]


def test_a_log_without_headings_is_the_containers_own():
    """The StorageInitializer's log has lines only."""
    log = read_log("Downloading model.txt\nTraceback (most recent call last):\n")
    assert log.steps == {}
    assert log.line_with("downloading") == "Downloading model.txt"
    assert log.errors == ()
