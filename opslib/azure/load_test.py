"""A load test of a deployment that takes no traffic: bounded in rate, time and requests at once, ended by failures.

Requests are sent at fixed times, whether or not earlier ones were answered (an open loop): a client that waits for
answers hides queues. Source: Schroeder, Wierman and Harchol-Balter (2006), "Open versus closed: a cautionary tale".
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import monotonic, sleep

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.scoring_client import scoring_client
from opslib.definitions.probes import Probe
from opslib.model import Deployment, Endpoint, ProbeResult
from opslib.sizing.recommend import LoadTest

MAX_AT_ONCE = 64
"""Requests of the test that wait for an answer at once; with more the test ends [count]."""

MAX_FAILURES = 3
"""Answers that are not as expected after which the test ends [count]."""

STEPS = (0.25, 0.5, 1.0)
"""Rate of each step of the test [fraction of the wanted rate]."""


def run_load_test(  # noqa: PLR0913 - what is tested, with what, and how hard
    workspace: Workspace,
    endpoint: Endpoint,
    deployment: Deployment,
    probes: Sequence[Probe],
    rate_per_s: float,
    duration_s: float,
    progress: Progress,
) -> tuple[LoadTest, ...]:
    """Send rising rates to one deployment alone, each for an equal part of the time; end where it fails."""
    found: list[LoadTest] = []
    with scoring_client(workspace, endpoint) as client, ThreadPoolExecutor(MAX_AT_ONCE) as pool:
        for step in STEPS:
            rate, results, stopped = rate_per_s * step, list[Future[ProbeResult]](), ""
            begun_s, requests = monotonic(), max(1, round(rate_per_s * step * duration_s / len(STEPS)))
            for number in range(requests):
                sleep(max(0.0, begun_s + number / rate - monotonic()))
                if stopped := _stop(results):
                    break
                results.append(pool.submit(client.send, probes[number % len(probes)], deployment.name))
            wait(results)
            stopped = stopped or _stop(results)
            found.append(
                _summary(deployment, rate, [one.result() for one in results], monotonic() - begun_s, stopped)
            )
            progress(f"load test of {deployment.name}: {len(results)} requests at {rate:g} per second. {stopped}")
            if stopped:
                break
    return tuple(found)


def _stop(results: Sequence[Future[ProbeResult]]) -> str:
    """Return why the test has to end; empty where it goes on."""
    failed = [one.result() for one in results if one.done() and not one.result().ok]
    if len(failed) >= MAX_FAILURES:
        return f"stopped after {len(failed)} failures, limit {MAX_FAILURES}: {failed[0].problem}"
    waiting = sum(not one.done() for one in results)
    return f"stopped: {waiting} requests wait at once, limit {MAX_AT_ONCE}" if waiting >= MAX_AT_ONCE else ""


def _summary(
    deployment: Deployment, rate: float, results: Sequence[ProbeResult], length_s: float, stopped: str
) -> LoadTest:
    latencies = sorted(one.latency_ms for one in results if one.ok)
    p95_ms = latencies[math.ceil(0.95 * len(latencies)) - 1] if latencies else None
    time_s = length_s * deployment.instance_count
    load, answered_per_s = (sum(latencies) / 1000 / time_s, len(latencies) / time_s) if time_s else (0.0, 0.0)
    failures = sum(not one.ok for one in results)
    return LoadTest(
        deployment.name,
        deployment.instance_type,
        rate,
        len(results),
        failures,
        load,
        p95_ms,
        stopped,
        answered_per_s,
    )
