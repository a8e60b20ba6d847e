"""`opslib sandbox traffic`: open-loop load whose latency counts from when a request was due.

Arrivals are Poisson and do not wait for answers, and each latency runs from the *scheduled* arrival, so a
server that stalls cannot slow its own examiner down (G. Tene, "coordinated omission").
"""

import argparse
import asyncio
import json
import random
import signal
import ssl
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from . import ids
from .home import Home


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    url: str
    key: str
    tls: ssl.SSLContext


@dataclass(frozen=True)
class Load:
    """What is sent: `rps` requests a second for `seconds`, each given up after `deadline_s`."""

    rps: float
    seconds: float
    deadline_s: float
    seed: int
    bodies: tuple[bytes, ...]

    def arrivals(self) -> Iterator[tuple[float, bytes]]:
        """Return (offset [s], body) of each request; the same for the same seed."""
        chance, at_s = random.Random(self.seed), 0.0  # noqa: S311 - a schedule, not a secret
        while (at_s := at_s + chance.expovariate(self.rps)) < self.seconds:
            yield at_s, chance.choice(self.bodies)


@dataclass
class Tally:
    """What came of it, by status and deployment."""

    report: TextIO
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Take one request's end, and write it down."""
        self.report.write(json.dumps(row) + "\n")
        self.counts[str(row["status"] or row["error"]), str(row["deployment"] or "-")] += 1
        self.latencies_ms.append(row["latency_ms"])

    def summary(self) -> str:
        """Return the table that is printed at the end."""
        ordered = sorted(self.latencies_ms)
        lines = [f"{len(ordered)} requests"]
        lines += [f"  {status:<20} {name:<32} {n}" for (status, name), n in sorted(self.counts.items())]
        if ordered:
            marks = ", ".join(
                f"p{p} {ordered[min(len(ordered) - 1, len(ordered) * p // 100)]:.1f}" for p in (50, 95, 99)
            )
            lines.append(f"latency [ms]: {marks}, max {ordered[-1]:.1f}")
        return "\n".join(lines)


def register(parser: argparse.ArgumentParser) -> None:
    """Add the word's arguments."""
    parser.add_argument("endpoint", help="name of the endpoint, in the sandbox's workspace")
    parser.add_argument("--rps", type=float, required=True, help="mean arrivals per second")
    parser.add_argument("--seconds", type=float, required=True, help="for how long requests arrive")
    parser.add_argument("--body-file", type=Path, required=True, help="JSON lines; each line is a request body")
    parser.add_argument(
        "--report", type=Path, required=True, help="where each request's end is written, JSON lines"
    )
    parser.add_argument("--deadline-s", type=float, default=10.0, help="a request is given up after this [s]")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals and choice of bodies")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the load; print a summary; 1 when it could not be sent at all."""
    note = Home.find(arguments.home).read_note()
    bodies = tuple(
        line.encode() for line in arguments.body_file.read_text(encoding="utf-8").splitlines() if line.strip()
    )
    if note is None or not bodies or arguments.rps <= 0:
        print(
            "traffic needs a sandbox that is up, a body file with at least one line, and --rps above 0.",
            file=sys.stderr,
        )
        return 1
    load = Load(arguments.rps, arguments.seconds, arguments.deadline_s, arguments.seed, bodies)
    with arguments.report.open("w", encoding="utf-8", buffering=1) as report:
        tally = Tally(report)
        try:
            asyncio.run(_send(note, arguments.endpoint, load, tally))
        except LookupError as error:
            print(error.args[0], file=sys.stderr)
            return 1
    print(tally.summary())
    return 0


async def _send(note: dict[str, Any], endpoint: str, load: Load, tally: Tally) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for word in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(word, stop.set)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        target = await _find(http, note, endpoint)
        prefix, pending = f"load-{uuid.uuid4().hex[:8]}", set[asyncio.Task[None]]()
        began, wall = loop.time(), time.time()
        for number, (offset_s, body) in enumerate(load.arrivals()):
            if await _stopped(stop, began + offset_s - loop.time()):
                break
            request = _request(http, target, f"{prefix}-{number}", body, began + offset_s + load.deadline_s)
            task = loop.create_task(
                _measure(request, tally, (began + offset_s, wall + offset_s, f"{prefix}-{number}"))
            )
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)


async def _stopped(stop: asyncio.Event, for_s: float) -> bool:
    """Wait until the next arrival is due; answer whether the load was told to stop."""
    if for_s <= 0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        async with asyncio.timeout(for_s):
            return await stop.wait()
    except TimeoutError:
        return False


async def _measure(request: Any, tally: Tally, due: tuple[float, float, str]) -> None:
    due_s, wall_s, client_id = due
    status, deployment, error = await request
    latency_ms = (asyncio.get_running_loop().time() - due_s) * 1000
    row = {
        "at": datetime.fromtimestamp(wall_s, UTC).isoformat().replace("+00:00", "Z"),
        "status": status,
        "latency_ms": round(latency_ms, 3),
        "deployment": deployment,
        "client_request_id": client_id,
        "error": error,
    }
    tally.add(row)


async def _request(
    http: aiohttp.ClientSession, target: Target, client_id: str, body: bytes, deadline: float
) -> tuple[int | None, str | None, str | None]:
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": "application/json",
        "x-ms-client-request-id": client_id,
    }
    try:
        async with (
            asyncio.timeout_at(deadline),
            http.post(target.url, data=body, headers=headers, ssl=target.tls) as response,
        ):
            await response.read()
            return response.status, response.headers.get("azureml-model-deployment"), None
    except TimeoutError:
        return None, None, "deadline"
    except aiohttp.ClientError as error:
        return None, None, type(error).__name__


async def _find(http: aiohttp.ClientSession, note: dict[str, Any], endpoint: str) -> Target:
    """Ask ARM for the endpoint's address and key, as any client would."""
    env, workspace = note["environment"], note["workspace"]
    tls = ssl.create_default_context(cafile=env["REQUESTS_CA_BUNDLE"])
    query = {"resource": note["url"], "api-version": "2019-08-01"}
    secret = {"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]}
    async with http.get(env["IDENTITY_ENDPOINT"], params=query, headers=secret, ssl=tls) as answer:
        token = (await answer.json())["access_token"]
    names = {
        "subscription": workspace["subscription_id"],
        "group": workspace["resource_group"],
        "workspace": workspace["workspace_name"],
        "endpoint": endpoint,
    }
    address = note["url"] + ids.endpoint_id(names)
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get(address, headers=headers, ssl=tls) as answer:
        if answer.status != 200:
            raise LookupError(f"endpoint '{endpoint}' cannot be read: HTTP {answer.status}. Create it first.")
        url = (await answer.json())["properties"]["scoringUri"]
    async with http.post(f"{address}/listKeys", headers=headers, ssl=tls) as answer:
        if answer.status != 200:
            raise LookupError(
                f"endpoint '{endpoint}' has no keys (HTTP {answer.status}): traffic needs authMode Key."
            )
        return Target(url, (await answer.json())["primaryKey"], tls)
