"""Restore traffic: idempotent, read again before each write, never over another change, through outages."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TypeVar

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.endpoint_changes import edit_tags, set_traffic, settle
from opslib.azure.endpoints import read_endpoint
from opslib.azure.scoring_client import scoring_client
from opslib.definitions.probes import Probe, read_probes
from opslib.errors import ApplyError, AzureError, ConnectError, DefinitionError, Drift, OpsError
from opslib.model import Endpoint, ProbeResult, Receipt, SetTraffic, Traffic
from opslib.model.traffic import describe_traffic, same_traffic
from opslib.runbooks.lease.tags import read_lease, release

T = TypeVar("T")

DEADLINE_S = 1800.0
"""How long an undo is tried through throttling and outages [seconds]."""

PERMANENT = frozenset({400, 403, 404})
"""HTTP statuses that a retry does not change."""

BUSY = "provisioning state"
"""In the refusal of a write during an operation, whose status is not documented: "because it is in Updating
provisioning state". Source: Azure/azure-sdk-for-net#36961."""


@dataclass(frozen=True)
class Undo:
    """The change that moved the traffic, the traffic from before, and the traffic maps that the change set.

    `mirrored` is the mirrored traffic that it set; there was none before.
    """

    endpoint: str
    change: str
    returns_to: Traffic
    made: tuple[Traffic, ...]
    mirrored: Traffic = field(default_factory=dict)


def print_progress(text: str) -> None:
    """Print the progress of an undo; unlike the run's own progress it needs no room on the disk."""
    print(text, flush=True)


def restore_traffic(
    workspace: Workspace,
    undo: Undo,
    progress: Progress,
    deadline_s: float = DEADLINE_S,
    pause: Callable[[float], None] = sleep,
) -> Receipt:
    """Restore the traffic and remove the lease in one request, which is retried.

    Parameters
    ----------
    workspace, undo
        Where, and what.
    progress
        Is called for every attempt that failed.
    deadline_s
        When to stop trying [seconds].
    pause
        Waits between attempts [seconds].

    Raises
    ------
    Drift
        If the change did not set the present traffic: another change did, and it is left alone.
    ApplyError
        If Azure refuses for good, or `deadline_s` has passed.
    """

    def once(left_s: float) -> Receipt:
        return _restore_once(workspace, undo, progress, max(30.0, left_s))

    return retry(once, f"traffic of {undo.endpoint} could not be restored", progress, deadline_s, pause)


def retry(
    once: Callable[[float], T],
    failure: str,
    progress: Progress,
    deadline_s: float,
    pause: Callable[[float], None] = sleep,
) -> T:
    """Retry a request to Azure through throttling and outages.

    Parameters
    ----------
    once
        One attempt; is called with the time that is left [seconds].
    failure
        Begins the error if no attempt succeeds.
    progress
        Is called for every attempt that failed.
    deadline_s
        When to stop trying [seconds].
    pause
        Waits between attempts [seconds].

    Raises
    ------
    Drift
        At once: a retry does not resolve another change.
    ApplyError
        If Azure refuses for good, or `deadline_s` has passed.
    """
    begun_s, attempt = monotonic(), 0
    while True:
        left_s = deadline_s - (monotonic() - begun_s)
        try:
            return once(left_s)
        except Drift:
            raise
        except (AzureError, ApplyError, ConnectError) as error:
            if _is_permanent(error) or left_s <= 0:
                raise ApplyError(f"{failure}: {error}") from error
            progress(f"retrying for {max(0.0, left_s):.0f} s: {error}")
            pause(min(2.0**attempt, 15.0, max(0.1, left_s)))
            attempt += 1


def _is_permanent(error: OpsError) -> bool:
    """Return whether Azure refuses for good. An operation that began since the last read only delays the undo."""
    return getattr(error, "status", None) in PERMANENT and BUSY not in str(error)


def _restore_once(workspace: Workspace, undo: Undo, progress: Progress, deadline_s: float) -> Receipt:
    settle(workspace, undo.endpoint, deadline_s, progress)
    endpoint = read_endpoint(workspace, undo.endpoint)
    lease = read_lease(endpoint.tags)
    if lease is not None and lease.change != undo.change:
        raise Drift(f"{undo.endpoint} is held by another change ({lease.change}): its traffic was left alone")
    if lease is not None:  # it holds what a damaged journal may not
        undo = replace(
            undo,
            returns_to=undo.returns_to or lease.returns_to,
            made=(*undo.made, lease.holds),
            mirrored=undo.mirrored or lease.mirrors,
        )
    now, mirror = endpoint.traffic, dict.fromkeys(undo.mirrored, 0)
    ours = bool(undo.mirrored) and same_traffic(endpoint.mirror_traffic, undo.mirrored)
    if ours and not same_traffic(now, undo.returns_to) and not _made(now, undo):
        set_traffic(workspace, SetTraffic(undo.endpoint, now, now, mirror=mirror), deadline_s, progress)
    elif ours:
        step = SetTraffic(undo.endpoint, now, undo.returns_to, mirror=mirror)
        return set_traffic(workspace, step, deadline_s, progress, release(undo.change))
    if same_traffic(now, undo.returns_to):
        return edit_tags(workspace, undo.endpoint, release(undo.change), deadline_s, progress)
    if not _made(now, undo):
        edit_tags(workspace, undo.endpoint, release(undo.change), deadline_s, progress)
        raise Drift(
            f"traffic of {undo.endpoint} is {describe_traffic(endpoint.traffic)}, which {undo.change} did not set: "
            f"it was left alone. Before that change it was {describe_traffic(undo.returns_to)}"
        )
    step = SetTraffic(undo.endpoint, endpoint.traffic, undo.returns_to)
    return set_traffic(workspace, step, deadline_s, progress, release(undo.change))


def _made(traffic: Traffic, undo: Undo) -> bool:
    """Return whether the change that is undone set this traffic."""
    return any(same_traffic(traffic, made) for made in undo.made)


def read_available_probes(path: str) -> tuple[Probe, ...]:
    """Read the probes of a run that is undone; none where the file is missing or was damaged since."""
    try:
        return read_probes(path) if path else ()
    except DefinitionError:
        return ()


def verify_arrival(
    workspace: Workspace, endpoint: Endpoint, probes: Collection[Probe], requests: int = 10
) -> tuple[ProbeResult, ...]:
    """Send live requests, as proof that the restored traffic arrives; none without probes.

    The answers are not compared: the probes may be for another version.
    """
    requests_alone = [Probe(probe.request) for probe in probes]
    if not requests_alone:
        return ()
    try:
        with scoring_client(workspace, endpoint) as client:
            return tuple(client.send_all(requests_alone, requests))
    except OpsError as error:
        return (ProbeResult(datetime.now(UTC), None, 0.0, "", "", f"not sent: {error}"),)


def describe_arrival(results: Collection[ProbeResult], returns_to: Traffic) -> str:
    """Return how many live requests arrived; empty where none were sent."""
    if not results:
        return ""
    expected = {name.lower() for name in returns_to}
    answered = [r for r in results if r.status == 200]
    arrived = sum(r.deployment.lower() in expected for r in answered)
    unnamed = sum(not r.deployment for r in answered)
    unknown = f", {unnamed} by a deployment that the answer does not name" if unnamed else ""
    return f"{arrived} of {len(results)} live requests were answered by {', '.join(sorted(expected))}{unknown}"
