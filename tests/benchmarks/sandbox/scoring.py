"""The scoring plane beside the bare inference server: `python tests/benchmarks/sandbox/scoring.py [--rps 200]`.

Both are the very same process of the same instance: once directly, once through the sandbox (TLS, key,
traffic split, telemetry). Open loop: requests leave at the times of a Poisson process, whatever came back, and
latency is counted from the time at which a request should have left. The two take turns, so that whatever else
the machine does meets both. Then a closed loop measures how many requests per second each can take.
"""

import argparse
import asyncio
import json
import random
import ssl
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import uvloop

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[3]), str(HERE.parents[2])]

from rest_client import make_endpoint  # noqa: E402 - the path is set above
from sandbox_fixture import RunningSandbox, running_sandbox  # noqa: E402

from opslib.sandbox.cli.inventory import inventory  # noqa: E402
from opslib.sandbox.core.process import group_usage  # noqa: E402
from opslib.sandbox.core.settings import Settings  # noqa: E402

BODY = json.dumps({"data": [1, 2, 3]}).encode()


class Target:
    """Keep-alive connections to one address; plain HTTP/1.1, so that the client costs next to nothing."""

    def __init__(self, port: int, path: str, key: str, trust: ssl.SSLContext | None) -> None:
        self._port, self._trust = port, trust
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        self._request = (
            head + f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self) -> None:
        """Send one request and read its answer; anything but 200 is an error."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))


async def open_loop(target: Target, rps: float, requests: int, seed: int) -> list[float]:
    """Return latencies [ms] of requests that leave as a Poisson process."""
    draws = random.Random(seed)  # noqa: S311 - arrivals, not secrets
    start_s, at_s, tasks = time.perf_counter(), 0.0, []

    async def one(due_s: float) -> float:
        await target.ask()
        return (time.perf_counter() - due_s) * 1000

    for _ in range(requests):
        at_s += draws.expovariate(rps)
        await asyncio.sleep(max(0.0, start_s + at_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one(start_s + at_s)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(target: Target, clients: int, seconds: float) -> float:
    """Return requests per second of clients that ask again as soon as they are answered."""
    end_s, counts = time.perf_counter() + seconds, []

    async def client() -> None:
        count = 0
        while time.perf_counter() < end_s:
            await target.ask()
            count += 1
        counts.append(count)

    await asyncio.gather(*(client() for _ in range(clients)))
    return sum(counts) / seconds


async def measure(bare: Target, through: Target, daemon: int, rps: float, requests: int, rounds: int) -> None:
    """Print both, side by side, and the processor time that the sandbox's own process takes for a request."""
    await open_loop(bare, rps, 100, 0)
    await open_loop(through, rps, 100, 0)
    latencies: dict[str, list[float]] = {"bare": [], "sandbox": []}
    used_s = 0.0
    for turn in range(rounds):
        latencies["bare"] += await open_loop(bare, rps, requests, turn)
        before_s = group_usage(daemon, {daemon: [daemon]}).cpu_s
        latencies["sandbox"] += await open_loop(through, rps, requests, turn)
        used_s += group_usage(daemon, {daemon: [daemon]}).cpu_s - before_s
    for name, values in latencies.items():
        cuts = statistics.quantiles(values, n=100)
        print(f"{name:<8} at {rps:g}/s: median {cuts[49]:.2f} ms, p90 {cuts[89]:.2f} ms, p99 {cuts[98]:.2f} ms")
    added = statistics.median(latencies["sandbox"]) - statistics.median(latencies["bare"])
    print(f"added median latency: {added:.2f} ms")
    print(f"processor time of the sandbox's process: {1000 * used_s / rounds / requests:.2f} ms per request")
    rates = [await closed_loop(target, 8, 3.0) for target in (bare, through)]
    print(f"closed loop of 8: bare {rates[0]:.0f}/s, sandbox {rates[1]:.0f}/s, ratio {rates[1] / rates[0]:.2f}")


def targets(sandbox: RunningSandbox) -> tuple[Target, Target]:
    """Return the bare server and the sandbox before it."""
    port = next(int(row[3].split()[3]) for row in inventory(sandbox.home) if row[0] == "instance")
    endpoint = sandbox.endpoint_id("lasting")
    with sandbox.arm() as arm:
        key = arm.post(f"{endpoint}/listKeys").json()["primaryKey"]
        uri = arm.get(endpoint).json()["properties"]["scoringUri"]
    trust = ssl.create_default_context(cafile=sandbox.home.authority)
    path = "/" + uri.split("/", 3)[3]
    return Target(port, "/score", key, None), Target(int(sandbox.url.rsplit(":", 1)[1]), path, key, trust)


def main() -> None:
    """Measure with the arguments given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rps", type=float, default=200.0)
    parser.add_argument("--requests", type=int, default=1000, help="in each of the rounds")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sandbox(Path(folder), Settings(max_requests_per_second=100_000)) as sandbox,
    ):
        make_endpoint(sandbox, HERE.parents[2] / "contract" / "app")
        bare, through = targets(sandbox)
        uvloop.run(measure(bare, through, sandbox.note["pid"], arguments.rps, arguments.requests, arguments.rounds))


if __name__ == "__main__":
    main()
