"""Deployments under traffic for a while: what the sandbox holds must not grow with the requests that it has served.

``OPSLIB_BENCH_SOAK_S`` is how long [s]: 600 for quoted figures. ``OPSLIB_BENCH_SOAK_DEPLOYMENTS`` (20) and
``OPSLIB_BENCH_SOAK_RPS`` (40) go with it. Without it two deployments serve for four seconds. ``-s`` prints memory
and open files.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rest_client import finish, make_endpoint
from sandbox_fixture import RunningSandbox, running_sandbox

from opslib.sandbox.cli.inventory import inventory
from opslib.sandbox.core.settings import Settings

SECONDS = float(os.environ.get("OPSLIB_BENCH_SOAK_S", "0"))
DEPLOYMENTS = int(os.environ.get("OPSLIB_BENCH_SOAK_DEPLOYMENTS", "20" if SECONDS else "2"))
RPS = float(os.environ.get("OPSLIB_BENCH_SOAK_RPS", "40"))
APP = Path(__file__).resolve().parents[2] / "contract" / "app"
ROUNDS = 10
GROWTH_BYTES = 24e6
"""Room for Python's own pools: a leak of 1 kB a request is 24 MB after ten minutes at 40 a second."""


@dataclass(frozen=True)
class Held:
    """What processes hold at one moment."""

    memory_bytes: int
    files: int


def held(*pids: int) -> Held:
    """Return the resident memory and the open files of processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return Held(
        pages * os.sysconf("SC_PAGE_SIZE"), sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    )


def add_deployments(sandbox: RunningSandbox, count: int) -> dict[str, int]:
    """Give the endpoint copies of its deployment, and an equal share of the traffic to each; return the shares."""
    endpoint = sandbox.endpoint_id("lasting")
    names = ["blue", *(f"copy-{number}" for number in range(1, count))]
    shares = {name: 100 // count + (place < 100 % count) for place, name in enumerate(names)}
    with sandbox.arm() as arm:
        blue = arm.get(f"{endpoint}/deployments/blue").json()
        kept = {key: blue["properties"][key] for key in ("model", "codeConfiguration", "instanceType")}
        properties = {**kept, "endpointComputeType": "Managed"}
        body: dict[str, Any] = {"location": blue["location"], "sku": blue["sku"], "properties": properties}
        for name in names[1:]:
            finish(arm, arm.put(f"{endpoint}/deployments/{name}", json=body))
        traffic = {"authMode": "Key", "traffic": shares}
        finish(arm, arm.put(endpoint, json={"location": blue["location"], "properties": traffic}))
    return shares


def serve(client: httpx.Client, uri: str, seconds: float) -> Counter[str]:
    """Send requests at the wanted rate; return how many each deployment answered."""
    seen, started_s = Counter[str](), time.monotonic()
    for number in range(int(seconds * RPS)):
        time.sleep(max(0.0, started_s + number / RPS - time.monotonic()))
        answer = client.post(uri, json={"data": [1, 2, 3]})
        assert answer.status_code == 200, answer.text
        seen[answer.headers["azureml-model-deployment"]] += 1
    return seen


def test_memory_and_open_files_stay_flat_under_traffic(tmp_path: Path):
    """Every deployment answers its share, and the last round holds no more than the second."""
    settings = Settings(max_requests_per_second=100_000, quota_cores=1000, operation_s=0.0)
    with running_sandbox(tmp_path / "home", settings) as sandbox:
        make_endpoint(sandbox, APP)
        shares = add_deployments(sandbox, DEPLOYMENTS)
        instances = [int(row[3].split()[1]) for row in inventory(sandbox.home) if row[0] == "instance"]
        assert len(instances) == DEPLOYMENTS
        with sandbox.arm() as arm:
            key = arm.post(f"{sandbox.endpoint_id('lasting')}/listKeys").json()["primaryKey"]
            uri = arm.get(sandbox.endpoint_id("lasting")).json()["properties"]["scoringUri"]
        seen, rounds = Counter[str](), []
        with sandbox.http(headers={"Authorization": f"Bearer {key}"}) as client:
            for _ in range(ROUNDS):
                seen += serve(client, uri, (SECONDS or 4.0) / ROUNDS)
                rounds.append((held(sandbox.note["pid"]), held(*instances)))
        for name, both in (
            ("sandbox", [one for one, _ in rounds]),
            (f"{DEPLOYMENTS} instances", [two for _, two in rounds]),
        ):
            first, last = both[1], both[-1]
            sent = seen.total()
            print(
                f"{name}: {first.memory_bytes / 1e6:.1f} MB and {first.files} files after {2 * sent // ROUNDS:,} "
                f"requests, {last.memory_bytes / 1e6:.1f} MB and {last.files} files after {sent:,}"
            )
            assert last.memory_bytes - first.memory_bytes < GROWTH_BYTES
            assert last.files <= first.files + 2
        assert set(seen) == set(shares)
