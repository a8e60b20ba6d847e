"""Open-loop load whose latency counts from when a request was due.

Arrivals are Poisson and do not wait for answers, and each latency runs from the *scheduled* arrival, so a
server that stalls cannot slow the measurement down (G. Tene, "coordinated omission").
"""

import asyncio
import json
import random
import signal
import ssl
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

import aiohttp

from opslib.sandbox.core import ids

_PERCENTS = (50, 95, 99)
_SCORING_AUDIENCE = "https://ml.azure.com"


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
class LoadReport:
    """The results of a load, by deployment and status.

    Attributes
    ----------
    report
        File for the result of each request; None: no file.
    latencies_ms
        Since the request was due; a request that was given up counts with its deadline.
    late_ms
        Longest delay of a request by the load source itself.
    """

    report: TextIO | None = None
    latencies_ms: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    late_ms: float = 0.0

    def add(self, row: dict[str, Any]) -> None:
        """Record the result of one request."""
        if self.report is not None:
            self.report.write(json.dumps(row) + "\n")
        who, what = str(row["deployment"] or "-"), str(row["status"] or row["error"])
        self.latencies_ms.setdefault((who, what), []).append(row["latency_ms"])
        self.late_ms = max(self.late_ms, row["late_ms"])

    def summary(self) -> str:
        """Return the table that is printed at the end."""
        groups = [(*names, sorted(self.latencies_ms[names])) for names in sorted(self.latencies_ms)]
        everything = sorted(latency for *_, latencies in groups for latency in latencies)
        lines = [f"{len(everything)} requests"]
        if everything:
            heads = ("deployment", "status", "requests", *(f"p{percent} ms" for percent in _PERCENTS), "max ms")
            lines.append("  {:<32} {:<20} {:>8} {:>9} {:>9} {:>9} {:>9}".format(*heads))
            lines += [_line(*group) for group in (*groups, ("all", "", everything))]
            lines.append(f"sent at most {self.late_ms:.1f} ms after they were due; latencies include that")
        return "\n".join(lines)


def _line(deployment: str, status: str, latencies_ms: list[float]) -> str:
    count = len(latencies_ms)
    marks = [latencies_ms[min(count - 1, count * percent // 100)] for percent in _PERCENTS]
    cells = " ".join(f"{mark:>9.1f}" for mark in (*marks, latencies_ms[-1]))
    return f"  {deployment:<32} {status:<20} {count:>8} {cells}"


def send(note: dict[str, Any], endpoint: str, load: Load, report: TextIO | None) -> LoadReport:
    """Send a load to an endpoint of the sandbox that a note describes.

    Raises
    ------
    LookupError
        If there is no such endpoint.
    """
    results = LoadReport(report)
    asyncio.run(_send(note, endpoint, load, results))
    return results


async def _send(note: dict[str, Any], endpoint: str, load: Load, results: LoadReport) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop.set)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        target = await _find(http, note, endpoint)
        prefix, pending = f"load-{uuid.uuid4().hex[:8]}", set[asyncio.Task[None]]()
        began, wall = loop.time(), time.time()
        for number, (offset_s, body) in enumerate(load.arrivals()):
            if await _stopped(stop, began + offset_s - loop.time()):
                break
            request = _request(http, target, f"{prefix}-{number}", body, began + offset_s + load.deadline_s)
            task = loop.create_task(
                _measure(request, results, (began + offset_s, wall + offset_s, f"{prefix}-{number}"))
            )
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)


async def _stopped(stop: asyncio.Event, for_s: float) -> bool:
    """Wait until the next arrival is due; return whether the load was stopped."""
    if for_s <= 0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        async with asyncio.timeout(for_s):
            return await stop.wait()
    except TimeoutError:
        return False


async def _measure(request: Any, results: LoadReport, due: tuple[float, float, str]) -> None:
    (due_s, wall_s, client_id), loop = due, asyncio.get_running_loop()
    late_ms = (loop.time() - due_s) * 1000
    status, deployment, error = await request
    latency_ms = (loop.time() - due_s) * 1000
    row = {
        "at": datetime.fromtimestamp(wall_s, UTC).isoformat().replace("+00:00", "Z"),
        "status": status,
        "latency_ms": round(latency_ms, 3),
        "late_ms": round(max(0.0, late_ms), 3),
        "deployment": deployment,
        "client_request_id": client_id,
        "error": error,
    }
    results.add(row)


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
    """Read the endpoint's address and credential from ARM, as any client does."""
    workspace = note["workspace"]
    tls = ssl.create_default_context(cafile=note["environment"]["REQUESTS_CA_BUNDLE"])
    names = {
        "subscription": workspace["subscription_id"],
        "group": workspace["resource_group"],
        "workspace": workspace["workspace_name"],
        "endpoint": endpoint,
    }
    address = note["url"] + ids.endpoint_id(names)
    headers = {"Authorization": f"Bearer {await _token(http, note, tls, note['url'])}"}
    async with http.get(address, headers=headers, ssl=tls) as answer:
        if answer.status != 200:
            raise LookupError(
                f"endpoint '{endpoint}' could not be read: HTTP {answer.status}. `opslib sandbox status` lists "
                "what is there"
            )
        properties = (await answer.json())["properties"]
    if properties["authMode"] == "AADToken":
        return Target(properties["scoringUri"], await _token(http, note, tls, _SCORING_AUDIENCE), tls)
    verb, name = {"Key": ("listKeys", "primaryKey"), "AMLToken": ("token", "accessToken")}[properties["authMode"]]
    async with http.post(f"{address}/{verb}", headers=headers, ssl=tls) as answer:
        if answer.status != 200:
            raise LookupError(f"endpoint '{endpoint}' returned no {name}: HTTP {answer.status}.")
        return Target(properties["scoringUri"], (await answer.json())[name], tls)


async def _token(http: aiohttp.ClientSession, note: dict[str, Any], tls: ssl.SSLContext, audience: str) -> str:
    """Get the operator's token from the managed-identity endpoint."""
    env, query = note["environment"], {"resource": audience, "api-version": "2019-08-01"}
    secret = {"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]}
    async with http.get(env["IDENTITY_ENDPOINT"], params=query, headers=secret, ssl=tls) as answer:
        return str((await answer.json())["access_token"])
