"""A route: one operation of an API, its address, its handler, and how its caller authenticates.

Each module of handlers declares its own `ROUTES`; `server/routes.py` joins them in one table. In a template
`{name}` is one segment, `{name*}` any number of them, `{name:a|b}` one of the named ones; literal segments match in
any case, as in ARM.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.core.context import Backend

Handler = Callable[[Request, Backend], Response | Awaitable[Response]]

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
MACHINE_LEARNING = "/providers/Microsoft.MachineLearningServices"
WORKSPACE = GROUP + MACHINE_LEARNING + "/workspaces/{workspace}"
ENDPOINT = WORKSPACE + "/onlineEndpoints/{endpoint}"
LOCATION = SUBSCRIPTION + MACHINE_LEARNING + "/locations/{location}"
INSIGHTS = "/providers/Microsoft.Insights"
ANY_SCOPE = "/{scope*}"


class Auth(Enum):
    """How the caller of a route authenticates."""

    ARM = "a bearer token for Azure Resource Manager; the caller's roles decide"
    LOGS = "a bearer token for the Log Analytics query API; the caller's roles decide"
    DISCOVERY = "a bearer token for Azure Resource Manager or for Azure ML; no role is needed"
    ADMIN = "the secret in the sandbox's home, in the header X-IDENTITY-HEADER"
    BLOB = "a container's signature, an account's key, or a bearer token for storage"
    KEY_OR_TOKEN = "an endpoint's key or token; checked by the scoring gateway"
    OPEN = "nothing, or what the handler itself reads"


class Known(Enum):
    """How it is known what the service answers."""

    RECORDED = (
        "compared with an HTTP recording of the service: status, headers, keys, types and nulls of its success"
    )
    DOCUMENTED = "as the service's specification or documentation has it; not compared with the service"
    ASSUMED = "the address is documented, what the service then answers or does is not"
    OWN = "the sandbox's own operation; Azure has none like it"


RECORDED, ASSUMED, OWN = Known.RECORDED, Known.ASSUMED, Known.OWN
CONTROL_PLANE = (Auth.ARM, Auth.LOGS, Auth.DISCOVERY)


@dataclass(frozen=True)
class Route:
    """One operation; without a handler it is known and not built."""

    method: str
    template: str
    operation: str
    handler: Handler | None
    auth: Auth = Auth.ARM
    known: Known = Known.DOCUMENTED
