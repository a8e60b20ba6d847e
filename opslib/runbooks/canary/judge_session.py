"""The judge at work in a run: what it reads, and where its evidence is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from opslib.azure.arm import Progress
from opslib.azure.source import Source
from opslib.errors import ObserveError
from opslib.evidence.run.files import JUDGE_STATE
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.record import write_atomically
from opslib.judge import (
    Interval,
    IntervalResult,
    State,
    Verdict,
    after_warm_up,
    describe,
    judge,
    next_stage,
    probe_stop,
    set_reference,
    settled_intervals,
    thinned,
    to_json,
    to_record,
    traffic_stop,
    wanted_thresholds_ms,
)
from opslib.model import Observation, ProbeResult, ServedInterval
from opslib.model.text import counted
from opslib.runbooks.canary.cohorts import Cohorts
from opslib.runbooks.canary.forecast import quantiles_of
from opslib.runbooks.canary.judge_settings import JudgeSettings
from opslib.runbooks.canary.judged_intervals import JudgedIntervals
from opslib.runbooks.canary.probing import ProbeRound
from opslib.runbooks.canary.recorded_look import recorded
from opslib.runbooks.canary.rollout import Stage
from opslib.runbooks.canary.source_intervals import to_interval, without_probes

STAGE_INTERVALS = 500
"""Intervals into which a long stage is cut for the record and the plot [count]."""

PROBE_ROUNDS_KEPT = 10
"""Latest rounds of own probes that a hard stop considers [count]."""


@dataclass
class JudgeSession:
    """Where one canary is judged: its settings, the evidence so far, and every interval's result."""

    journal: Journal
    progress: Progress
    source: Source
    settings: JudgeSettings
    state: State
    stable: str
    canary: str
    cohorts: Cohorts | None = None
    refreshed: bool = False
    mirrored: bool = False
    lines: tuple[IntervalResult, ...] = ()
    judged: JudgedIntervals = field(init=False)
    unsettled: tuple[Interval, ...] = ()
    rounds: tuple[Interval, ...] = ()
    probed: tuple[ProbeResult, ...] = ()

    def __post_init__(self) -> None:
        """Begin without judged intervals."""
        self.judged = JudgedIntervals(per_request=self.source.per_request)

    @property
    def versions(self) -> dict[str, str]:
        """Name of the deployment in each role."""
        return {"stable": self.stable, "canary": self.canary}

    def thresholds_ms(self) -> tuple[float, ...]:
        """Return the latencies at which the next look must count requests."""
        return wanted_thresholds_ms(self.state, self.settings.criteria)

    def refresh_reference(self) -> None:
        """Measure stable's latency again in the warm-up, which is not judged: an older measurement may be stale.

        A latency that no request reaches any more proves nothing. Where stable's latency is unknown, it is measured
        as soon as there is traffic.
        """
        criteria, first_s = self.settings.criteria, self.state.first_canary_s
        until_s = datetime.now(UTC).timestamp() - self.settings.lag_s
        known = bool(self.state.reference_ms)
        if self.refreshed or not self.source.per_request or first_s is None or (known and self.state.judged):
            return
        warm_s = first_s + criteria.warm_up_s
        if until_s < warm_s:
            return
        since, until = (datetime.fromtimestamp(at, UTC) for at in (first_s, warm_s if known else until_s))
        try:
            found = quantiles_of(self.source, criteria, self.stable, since, until) if since < until else ()
        except ObserveError:
            return  # the look reports the problem; the next one tries again
        if found:
            self.state = set_reference(self.state, criteria, found)
            self.write_state()
        self.refreshed = known or bool(found)

    def write_state(self) -> None:
        """Write to the journal what the evidence starts from, so that the run can be judged again."""
        start = {
            "source": self.source.name,
            "criteria": describe(self.settings.criteria),
            "state": to_json(self.state),
        }
        self.journal.write(JournalEvent.JUDGING, start)

    def begin_stage(self, *, mirrored: bool = False) -> None:
        """Begin the next stage: the evidence stays, and the count of looks starts at zero.

        In a `mirrored` stage outcomes are not read: the users got stable's answers.

        It also starts at zero in a run that resumes an undecided one: the chance of a false promotion holds for
        each run, since a person chose to run again. The chance of a false rollback holds for all of them together.
        """
        self.judged, self.mirrored = JudgedIntervals(per_request=self.source.per_request), mirrored
        self.journal.write(JournalEvent.NEXT_STAGE)
        self.state = next_stage(self.state)

    def read_from(self, began: datetime) -> datetime:
        """Return the time from which the next look reads the source, in a stage that began at `began`."""
        return self.judged.read_from(began, self.source.grain_s)

    def judge(
        self,
        observation: Observation,
        *,
        weight: float,
        bake_over: bool,
        rounds: Sequence[ProbeRound] = (),
        unseen: str = "",
    ) -> Verdict:
        """Judge what is new and settled in an observation, and keep the evidence on disk.

        Parameters
        ----------
        observation
            What was served since `read_from`.
        weight
            Canary's configured share of the two versions' traffic [percent].
        bake_over, unseen
            Whether the stage's planned time is over, and why its end is unknown, which then is not promoted.
        rounds
            Rounds of own probes since the last look.
        """
        probed = self._keep(rounds)
        now_s, lag_s = datetime.now(UTC).timestamp(), self.settings.lag_s
        closed = self._closed(observation, bake_over=bake_over)
        self._note_revisions(closed, weight)
        unjudged_s = (self.state.last_end_s or 0.0) - 1e-3  # what `settled_intervals` would leave out
        known = [self.to_interval(one, weight) for one in closed if one.start.timestamp() >= unjudged_s]
        fresh = settled_intervals(known, self.state, now_s=now_s, lag_s=lag_s, zero_lag_s=lag_s)
        self.judged.add(closed, fresh)
        cohorts = self._settled_cohorts(fresh)
        stops = [stop for interval in fresh if (stop := traffic_stop(interval))]
        stops += [stop for stop in [probe_stop(self.rounds)] if probed and stop]
        self.state, verdict = judge(
            self.state,
            (*fresh, *probed),
            self.settings.criteria,
            bake_over=bake_over,
            stops=stops,
            cohorts=cohorts,
            unseen=unseen,
        )
        self.lines = thinned((*self.lines, *verdict.lines))
        write_atomically(self.journal.path.parent / JUDGE_STATE, to_json(self.state) + "\n")
        look = {
            "verdict": {"decision": verdict.outcome, "reason": verdict.sentence},
            "bake_over": bake_over,
            "intervals": [to_record(interval) for interval in (*fresh, *probed)],
            "cohorts": [to_record(cohort) for cohort in cohorts],
            "stops": stops,
            "unseen": unseen,
            "details": recorded(verdict),
        }
        self.journal.write(JournalEvent.LOOK, look)
        return verdict

    def read_whole(self, stage: Stage) -> Stage:
        """Return a stage with all that was served in it, where its last look read the end of it only."""
        since, until = stage.started_at, stage.observation.until
        if stage.observation.since - since <= timedelta(seconds=self.source.grain_s):
            return stage
        source = self.source.coarser((until - since).total_seconds() / STAGE_INTERVALS)
        try:
            return replace(stage, observation=source.observe(since, until))
        except ObserveError as error:
            self.progress(f"what was served from {since:%T} to {until:%T} UTC could not be read: {error}")
            return stage

    def to_interval(self, served: ServedInterval, weight: float) -> Interval:
        """Return one interval as the judge reads it, without own probes; `weight` is the canary's [percent]."""
        cleaned = without_probes(served, self.probed)
        return to_interval(cleaned, self.stable, self.canary, weight=weight, per_request=self.source.per_request)

    def _keep(self, rounds: Sequence[ProbeRound]) -> tuple[Interval, ...]:
        """Keep rounds of own probes as evidence; return those that can be judged."""
        for each in rounds:
            self.journal.write(JournalEvent.PROBES, each.results)
            if each.problem:
                self.progress(f"probes could not be sent: {each.problem}")
        probed = tuple(each.interval for each in rounds if each.interval and each.interval.canary.requests)
        self.rounds = (*self.rounds, *probed)[-PROBE_ROUNDS_KEPT:]
        if not self.source.per_request:
            results = (*self.probed, *(result for each in rounds for result in each.results))
            self.probed = tuple(result for result in results if result.sent_at >= self.judged.since)
        return probed

    def _note_revisions(self, closed: Sequence[ServedInterval], weight: float) -> None:
        """Record judged intervals that the source has revised since; they are not judged again."""
        changed = self.judged.find_revised(closed, lambda served: self.to_interval(served, weight))
        if changed:
            self.journal.write(JournalEvent.REVISED, changed)
            revised = counted(self.judged.revised, "interval")
            self.progress(f"the source revised {revised} already judged; recorded, not re-judged")

    def _settled_cohorts(self, fresh: Sequence[Interval]) -> tuple[Interval, ...]:
        """Return the outcome cohorts that can no longer change; what cannot be read is tried at the next look."""
        if self.cohorts is None or self.mirrored:
            return ()
        self.unsettled += after_warm_up(fresh, self.state, self.settings.criteria.warm_up_s)
        try:
            cohorts = self.cohorts.take(self.unsettled, self.versions, self.settings.lag_s)
        except ObserveError as error:
            self.progress(f"outcomes could not be read: {error}")
            return ()
        self.unsettled = self.unsettled[len(cohorts) :]
        if self.cohorts.invalid:
            invalid, first = counted(self.cohorts.invalid, "invalid line"), self.cohorts.first_invalid
            self.progress(f"{invalid} in the outcomes file; first: {first}")
        return cohorts

    def _closed(self, observation: Observation, *, bake_over: bool) -> list[ServedInterval]:
        """Return the intervals for which the source is complete; at the end of a bake the last one is cut there."""
        complete_until = observation.watermark
        return [
            interval
            for interval in observation.intervals
            if complete_until is not None
            and interval.length_s > 0
            and interval.end <= complete_until
            and (bake_over or interval.end < observation.until or interval.length_s >= self.source.grain_s)
        ]
