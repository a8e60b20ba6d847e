"""Own probes while a canary is watched: every question to both versions, interleaved and so paired."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from opslib.azure.connect import Workspace
from opslib.azure.scoring_client import Probe, ScoringClient, matches, scoring_client
from opslib.judge import Interval, PairedProbe, pair_probes, probe_order
from opslib.model import Endpoint, ProbeResult

GOLDEN = "golden"
"""Stands for the answer that a probe expects, whatever it is."""


@dataclass(frozen=True)
class ProbeRound:
    """Every question put to both versions once.

    Attributes
    ----------
    interval
        What the judge sees of it; None where the round could not be asked.
    results
        Every request that was sent, in order.
    problem
        Why the round could not be asked; empty where it was.
    """

    interval: Interval | None
    results: tuple[ProbeResult, ...] = ()
    problem: str = ""


class Probing:
    """Asks round after round in a thread of its own: a version that hangs holds up neither watch nor lease."""

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
        self._alike: set[int] = set()

    def begin(self) -> None:
        """Begin to ask, if that was not done before and there is something to ask."""
        if self._probes and self._every_s > 0 and not self._begun:
            self._begun = True
            Thread(target=self._run, name="probing", daemon=True).start()

    def take(self) -> tuple[ProbeRound, ...]:
        """Take the rounds that were finished since the last call."""
        taken: list[ProbeRound] = []
        while True:
            try:
                taken.append(self._rounds.get_nowait())
            except Empty:
                return tuple(taken)

    def _run(self) -> None:
        """Ask until ended, a round `every_s` after the last one began."""
        number = 0
        while not self._ended.is_set():
            begun = datetime.now(UTC)
            try:
                with scoring_client(self._workspace, self._endpoint) as client:
                    self._rounds.put(self._ask_all(client, number, begun))
            except Exception as error:  # noqa: BLE001 - a thread that dies is missed by nobody; the next round tries again
                self._rounds.put(ProbeRound(None, (), f"{type(error).__name__}: {error}"))
            number += 1
            self._ended.wait(max(0.0, self._every_s - (datetime.now(UTC) - begun).total_seconds()))

    def end(self) -> None:
        """Send nothing more, once the request under way is answered."""
        self._ended.set()

    def _ask_all(self, client: ScoringClient, number: int, begun: datetime) -> ProbeRound:
        results: list[ProbeResult] = []
        answers: dict[tuple[int, str], tuple[ProbeResult, Any]] = {}
        for question, arm in probe_order(len(self._probes), seed=number):
            if self._ended.is_set():
                break  # a pair that is not whole does not count
            result, answer = client.send_and_read(self._probes[question], self._versions[arm])
            result = result if result.deployment else replace(result, deployment=self._versions[arm])
            answers[question, arm] = result, answer
            results.append(result)
        length_s = max((datetime.now(UTC) - begun).total_seconds(), 1e-3)
        found = [seen for question in range(len(self._probes)) for seen in self._compare(question, answers)]
        return ProbeRound(pair_probes(found, start_s=begun.timestamp(), length_s=length_s), tuple(results))

    def _compare(
        self, question: int, answers: Mapping[tuple[int, str], tuple[ProbeResult, Any]]
    ) -> Iterator[PairedProbe]:
        """Describe both answers to one question; numbers that differ in their last digits are the same answer.

        The expected answer may be the new version's alone, so that it is wanted of both or of none: of both once
        stable has given it in an earlier round. Another one is wrong then, unless both versions gave that. Equal
        versions that err now and then must fail equally often, or chance would roll one of them back. Until then
        the canary's other answers count as changed ones, of which a share is allowed.
        """
        if (question, "stable") not in answers or (question, "canary") not in answers:
            return
        (stable, reference), (canary, answer) = answers[question, "stable"], answers[question, "canary"]
        golden = self._probes[question].answer is not None
        same = reference is not None and answer is not None and matches(answer, reference)
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
    """Ask both versions in rounds, once begun, as long as the context is open; without probes or with 0 s, never.

    Parameters
    ----------
    workspace, endpoint
        Where.
    versions
        Name of the deployment that is "stable", and of the one that is "canary".
    probes
        The questions.
    every_s
        From the beginning of one round to that of the next [seconds].
    """
    rounds = Probing(workspace, endpoint, versions, probes, every_s)
    try:
        yield rounds
    finally:
        rounds.end()


def _digest(answer: Any) -> str:
    return sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()
