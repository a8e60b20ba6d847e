"""Proof by requests of which deployment answers them, and that all traffic arrives at one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from opslib.azure.arm import Progress
from opslib.azure.connect import Workspace
from opslib.azure.scoring_client import TIMEOUT_S, ScoringClient, scoring_client
from opslib.azure.source import find_source
from opslib.definitions.probes import Probe
from opslib.errors import ObserveError
from opslib.model import Endpoint, ProbeResult
from opslib.runbooks.steps.observe import read_source

PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Pause after live requests that did not all arrive, doubled each time: a version that fails at once would get
thousands of them, and the evidence hold their results [seconds]."""


@dataclass(frozen=True)
class Arrival:
    """Whether the requests arrived as expected, and the reason in words.

    `first_at` is when the first of them was answered; None where none was [UTC].
    """

    verified: bool
    reason: str
    first_at: datetime | None = None
    requests: int = 0
    probes: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True)
class ArrivalCheck:
    """What is verified.

    Attributes
    ----------
    workspace, endpoint
        Where requests are sent or counted.
    to
        Deployment that must answer them.
    requests
        Requests that must arrive [count].
    timeout_s
        Longest wait until they do [seconds].
    progress
        Is called with the number that arrived so far.
    """

    workspace: Workspace
    endpoint: Endpoint
    to: str
    requests: int
    timeout_s: float
    progress: Progress

    def by_probes(self, probes: Sequence[Probe]) -> Arrival:
        """Send live requests until enough in a row got the expected answer, from the right deployment.

        At least one is sent. Of a version that hangs, none is awaited for longer than `timeout_s`.
        """
        until_s, to, pause_s = monotonic() + self.timeout_s, self.to, PAUSE_S
        sent: list[ProbeResult] = []
        good: list[ProbeResult] = []
        with scoring_client(self.workspace, self.endpoint, min(TIMEOUT_S, max(1.0, self.timeout_s))) as client:
            while len(good) < self.requests and (not sent or monotonic() < until_s):
                wanted = [probes[n % len(probes)] for n in range(len(sent), len(sent) + self.requests - len(good))]
                batch = self._send(client, wanted, until_s)
                sent += batch
                arrived = [result for result in batch if self._arrived(result)]
                whole = len(arrived) == len(batch)
                good = [*good, *arrived] if whole else []
                self._report(good)
                if not whole:
                    sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if len(good) < self.requests:
            bad = next((result for result in reversed(sent) if not result.ok), None)
            why = bad.problem if bad else f"answered by {sent[-1].deployment or 'an unknown deployment'}"
            reason = (
                f"traffic is set to {to}, but {len(good)} of {self.requests} live requests arrived there; "
                f"the last: {why}"
            )
            return Arrival(False, reason, None, len(good), tuple(sent))
        return self._verified(good, sent)

    def by_sent(self, sent: Sequence[ProbeResult]) -> Arrival | None:
        """Return what requests show that were sent before; None unless enough of them arrived, and no other did."""
        if len(sent) < self.requests or not all(map(self._arrived, sent)):
            return None
        self._report(sent)
        return self._verified(sent, sent)

    def _arrived(self, result: ProbeResult) -> bool:
        return result.answered_by(self.to)

    def _report(self, good: Sequence[ProbeResult]) -> None:
        self.progress(f"{len(good)} of {self.requests} live requests in a row answered by {self.to}")

    def _verified(self, good: Sequence[ProbeResult], sent: Sequence[ProbeResult]) -> Arrival:
        first = good[0].sent_at + timedelta(milliseconds=good[0].latency_ms)
        reason = f"{self.to} takes all traffic: {self.requests} of {self.requests} live requests verified"
        return Arrival(True, reason, first, self.requests, tuple(sent))

    def by_users(self) -> Arrival:
        """Wait until users' requests are answered by the deployment, and by it alone."""
        since, begun_s, to, seen = datetime.now(UTC), monotonic(), self.to, 0
        try:
            source = find_source(self.workspace, self.endpoint)
        except ObserveError as error:
            return Arrival(False, f"traffic is set to {to}, but could not be verified: {error}")
        while monotonic() - begun_s < self.timeout_s:
            now = datetime.now(UTC)
            observation = read_source(source, since, now, late_data_s=0.0).observation
            served = observation.of(to)
            seen = served.requests if served else 0
            if len(observation.total) > bool(served):
                since = now  # requests that were under way when the traffic moved
            elif seen >= self.requests:
                first = min(interval.start for interval in observation.intervals if interval.served)
                reason = f"{to} takes all traffic: {seen} users' requests seen"
                return Arrival(True, reason, max(first, since), seen)
            self.progress(f"{seen} of {self.requests} users' requests seen at {to}")
            sleep(min(source.grain_s, 10.0))
        reason = (
            f"traffic is set to {to}, but {seen} of {self.requests} users' requests were seen there; "
            "pass probes=FILE.jsonl to verify it by requests of this run"
        )
        return Arrival(False, reason, None, seen)

    def _send(self, client: ScoringClient, probes: Sequence[Probe], until_s: float) -> list[ProbeResult]:
        """Send a batch, or what there is time for; the answers name the deployment, else the source does."""
        results = []
        for probe in probes:
            results.append(client.send(probe))
            if monotonic() >= until_s:
                break
        return name_deployments(self.workspace, self.endpoint, results)


def name_deployments(workspace: Workspace, endpoint: Endpoint, results: Sequence[ProbeResult]) -> list[ProbeResult]:
    """Add from the request log which deployment answered, where an answer does not name it."""
    unnamed = [result for result in results if result.ok and not result.deployment]
    named = _look_up(workspace, endpoint, unnamed) if unnamed else {}
    return [replace(one, deployment=named.get(one.client_request_id, one.deployment)) for one in results]


def _look_up(workspace: Workspace, endpoint: Endpoint, results: Sequence[ProbeResult]) -> dict[str, str]:
    try:
        source = find_source(workspace, endpoint)
        if not source.per_request:
            return {}
        sleep(source.grain_s)
        found = source.answered_by([r.client_request_id for r in results], results[0].sent_at)
        return {request: exposure.deployment for request, exposure in found.items()}
    except ObserveError:
        return {}
