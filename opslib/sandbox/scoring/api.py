"""Handler: scoring, any method below an endpoint's address."""

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import RECORDED, Auth, Known, Route
from opslib.sandbox.core.context import Backend


async def score(request: Request, sandbox: Backend) -> Response:
    """Score: any method below an endpoint's address."""
    return await sandbox.gateway.score(request)


ROUTES = tuple(
    Route(method, "/inference/{location}/{endpoint}/{rest*}", "Scoring_Score", score, Auth.KEY_OR_TOKEN, known)
    for method, known in (
        ("GET", Known.DOCUMENTED),
        ("POST", RECORDED),
        ("PUT", Known.DOCUMENTED),
        ("OPTIONS", Known.DOCUMENTED),
    )
)
