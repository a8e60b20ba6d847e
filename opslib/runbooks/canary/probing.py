"""Own probes while a canary is watched: each is sent to both versions, interleaved, and compared in pairs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_scoring_key
from opslib.azure.scoring_client import ScoringClient, scoring_client
from opslib.definitions.probes import Probe
from opslib.definitions.tolerance import matches
from opslib.judge import Interval, PairedProbe, pair_probes, probe_order
from opslib.model import Endpoint, ProbeResult

GOLDEN = "golden"
"""Stands for a probe's expected answer."""

KEY_S = 240.0
"""How long a key or token is used: azure-identity gives none that expires within 300 s [seconds].

One for each round would be a thousand that the evidence is searched for, and as many entries of the activity log.
"""

_KEY_REFUSED = frozenset({401, 403})


@dataclass(frozen=True)
class ProbeRound:
    """Each probe sent once to both versions.

    Attributes
    ----------
    interval
        The round as the judge reads it; None where it could not be sent.
    results
        Every request, in order.
    problem
        Why the round could not be sent; empty where it was.
    """

    interval: Interval | None
    results: tuple[ProbeResult, ...] = ()
    problem: str = ""


class Probing:
    """Sends rounds of probes in its own thread, so that a hanging version does not block the watch or the lease."""

    def __init__(
        self,
        workspace: Workspace,
        endpoint: Endpoint,
        versions: Mapping[str, str],
        probes: Sequence[Probe],
        every_s: float,
    ) -> None:
        self._workspace = workspace
        self._endpoint = endpoint
        self._versions = versions
        self._probes = probes
        self._every_s = every_s
        self._rounds: SimpleQueue[ProbeRound] = SimpleQueue()
        self._ended = Event()
        self._begun = False
        self._key, self._key_read_s = "", 0.0
        self._alike: set[int] = set()

    def begin(self) -> None:
        """Start the rounds; does nothing if they were started before or there are no probes."""
        if self._probes and self._every_s > 0 and not self._begun:
            self._begun = True
            Thread(target=self._run, name="probing", daemon=True).start()

    def take(self) -> tuple[ProbeRound, ...]:
        """Return the rounds that ended since the last call."""
        taken: list[ProbeRound] = []
        while True:
            try:
                taken.append(self._rounds.get_nowait())
            except Empty:
                return tuple(taken)

    def _run(self) -> None:
        """Send rounds until ended, each `every_s` after the last one began."""
        number = 0
        while not self._ended.is_set():
            begun_s = monotonic()  # the time of day may be set
            try:
                with scoring_client(self._workspace, self._endpoint, key=self._read_key()) as client:
                    self._rounds.put(self._send_round(client, number, datetime.now(UTC)))
            except Exception as error:  # noqa: BLE001 - a dead thread would go unnoticed; the next round tries again
                self._rounds.put(ProbeRound(None, (), f"{type(error).__name__}: {error}"))
            number += 1
            self._ended.wait(max(0.0, begun_s + self._every_s - monotonic()))

    def end(self) -> None:
        """Stop after the request under way."""
        self._ended.set()

    def _read_key(self) -> str:
        """Return the endpoint's key or token, which is read again after a while, or where it was refused."""
        if not self._key or monotonic() - self._key_read_s > KEY_S:
            self._key, self._key_read_s = read_scoring_key(self._workspace, self._endpoint), monotonic()
        return self._key

    def _send_round(self, client: ScoringClient, number: int, begun: datetime) -> ProbeRound:
        begun_s, results = monotonic(), list[ProbeResult]()
        answers: dict[tuple[int, str], tuple[ProbeResult, Any]] = {}
        for question, arm in probe_order(len(self._probes), seed=number):
            if self._ended.is_set():
                break  # an incomplete pair does not count
            result, answer = client.send_and_read(self._probes[question], self._versions[arm])
            result = result if result.deployment else replace(result, deployment=self._versions[arm])
            answers[question, arm] = result, answer
            results.append(result)
            if result.status in _KEY_REFUSED:
                self._key = ""
        length_s = max(monotonic() - begun_s, 1e-3)
        found = [seen for question in range(len(self._probes)) for seen in self._compare(question, answers)]
        return ProbeRound(pair_probes(found, start_s=begun.timestamp(), length_s=length_s), tuple(results))

    def _compare(
        self, question: int, answers: Mapping[tuple[int, str], tuple[ProbeResult, Any]]
    ) -> Iterator[PairedProbe]:
        """Compare both answers to one probe; numbers that differ in their last digits are equal.

        The expected answer may be the new version's only. It is therefore required of both versions or of neither:
        of both once stable has given it in an earlier round. From then on a different answer is wrong, unless both
        versions gave the same one: equal versions with occasional errors must fail equally often, or chance would
        roll one of them back. Until then the canary's other answers count as changed; a share of them is allowed.
        """
        if (question, "stable") not in answers or (question, "canary") not in answers:
            return
        (stable, reference), (canary, answer) = answers[question, "stable"], answers[question, "canary"]
        golden = self._probes[question].answer is not None
        tolerance = self._probes[question].tolerance
        same = reference is not None and answer is not None and matches(answer, reference, tolerance)
        strict = question in self._alike
        if golden and stable.ok:
            self._alike.add(question)
        for arm, result, body in (("stable", stable, reference), ("canary", canary, reference if same else answer)):
            right = result.ok or (body is not None and (same or not strict))
            wanted = golden and (strict or arm == "stable" or result.ok or same)
            yield PairedProbe(
                pair=question,
                arm=arm,
                failed=not right,
                latency_ms=result.latency_ms if right else None,
                answer=(GOLDEN if wanted else _digest(body)) if right else "",
                golden=GOLDEN if strict else "",
            )


@contextmanager
def probing(
    workspace: Workspace, endpoint: Endpoint, versions: Mapping[str, str], probes: Sequence[Probe], every_s: float
) -> Iterator[Probing]:
    """Send rounds of probes to both versions while the context is open; none without probes or with 0 s.

    Parameters
    ----------
    workspace, endpoint
        Where they are sent.
    versions
        Names of the "stable" and the "canary" deployment.
    probes
        The requests, and the answers where they are known.
    every_s
        Time from the start of one round to the start of the next [seconds].
    """
    rounds = Probing(workspace, endpoint, versions, probes, every_s)
    try:
        yield rounds
    finally:
        rounds.end()


def _digest(answer: Any) -> str:
    return sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()
