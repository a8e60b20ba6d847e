"""What a sandbox serves: endpoints, deployments and instances, as rows to print."""

import json

from opslib.sandbox.cli.control import read_state
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import ProcessId


def inventory(home: Home) -> list[tuple[str, str, str, str]]:
    """Return (kind, name, state, details) of each endpoint, deployment and instance."""
    rows = []
    for kind, resource_id, text in read_state(home, "SELECT kind, id, body FROM resources ORDER BY sequence"):
        body = json.loads(text)
        names = resource_id.split("/")
        if kind == "onlineEndpoints":
            traffic = body["properties"]["traffic"] or {}
            rest = f"traffic {' '.join(f'{one}={weight}' for one, weight in traffic.items()) or 'none'}"
            rows.append(("endpoint", names[-1], body["properties"]["provisioningState"], rest))
        if kind == "deployments":
            rest = f"{body['properties']['instanceType']} x {body['sku']['capacity']}"
            rows.append(("deployment", f"{names[-3]}/{names[-1]}", body["properties"]["provisioningState"], rest))
    for deployment, pid, ticks, port in read_state(
        home, "SELECT deployment, pid, started_ticks, port FROM instances"
    ):
        names = deployment.split("/")
        state = "running" if ProcessId(pid, ticks).alive() else "gone"
        rows.append(("instance", f"{names[-3]}/{names[-1]}", state, f"pid {pid} port {port}"))
    return rows
