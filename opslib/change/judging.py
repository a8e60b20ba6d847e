"""The judge at work in a run: what it is shown, and where its evidence is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.azure.monitor import Source
from opslib.change.criteria import criteria_of, digest
from opslib.change.outlook import reference_ms
from opslib.change.run import Run
from opslib.errors import JudgeError, RecordError
from opslib.evidence.archive import find_archive, read_archive
from opslib.evidence.record import write_atomically
from opslib.judge import (
    PUBLISHED,
    Arm,
    Criteria,
    Interval,
    Line,
    State,
    Verdict,
    begin,
    describe,
    from_json,
    judge,
    next_stage,
    ready,
    require_same,
    to_json,
    to_record,
    traffic_stop,
    wanted_thresholds_ms,
)
from opslib.model import Endpoint, Observation, Outcome, Served
from opslib.model import Interval as Grain
from opslib.parameters import CanaryParameters

STATE_NAME = "judge-state.json"


@dataclass
class Bench:
    """Where one canary is judged: criteria, the evidence so far, and every line that led to it."""

    run: Run[CanaryParameters]
    source: Source
    criteria: Criteria
    state: State
    stable: str
    canary: str
    lines: tuple[Line, ...] = ()
    seen_requests: int = 0

    @classmethod
    def open(cls, run: Run[CanaryParameters], before: Endpoint, source: Source, canary: str) -> "Bench":
        """Begin without evidence, or go on where an earlier run of the same release stopped."""
        stable = before.stable or ""
        criteria = criteria_of(run.parameters, source.name)
        names = {
            "endpoint": before.id.lower(),
            "stable": digest(before.find(stable)),
            "canary": digest(before.find(canary)),
        }
        state = None if run.parameters.rehearse else _resumed(run, criteria, names)
        if state is None:
            state = begin(criteria, **names, reference_ms=reference_ms(run, source, criteria, stable))
        run.journal.write(
            "judging", {"source": source.name, "criteria": describe(criteria), "state": to_json(state)}
        )
        return cls(run, source, criteria, state, stable, canary)

    def thresholds_ms(self) -> tuple[float, ...]:
        """Latencies at which the next look must count."""
        return wanted_thresholds_ms(self.state, self.criteria)

    def begin_stage(self) -> None:
        """Go on to the next stage: the evidence stays, looks start anew.

        So they do where a run goes on with an undecided one: the chance of a false promotion holds for each run,
        since it was a person who chose to ask again. The chance of a false rollback holds for all of them together.
        """
        self.seen_requests = 0
        self.run.journal.write("next stage")
        self.state = next_stage(self.state)

    def judge(self, observation: Observation, *, weight: float, bake_over: bool) -> Verdict:
        """Judge what is new and settled in an observation, and keep the evidence on disk."""
        now_s, lag_s = datetime.now(UTC).timestamp(), self.lag_s
        known = [to_interval(grain, self, weight) for grain in self._closed(observation, bake_over=bake_over)]
        fresh = ready(known, self.state, now_s=now_s, lag_s=lag_s, zero_lag_s=lag_s)
        self.seen_requests += sum(interval.canary.requests for interval in fresh)
        blind = bake_over and self.seen_requests == 0
        stops = [stop for interval in fresh if (stop := traffic_stop(interval))]
        self.state, verdict = judge(
            self.state, fresh, self.criteria, bake_over=bake_over and not blind, stops=stops
        )
        self.lines += verdict.lines
        write_atomically(self.run.folder / STATE_NAME, to_json(self.state) + "\n")
        final = _held_blind(verdict) if blind and verdict.outcome == "continue" else verdict
        look = {
            "verdict": {"decision": final.outcome, "reason": final.sentence},
            "bake_over": bake_over and not blind,
            "intervals": [to_record(interval) for interval in fresh],
            "stops": stops,
            "details": verdict,
        }
        self.run.journal.write("look", look)
        return final

    @property
    def lag_s(self) -> float:
        """Age that an interval must have before it is judged [seconds]."""
        return max(self.run.parameters.settle_s, self.source.least_lag_s)

    def _closed(self, observation: Observation, *, bake_over: bool) -> list[Grain]:
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


def _held_blind(verdict: Verdict) -> Verdict:
    """A stage in which nothing of the canary was seen holds, whatever was proved before it."""
    why = "nothing that the canary served at this stage was seen"
    return replace(verdict, outcome="hold", reasons=(why,), more_minutes=None, sentence=f"Hold: {why}.")


def to_interval(grain: Grain, bench: Bench, weight: float) -> Interval:
    """Show the judge one interval; a deployment that is not named served nothing."""
    served = {name.lower(): one for name, one in grain.served.items()}
    nothing = Served(0, 0)
    return Interval(
        start_s=grain.start.timestamp(),
        length_s=grain.length_s,
        weight=weight,
        source="metrics" if bench.source.name == "metrics" else "request log",
        stable=_arm(served.get(bench.stable.lower(), nothing)),
        canary=_arm(served.get(bench.canary.lower(), nothing)),
    )


def _arm(served: Served) -> Arm:
    published = (served.p50_ms, served.p90_ms, served.p95_ms, served.p99_ms)
    known = [(q, float(ms)) for q, ms in zip(PUBLISHED, published, strict=True) if ms is not None]
    return Arm(
        requests=served.requests,
        failures=served.failures,
        above=served.above,
        percentiles_ms=() if served.above else tuple(known),
    )


def _resumed(run: Run[CanaryParameters], criteria: Criteria, names: Mapping[str, str]) -> State | None:
    """The evidence of the newest canary on this endpoint, if it was about this release and left undecided."""
    for folder, record in read_archive(find_archive(), run.parameters.endpoint):
        if record.runbook != "canary" or folder == run.folder or not (folder / STATE_NAME).is_file():
            continue
        if record.outcome in {Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.PLANNED}:
            return None
        try:
            state = require_same(read_state(folder), criteria, **names)
        except (JudgeError, RecordError):
            return None
        run.say(f"going on with the evidence of {record.run_id}: {state.judged} intervals")
        return replace(state, first_canary_s=None)  # its instances may be cold again
    return None


def read_state(folder: Path) -> State:
    """Read the evidence that a run kept.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    try:
        return from_json((folder / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{folder / STATE_NAME} holds no state of the judge: {error}") from error
