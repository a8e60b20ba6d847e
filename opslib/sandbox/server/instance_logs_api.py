"""Handler: the sandbox's own API for what its instances have printed."""

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import OWN, Auth, Route
from opslib.sandbox.core.context import Backend

_LINES = 40


def list_instance_logs(request: Request, sandbox: Backend) -> Response:
    """`GET /sandbox/logs`: the last lines of each instance's log; the one that was written last is last."""
    del request
    return Response(200, {"value": [{"name": name, "text": text} for name, text in sandbox.fleet.logs(_LINES)]})


ROUTES = (Route("GET", "/sandbox/logs", "Sandbox_ListLogs", list_instance_logs, Auth.ADMIN, known=OWN),)
