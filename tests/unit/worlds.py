"""Small worlds that the unit tests start from."""

from opslib.model import Deployment, Endpoint


def deployment(name, state="Succeeded", instances=1):
    return Deployment(
        name, state, f"{name}:1", "env:1", "code:1", "Standard_DS3_v2", instances, 1, {"id": f"/{name}"}
    )


def endpoint(traffic=None, *deployments, state="Succeeded", mirror=None):
    return Endpoint(
        "fraud",
        state,
        "Key",
        "https://127.0.0.1/score",
        traffic or {},
        mirror or {},
        {},
        deployments,
        {"id": "/fraud"},
    )
