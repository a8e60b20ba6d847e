"""The judge at work in a run: what it is shown, and where its evidence is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opslib.azure.request_log import RequestLog
from opslib.azure.source import Source
from opslib.errors import ObserveError
from opslib.evidence.run.files import JUDGE_STATE
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import write_atomically
from opslib.judge import (
    Criteria,
    Interval,
    IntervalResult,
    Revision,
    State,
    Verdict,
    begin,
    describe,
    judge,
    next_stage,
    probe_stop,
    revisions,
    set_reference,
    settled_intervals,
    to_json,
    to_record,
    traffic_stop,
    wanted_thresholds_ms,
)
from opslib.model import Endpoint, Observation, ProbeResult, ServedInterval
from opslib.parameters import CanaryParameters
from opslib.runbooks.canary.cohorts import Cohorts
from opslib.runbooks.canary.forecast import quantiles_of, reference_ms
from opslib.runbooks.canary.judge_settings import criteria_of, digest
from opslib.runbooks.canary.probing import ProbeRound
from opslib.runbooks.canary.resumption import resume
from opslib.runbooks.canary.source_intervals import counts_alone, to_interval, without_probes
from opslib.runbooks.run import Run

PROBE_ROUNDS_KEPT = 10
"""Rounds of own probes that a hard stop looks back on, and more [count]."""


@dataclass
class JudgeSession:
    """Where one canary is judged: criteria, the evidence so far, and every line that led to it."""

    run: Run[CanaryParameters]
    source: Source
    criteria: Criteria
    state: State
    stable: str
    canary: str
    cohorts: Cohorts | None = None
    refreshed: bool = False
    lines: tuple[IntervalResult, ...] = ()
    judged: tuple[Interval, ...] = ()
    revised: tuple[Revision, ...] = ()
    unripe: tuple[Interval, ...] = ()
    rounds: tuple[Interval, ...] = ()
    probed: tuple[ProbeResult, ...] = ()

    @classmethod
    def open(cls, run: Run[CanaryParameters], before: Endpoint, source: Source, canary: str) -> "JudgeSession":
        """Begin without evidence, or go on where an earlier run of the same release stopped."""
        stable = before.stable or ""
        criteria = criteria_of(run.parameters, source.name)
        names = {
            "endpoint": before.id.lower(),
            "stable": digest(before.find(stable)),
            "canary": digest(before.find(canary)),
        }
        state = None if run.parameters.rehearse else resume(run, criteria, names)
        if state is None:
            state = begin(criteria, **names, reference_ms=reference_ms(run, source, criteria, stable))
        session = cls(run, source, criteria, state, stable, canary, _open_cohorts(run, source))
        session._write_state()
        return session

    @property
    def versions(self) -> dict[str, str]:
        """Name of the deployment that plays each role."""
        return {"stable": self.stable, "canary": self.canary}

    def thresholds_ms(self) -> tuple[float, ...]:
        """Latencies at which the next look must count."""
        return wanted_thresholds_ms(self.state, self.criteria)

    def refresh_reference(self) -> None:
        """Cut latency at quantiles of stable from the warm-up, which is not judged: older ones may be stale.

        What was slow an hour ago may be rare now, and nothing is shown at a latency that nobody reaches. Where
        nothing was known before, they are taken as soon as they are.
        """
        first_s, until_s = self.state.first_canary_s, datetime.now(UTC).timestamp() - self.lag_s
        known = bool(self.state.reference_ms)
        if self.refreshed or self.source.name == "metrics" or first_s is None or (known and self.state.judged):
            return
        warm_s = first_s + self.criteria.warm_up_s
        if until_s < warm_s:
            return
        since, until = (datetime.fromtimestamp(at, UTC) for at in (first_s, warm_s if known else until_s))
        try:
            found = quantiles_of(self.source, self.criteria, self.stable, since, until) if since < until else ()
        except ObserveError:
            return  # the look tells why; the next one tries again
        if found:
            self.state = set_reference(self.state, self.criteria, found)
            self._write_state()
        self.refreshed = known or bool(found)

    def _write_state(self) -> None:
        said = {"source": self.source.name, "criteria": describe(self.criteria), "state": to_json(self.state)}
        self.run.journal.write(JournalEvent.JUDGING, said)

    def begin_stage(self) -> None:
        """Go on to the next stage: the evidence stays, looks start anew.

        So they do where a run goes on with an undecided one: the chance of a false promotion holds for each run,
        since it was a person who chose to ask again. The chance of a false rollback holds for all of them together.
        """
        self.judged, self.revised = (), ()
        self.run.journal.write(JournalEvent.NEXT_STAGE)
        self.state = next_stage(self.state)

    def judge(
        self, observation: Observation, *, weight: float, bake_over: bool, rounds: Sequence[ProbeRound] = ()
    ) -> Verdict:
        """Judge what is new and settled in an observation, and keep the evidence on disk.

        Parameters
        ----------
        observation
            What was served since the stage began.
        weight
            Share of the two versions' traffic that the canary is to get [percent].
        bake_over
            Whether the planned end of the stage has come.
        rounds
            Own probes finished since the last look.
        """
        asked = self._keep(rounds)
        now_s, lag_s = datetime.now(UTC).timestamp(), self.lag_s
        known = [self.show(grain, weight) for grain in self._closed(observation, bake_over=bake_over)]
        fresh = settled_intervals(known, self.state, now_s=now_s, lag_s=lag_s, zero_lag_s=lag_s)
        self._note_revisions(known)
        self.judged = (*self.judged, *fresh)
        cohorts = self._ripe(fresh)
        stops = [stop for interval in fresh if (stop := traffic_stop(interval))]
        stops += [stop for stop in [probe_stop(self.rounds)] if asked and stop]
        self.state, verdict = judge(
            self.state,
            (*fresh, *asked),
            self.criteria,
            bake_over=bake_over,
            stops=stops,
            cohorts=cohorts,
        )
        self.lines += verdict.lines
        write_atomically(self.run.folder / JUDGE_STATE, to_json(self.state) + "\n")
        look = {
            "verdict": {"decision": verdict.outcome, "reason": verdict.sentence},
            "bake_over": bake_over,
            "intervals": [to_record(interval) for interval in (*fresh, *asked)],
            "cohorts": [to_record(cohort) for cohort in cohorts],
            "stops": stops,
            "details": verdict,
        }
        self.run.journal.write(JournalEvent.LOOK, look)
        return verdict

    def show(self, grain: ServedInterval, weight: float) -> Interval:
        """Show one interval as the judge sees it, with `weight` percent for the canary and without own probes."""
        return to_interval(
            without_probes(grain, self.probed), self.source.name, self.stable, self.canary, weight=weight
        )

    @property
    def lag_s(self) -> float:
        """Age that an interval must have before it is judged [seconds]."""
        return max(self.run.parameters.settle_s, self.source.least_lag_s)

    def _keep(self, rounds: Sequence[ProbeRound]) -> tuple[Interval, ...]:
        """Keep rounds of own probes as evidence; give those that the judge can weigh."""
        for each in rounds:
            self.run.journal.write(JournalEvent.PROBES, each.results)
            if each.problem:
                self.run.say(f"the probes could not be sent: {each.problem}")
        asked = tuple(each.interval for each in rounds if each.interval and each.interval.canary.requests)
        self.rounds = (*self.rounds, *asked)[-PROBE_ROUNDS_KEPT:]
        if self.source.name == "metrics":
            self.probed += tuple(result for each in rounds for result in each.results)
        return asked

    def _note_revisions(self, known: Sequence[Interval]) -> None:
        """Record judged intervals that read otherwise now; they are not judged again."""
        shown = [counts_alone(interval) for interval in known]
        found = revisions([counts_alone(interval) for interval in self.judged], shown)
        changed = [
            one
            for one in found
            if (one.now is None or one.now.length_s == one.judged.length_s) and one not in self.revised
        ]
        if changed:
            self.revised += tuple(changed)
            self.run.journal.write(JournalEvent.REVISED, changed)
            self.run.say(f"{len(self.revised)} judged intervals read otherwise now: recorded, not judged again")

    def _ripe(self, fresh: Sequence[Interval]) -> tuple[Interval, ...]:
        """Take the outcome cohorts that can no longer change; a silent file or log is told, and asked again."""
        if self.cohorts is None:
            return ()
        self.unripe = (*self.unripe, *fresh)
        try:
            cohorts = self.cohorts.take(self.unripe, self.versions, self.lag_s)
        except ObserveError as error:
            self.run.say(f"outcomes are silent: {error}")
            return ()
        self.unripe = self.unripe[len(cohorts) :]
        if self.cohorts.refused:
            self.run.say(f"{len(self.cohorts.refused)} lines are no outcomes, the first: {self.cohorts.refused[0]}")
        return cohorts

    def _closed(self, observation: Observation, *, bake_over: bool) -> list[ServedInterval]:
        """The intervals that the source has shown whole; at the end of a bake the last one is cut there."""
        shown = observation.watermark
        return [
            interval
            for interval in observation.intervals
            if shown is not None
            and interval.length_s > 0
            and interval.end <= shown
            and (bake_over or interval.end < observation.until or interval.length_s >= self.source.grain_s)
        ]


def _open_cohorts(run: Run[CanaryParameters], source: Source) -> Cohorts | None:
    p = run.parameters
    if not p.outcomes or not isinstance(source, RequestLog):
        return None
    return Cohorts(Path(p.outcomes), source, run.record.started_at, p.outcome_window_s)
