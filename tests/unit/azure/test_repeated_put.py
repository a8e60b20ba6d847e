"""A PUT that is repeated after its answer was lost: its first attempt may be what refuses the second."""

from dataclasses import replace
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.transport import RequestsTransport
from stand_in import Anyone, StandIn
from starlette.requests import Request
from starlette.responses import Response

from opslib.azure.arm import ArmClient
from opslib.azure.connect import Workspace
from opslib.azure.endpoint_changes import edit_tags, set_traffic
from opslib.errors import AzureError
from opslib.model import SetTraffic

SPLIT = {"blue": 90, "green": 10}
SHIFT = SetTraffic("fraud", {"blue": 100}, SPLIT)


class LostAnswer(RequestsTransport):
    """Connections on which the answer to the first PUT does not arrive; `delivers`: the request does."""

    def __init__(self, stand_in: StandIn, *, delivers: bool) -> None:
        super().__init__()
        self._azure = stand_in.azure
        self._delivers = delivers
        self._lost = False

    def send(self, request: Any, **options: Any) -> Any:
        if request.method != "PUT" or self._lost:
            return super().send(request, **options)
        self._lost = True
        if self._delivers:
            super().send(request, **options)
        else:
            self._azure.state, self._azure.left = "Updating", 2  # by another change, which begins meanwhile
        raise ServiceResponseTimeoutError("Read timed out.")


def workspace_of(stand_in: StandIn, *, delivers: bool) -> Workspace:
    """Return a workspace whose service refuses a PUT while the endpoint is updated."""
    azure = stand_in.azure

    def refuse(request: Request) -> Response | None:
        if request.method != "PUT" or azure.state != "Updating":
            return None
        message = "Cannot update fraud because it is in Updating provisioning state."
        return azure.json(409, {"error": {"code": "Conflict", "message": message}})

    azure.answer = refuse
    http = LostAnswer(stand_in, delivers=delivers)
    return replace(stand_in.workspace(), arm=ArmClient(stand_in.url, Anyone(), http=http))


def test_a_put_that_meets_its_own_first_attempt_waits_for_it(stand_in: StandIn):
    """The service is still working on it: this is no other change, and it is not sent a third time."""
    shown: list[str] = []
    workspace = workspace_of(stand_in, delivers=True)
    set_traffic(workspace, SHIFT, 20, shown.append, lambda tags: {**tags, "lease": "mine"})
    azure = stand_in.azure
    assert (azure.shown, azure.tags["lease"], len(azure.writes)) == (SPLIT, "mine", 1)
    assert any("It may be this change itself" in text for text in shown)


def test_a_put_that_meets_another_change_is_refused(stand_in: StandIn):
    """The first attempt was lost: once the other change has ended, the endpoint does not have what was sent."""
    workspace = workspace_of(stand_in, delivers=False)
    with pytest.raises(AzureError, match="Conflict") as caught:
        edit_tags(workspace, "fraud", lambda _: {"lease": "mine"}, 20, lambda _: None)
    assert (caught.value.status, stand_in.azure.writes) == (409, [])
    assert stand_in.azure.state == "Succeeded"  # it was waited for
