"""The judge at work in a run: what is asked of it, what it is shown, and where its evidence is kept."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

from opslib.azure.monitor import Source
from opslib.change.run import Run
from opslib.errors import JudgeError, RecordError
from opslib.evidence.archive import find_archive, read_archive
from opslib.evidence.record import write_atomically
from opslib.judge import (
    PUBLISHED,
    Arm,
    Criteria,
    Failures,
    Interval,
    Latency,
    Line,
    Outlook,
    Slo,
    State,
    Together,
    Verdict,
    begin,
    describe,
    from_json,
    judge,
    next_stage,
    plan,
    ready,
    require_same,
    to_json,
    to_record,
    traffic_stop,
    wanted_thresholds_ms,
)
from opslib.judge import Plan as BakePlan
from opslib.model import Deployment, Endpoint, Observation, Outcome, Served
from opslib.model import Interval as Grain
from opslib.parameters import CanaryParameters

STATE_NAME = "judge-state.json"

REFERENCE_S = 900.0
"""Time before the canary in which stable's quantiles are measured [seconds]."""


def criteria_of(p: CanaryParameters, source: str) -> Criteria:
    """Say what is judged, from a run's parameters and the source that it watches by."""
    slack = 2.5  # the slowest one in a hundred requests varies more
    proofs = tuple((q, p.max_slowdown * (slack if q > 0.95 else 1.0)) for q in p.proven_quantiles)
    latency = Latency(
        mode=p.latency_mode,
        tolerated_slowdown=p.tolerated_slowdown,
        proofs=tuple((q, max(slow, 1.01 * p.tolerated_slowdown)) for q, slow in proofs),
    )
    if source == "metrics":
        latency = Latency(
            mode=latency.mode,
            tolerated_slowdown=latency.tolerated_slowdown,
            proofs=latency.proofs,
            quantiles=PUBLISHED,
        )
    return Criteria(
        metrics=(
            Failures(mode=p.failures_mode, limit_rate=p.max_failure_rate),
            latency,
            Together(mode="act" if p.failures_mode == p.latency_mode == "act" else "observe"),
            Slo(name="p95 limit", allowed=0.05, threshold_ms=p.max_p95_ms, mode=p.latency_mode),
            Slo(name="failure limit", allowed=p.max_failure_rate, mode=p.failures_mode),
        ),
        alpha=p.alpha,
        least_requests=p.min_requests,
        looks=1 + max(0, math.ceil((p.max_bake_s - p.bake_s) / p.bake_s)),
        warm_up_s=p.warm_up_s,
    )


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
            state = begin(criteria, **names, reference_ms=_reference_ms(run, source, criteria, stable))
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
            and _end(interval) <= shown
            and (bake_over or _end(interval) < observation.until or interval.length_s >= self.source.grain_s)
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


def digest(deployment: Deployment | None) -> str:
    """Name a version by what decides its answers: evidence about another version says nothing of this one."""
    if deployment is None:
        return ""
    properties: Mapping[str, Any] = deployment.arm["properties"]
    what = {
        key: properties.get(key) for key in ("model", "environmentId", "codeConfiguration", "environmentVariables")
    }
    text = json.dumps([what, deployment.instance_type], sort_keys=True)
    return f"{deployment.name}@{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _arm(served: Served) -> Arm:
    published = (served.p50_ms, served.p90_ms, served.p95_ms, served.p99_ms)
    known = [(q, float(ms)) for q, ms in zip(PUBLISHED, published, strict=True) if ms is not None]
    return Arm(
        requests=served.requests,
        failures=served.failures,
        above=served.above,
        percentiles_ms=() if served.above else tuple(known),
    )


def _reference_ms(run: Run[CanaryParameters], source: Source, criteria: Criteria, stable: str) -> tuple[float, ...]:
    """Stable's quantiles before the canary gets traffic, waited for while requests come in, as long as a bake.

    From metrics there are none: the judge takes them from the first minutes.
    """
    latency = next(metric for metric in criteria.metrics if isinstance(metric, Latency))
    deadline = datetime.now(UTC) + timedelta(seconds=run.parameters.bake_s)
    while True:
        now = datetime.now(UTC)
        found = source.quantiles_ms(stable, now - timedelta(seconds=REFERENCE_S), now, latency.quantiles)
        served = source.observe(now - timedelta(seconds=REFERENCE_S), now).total
        if found or source.name == "metrics" or now >= deadline or not served:
            return found if found and found[0] > 0 else ()
        run.say(f"waiting for requests of {stable}, to know its latencies")
        sleep(1.0)


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


def _end(interval: Grain) -> datetime:
    return interval.start + timedelta(seconds=interval.length_s)


def forecast(run: Run[CanaryParameters], source: Source, before: Endpoint) -> BakePlan | None:
    """Say what the first stage can show at the traffic of the last minutes; None where there was none."""
    p, stable = run.parameters, before.stable or ""
    if p.stages[0] >= 100:
        return None  # nothing is left to compare with
    until = datetime.now(UTC) - timedelta(seconds=max(p.settle_s, source.least_lag_s))
    seen = source.observe(until - timedelta(seconds=REFERENCE_S), until)
    served = next((one for name, one in seen.total.items() if name.lower() == stable.lower()), None)
    if served is None or not seen.intervals or not served.requests:
        return None
    minutes = (_end(seen.intervals[-1]) - seen.intervals[0].start).total_seconds() / 60
    spread = math.log(served.p95_ms / served.p50_ms) / 1.645 if served.p50_ms and served.p95_ms else 0.0
    outlook = Outlook(
        requests_per_minute=sum(one.requests for one in seen.total.values()) / minutes,
        failure_rate=served.failures / served.requests,
        weight=float(p.stages[0]),
        bake_minutes=max(p.bake_s, p.max_bake_s) / 60,
        log_latency_sd=max(spread, 0.05),
    )
    return plan(criteria_of(p, source.name), outlook)
