"""The judge's memory between looks: a small JSON about one endpoint, two versions and one set of criteria.

Stages, pauses, restarts and re-runs continue from it. Nothing else is kept: judging the recorded intervals again
from an empty state gives the same numbers to the last bit.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from opslib.errors import JudgeError
from opslib.judge.values.criteria import Criteria, bets
from opslib.judge.values.metrics import Latency, Mean, Slo
from opslib.judge.values.mixture import begin as begin_bets
from opslib.judge.values.noninferiority import Tally

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class State:
    """Evidence so far.

    Attributes
    ----------
    endpoint, stable, canary, criteria
        What the evidence is about: a name and three digests.
    judged, ignored
        Intervals judged, and intervals refused because they lie before the last one judged [count].
    last_end_s, probes_end_s, cohort_end_s, first_canary_s
        End of the last interval of users' traffic judged, of the last round of probes and of the last outcome
        cohort; start of the first interval in which the canary got a request. Seconds since 1970-01-01 UTC, None
        before there is one [seconds].
    sources
        Intervals judged per source [count].
    log_bets
        Log bets per metric (see `mixture`); `shared:NAME` bets that stable breaks promise NAME too.
    log_peak
        Highest log evidence for a rollback so far; a threshold once reached stays reached.
    decided_by
        Metric that reached it, empty before.
    reference_ms
        Past quantiles of stable that cut latency into bins; empty until known [ms].
    reference_counts
        Discounted requests of stable: all, then above each cut [count].
    dispersion
        Per cut, where only percentiles are published: stable's last two shares above it, the sums of their squared
        second differences and of what binomial counts would give, and their number (-1 after one interval).
    tallies
        Sums for the proofs, by metric and `tally_key`.
    slow_stable
        Requests of stable above each stretched proof threshold, and per proof by ranks the intervals in which a
        percentile was further than the limit from stable's past [count].
    past_ms
        Stable's first percentile per metric of ranks [ms].
    stage_looks, looked_at_s
        Looks taken at the end of this stage, and the end of the last interval at the last one [count], [seconds].
    measured_s
        Time judged so far [seconds].
    stage_requests
        Canary requests seen in this stage, those of the warm-up included [count].
    changed_answers
        Probe requests that both versions answered, and those that they answered differently [count].
    """

    endpoint: str
    stable: str
    canary: str
    criteria: str
    version: int = VERSION
    judged: int = 0
    ignored: int = 0
    last_end_s: float | None = None
    probes_end_s: float | None = None
    cohort_end_s: float | None = None
    first_canary_s: float | None = None
    sources: dict[str, int] = field(default_factory=dict)
    log_bets: dict[str, tuple[float, ...]] = field(default_factory=dict)
    log_peak: float = 0.0
    decided_by: str = ""
    reference_ms: tuple[float, ...] = ()
    reference_counts: tuple[float, ...] = field(default=(), metadata={"stored_as": "seen"})
    dispersion: tuple[tuple[float, ...], ...] = field(default=(), metadata={"stored_as": "scatters"})
    tallies: dict[str, Tally] = field(default_factory=dict)
    slow_stable: dict[str, float] = field(default_factory=dict, metadata={"stored_as": "far"})
    past_ms: dict[str, float] = field(default_factory=dict)
    stage_looks: int = 0
    looked_at_s: float | None = None
    measured_s: float = 0.0
    stage_requests: int = 0
    changed_answers: tuple[int, int] = (0, 0)


def begin(
    criteria: Criteria, *, endpoint: str, stable: str, canary: str, reference_ms: tuple[float, ...] = ()
) -> State:
    """Start without evidence.

    Parameters
    ----------
    criteria
        What will be judged.
    endpoint, stable, canary
        Name of the endpoint and digests of the two versions' definitions.
    reference_ms
        Latencies of stable at the criteria's quantiles before the canary got traffic; empty lets the judge take
        them from the first interval, which it then does not judge for latency [ms].
    """
    log_bets: dict[str, tuple[float, ...]] = {}
    for metric in criteria.metrics:
        names = [metric.name, f"shared:{metric.name}"] if isinstance(metric, Slo) else [metric.name]
        start = (0.0, 0.0, 0.0) if isinstance(metric, Mean) else tuple(begin_bets(bets(metric, criteria)).tolist())
        log_bets.update(dict.fromkeys(names, start))
    state = State(endpoint=endpoint, stable=stable, canary=canary, criteria=criteria.digest(), log_bets=log_bets)
    return set_reference(state, criteria, reference_ms) if reference_ms else state


def set_reference(state: State, criteria: Criteria, reference_ms: tuple[float, ...]) -> State:
    """Cut latency at other quantiles of stable from now on.

    Parameters
    ----------
    state
        Evidence so far; what was judged at other cuts stays evidence.
    criteria
        What is judged.
    reference_ms
        Latencies of stable at the criteria's quantiles, from before the next interval that is judged [ms].

    Raises
    ------
    JudgeError
        If there is not one latency for each quantile.
    """
    latency = next((metric for metric in criteria.metrics if isinstance(metric, Latency)), None)
    if latency is None or len(reference_ms) != len(latency.quantiles):
        raise JudgeError(f"reference_ms: expected one latency per quantile of {latency}, got {reference_ms}")
    rounded = tuple(round(float(each), 3) for each in reference_ms)
    return replace(state, reference_ms=rounded, reference_counts=prior_shares(latency))


def prior_shares(latency: Latency, requests: float = 200.0) -> tuple[float, ...]:
    """Return the counts above each cut that the reference implies, as if from a few hundred requests [count]."""
    return (requests, *(requests * (1.0 - q) for q in latency.quantiles))


def to_json(state: State) -> str:
    """Write a state; floats are written so that they read back to the same bits."""
    values = dict(zip(_STORED, asdict(state).values(), strict=True))
    return json.dumps(values, sort_keys=True, allow_nan=False)


_STORED: dict[str, str] = {each.metadata.get("stored_as", each.name): each.name for each in fields(State)}
"""Name of each field in a journal or a state file, and here."""

# An earlier version did not count: there the runbook held a stage without traffic before it called the judge.
_UNCOUNTED = 1


def from_json(text: str) -> State:
    """Read a state back, refusing what this version does not know.

    Raises
    ------
    JudgeError
        If the text was written by another version of the format or has unknown or missing fields.
    """
    values: dict[str, Any] = json.loads(text)
    values.setdefault("stage_requests", _UNCOUNTED)
    values.setdefault("changed_answers", (0, 0))  # nor did one that only weighed them
    if values.get("version") != VERSION or set(values) != set(_STORED):
        wrong = sorted(set(values) ^ set(_STORED))
        raise JudgeError(
            f"state: expected version {VERSION}, got {values.get('version')}; fields that differ: {wrong}"
        )
    values = {name: values[stored] for stored, name in _STORED.items()}
    values["log_bets"] = {name: tuple(row) for name, row in values["log_bets"].items()}
    values["tallies"] = {name: Tally(**row) for name, row in values["tallies"].items()}
    for name in ("reference_ms", "reference_counts", "changed_answers"):
        values[name] = tuple(values[name])
    values["dispersion"] = tuple(tuple(row) for row in values["dispersion"])
    return State(**values)


def require_release(state: State, criteria: Criteria, *, endpoint: str, stable: str, canary: str) -> State:
    """Return the state if it is about this release, else refuse it.

    Evidence about one version is none about another.

    Raises
    ------
    JudgeError
        Naming each of endpoint, stable, canary and criteria that differs.
    """
    expected = {"endpoint": endpoint, "stable": stable, "canary": canary, "criteria": criteria.digest()}
    wrong = [f"{name}: state has {getattr(state, name)!r}, expected {value!r}" for name, value in expected.items()]
    wrong = [
        line for line, (name, value) in zip(wrong, expected.items(), strict=True) if getattr(state, name) != value
    ]
    if wrong:
        raise JudgeError(f"state is about another release ({'; '.join(wrong)}): begin a new one")
    return state
