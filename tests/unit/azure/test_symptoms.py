"""What shows how an endpoint fails, read from answers in Azure's form."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from opslib.azure import symptoms
from opslib.errors import UnexpectedAnswer
from opslib.model.symptoms import AnswerCount

SINCE = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
SERIES = {
    "metadatavalues": [
        {"name": {"value": "deployment"}, "value": "blue"},
        {"name": {"value": "statuscode"}, "value": "424"},
        {"name": {"value": "modelstatuscode"}, "value": "500"},
    ],
    "data": [
        {"timeStamp": "2026-11-27T10:01:00Z", "average": 2.0},
        {"timeStamp": "2026-11-27T10:02:00Z"},
        {"timeStamp": "2026-11-27T10:03:00Z", "average": 3.0},
    ],
}


def workspace(**answer: Any) -> Any:
    """A workspace whose resource manager gives one answer."""
    arm = SimpleNamespace(get=lambda *_, **__: answer)
    return SimpleNamespace(arm=arm, scope=SimpleNamespace(resource_manager="https://management.azure.com"))


def test_metrics_are_counted_by_status(monkeypatch: pytest.MonkeyPatch):
    """Without a request log the metric's minutes are added up; a minute without a point is left out."""
    monkeypatch.setattr(symptoms, "find_source", lambda *_: None)
    given: Any = workspace(value=[{"timeseries": [SERIES]}])
    found = symptoms.read_answers(given, SimpleNamespace(id="/e"), SINCE)  # type: ignore[arg-type]
    first, last = (datetime(2026, 11, 27, 10, minute, tzinfo=UTC) for minute in (1, 3))
    assert found == (AnswerCount("blue", 424, "500", 5, first, last),)


def test_an_operation_on_another_host_is_not_read():
    """The token is not sent to an address that is not the resource manager's."""
    arm = {"properties": {"properties": {"azureAsyncOperationUri": "https://elsewhere.example/op?api-version=1"}}}
    with pytest.raises(UnexpectedAnswer, match=r"elsewhere\.example"):
        symptoms.read_last_operation(workspace(), arm)
    assert symptoms.read_last_operation(workspace(), {"properties": {"properties": None}}) is None


def test_an_operation_has_its_error_and_end():
    """The year 1 as the end of a running operation is none. Source: recordings of 2025."""
    arm = {
        "properties": {"properties": {"AzureAsyncOperationUri": "https://management.azure.com/op?api-version=1"}}
    }
    running = symptoms.read_last_operation(workspace(status="Updating", endTime="0001-01-01T00:00:00+00:00"), arm)
    assert running is not None
    assert (running.status, running.error, running.ended_at) == ("Updating", None, None)
    failed = symptoms.read_last_operation(workspace(status="Failed", error={"code": "X"}), arm)
    assert failed is not None
    assert failed.error == {"code": "X"}
