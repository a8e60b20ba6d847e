"""What a state means: the decision, its proofs, and the reasons not to promote."""

import math
from dataclasses import dataclass, replace

import numpy as np

from opslib.judge.harm import sample_ratio
from opslib.judge.harm.evidence import log_weighted_mean
from opslib.judge.harm.means import log_evidence as log_evidence_of_mean
from opslib.judge.looks import explain
from opslib.judge.looks.precedence import decide
from opslib.judge.proof.proof import proofs
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.metrics import Answers, Failures, Mean
from opslib.judge.values.mixture import log_evidence
from opslib.judge.values.state import State
from opslib.judge.values.verdict import IntervalResult, Proof, Verdict
from opslib.model.text import e_value, k_of_n, percent


@dataclass(frozen=True)
class Look:
    """What a decision depends on besides evidence.

    Attributes
    ----------
    bake_over
        Whether the stage's planned time is over.
    stops
        Reasons to roll back at once.
    unseen
        Why the end of the stage is unknown; empty where it is known.
    alpha
        Error level of the proofs of this look; 0 when all planned looks are used.
    """

    bake_over: bool
    stops: tuple[str, ...]
    unseen: str
    alpha: float


def log_threshold(criteria: Criteria) -> float:
    """Return the log evidence at which the canary is rolled back, ln(1 / alpha)."""
    return -math.log(criteria.alpha)


def metric_evidence(state: State, criteria: Criteria) -> dict[str, float]:
    """Return the log evidence of harm of each metric."""
    found: dict[str, float] = {}
    for metric in criteria.metrics:
        bets = state.log_bets[metric.name]
        found[metric.name] = (
            log_evidence_of_mean(metric, bets)
            if isinstance(metric, Mean)
            else float(log_evidence(np.asarray(bets)))
        )
    return found


def conclude(
    state: State,
    criteria: Criteria,
    lines: tuple[IntervalResult, ...],
    look: Look,
) -> Verdict:
    """Return the verdict: the proofs at the end of a stage, and every reason not to promote.

    Parameters
    ----------
    state, criteria
        The state after all new intervals, and what is judged.
    lines
        The results of the new intervals.
    look
        What is known besides the counts.
    """
    stops, bake_over, alpha = look.stops, look.bake_over, look.alpha
    evidence, weights = metric_evidence(state, criteria), criteria.acting()
    total = log_weighted_mean(weights, evidence) if weights else 0.0
    found = proofs(criteria, state, alpha) if bake_over and state.stage_requests else ()
    against = _against(state, criteria, evidence, total, found, alpha)
    if look.unseen and state.stage_requests:
        against = [("traffic", look.unseen), *against]
    harmful = bool(stops) or bool(state.decided_by)
    outcome = decide(harmful=harmful, bake_over=bake_over, against=tuple(text for _, text in against))
    missing = [proof for proof in found if not proof.proven]
    binding = state.decided_by if harmful else (against[0][0] if against and bake_over else "")
    more = _more_requests(missing, against)
    verdict = Verdict(
        outcome=outcome,
        binding=binding,
        log_evidence=total,
        log_peak=state.log_peak,
        log_threshold=log_threshold(criteria),
        log_metrics=tuple(evidence.items()),
        proofs=found,
        reasons=stops + tuple(text for _, text in against),
        more_requests=more,
        more_minutes=_minutes_for(state, more),
        lines=lines,
        basis=explain.basis(state),
        sentence="",
    )
    return replace(verdict, sentence=explain.conclusion(verdict, state, criteria, stops))


def _against(
    state: State,
    criteria: Criteria,
    evidence: dict[str, float],
    total: float,
    found: tuple[Proof, ...],
    alpha: float,
) -> list[tuple[str, str]]:
    """List the reasons not to promote as (metric, sentence), those that need a person first."""
    if state.stage_requests == 0:
        return [("traffic", "no canary request was seen in this stage")]
    reasons = _suspicions(state, criteria, evidence)
    if total >= math.log(criteria.suspicion):
        highest = max(evidence, key=lambda name: evidence[name])
        text = f"evidence of harm {e_value(total)}, a promotion needs less than {criteria.suspicion:g}"
        reasons.append((highest, text))
    reasons += _floors(state, criteria)
    if alpha <= 0:
        reasons.append(("looks", f"all {criteria.looks} planned looks of this stage are used: a person decides"))
    unproven = sorted((proof for proof in found if not proof.proven), key=lambda proof: -proof.p)
    return reasons + [(proof.metric, explain.unproven(proof)) for proof in unproven]


def _suspicions(state: State, criteria: Criteria, evidence: dict[str, float]) -> list[tuple[str, str]]:
    """List what evidence at its limit prevents a promotion although it rolls nothing back."""
    limit = log_threshold(criteria)

    def reached(name: str) -> bool:
        return float(log_evidence(np.asarray(state.log_bets.get(name, (-math.inf,))))) >= limit

    reasons: list[tuple[str, str]] = []
    if sample_ratio.METRIC in state.log_bets and reached(sample_ratio.METRIC):
        text = "sample ratio: traffic is not split as configured, so the comparison is not valid"
        reasons.append((sample_ratio.METRIC, text))
    for metric in criteria.metrics:
        shared = f"shared:{metric.name}"
        if shared in state.log_bets and reached(shared):
            reasons.append((metric.name, f"both versions break {metric.name}: rolling back would not fix it"))
        if metric.mode == "advise" and evidence[metric.name] >= limit:
            harm = f"evidence of harm {e_value(evidence[metric.name])}, limit {e_value(limit)}"
            reasons.append((metric.name, f"{explain.label(metric)}: {harm}; in mode advise a person decides"))
    return reasons


def _floors(state: State, criteria: Criteria) -> list[tuple[str, str]]:
    """List the floors below which nothing is promoted, whatever the proofs."""
    reasons: list[tuple[str, str]] = []
    sums = next(
        (state.tallies.get(metric.name) for metric in criteria.metrics if isinstance(metric, Failures)),
        next(iter(state.tallies.values()), None),
    )
    seen = 0.0 if sums is None else sums.canary_n
    if not criteria.acting():
        reasons.append(("criteria", "all metrics are in observe or advise mode, so nothing can be promoted"))
    probed = any(isinstance(metric, Answers) and metric.mode == "act" for metric in criteria.metrics)
    if probed and not state.sources.get("probes"):
        text = "changed answers: no own probe was answered, so nothing is proven"
        reasons.append(("changed answers", text))
    if state.judged < criteria.least_intervals:
        reasons.append(("traffic", f"{state.judged} intervals judged, {criteria.least_intervals} needed"))
    if seen < criteria.least_requests:
        reasons.append(("traffic", f"{seen:,.0f} canary requests seen, {criteria.least_requests:,} needed"))
    both = 0.0 if sums is None else sums.stable_n + sums.canary_n
    if sums is not None and sums.stable_n < criteria.least_stable_share * both:
        least = percent(criteria.least_stable_share)
        reasons.append(
            ("traffic", f"stable served {k_of_n(sums.stable_n, both)} requests, at least {least} needed")
        )
    return reasons


def _more_requests(missing: list[Proof], against: list[tuple[str, str]]) -> int | None:
    if not missing or len(missing) < len(against) or any(proof.more_requests is None for proof in missing):
        return None
    return max(proof.more_requests or 0 for proof in missing)


def _minutes_for(state: State, requests: int | None) -> float | None:
    seen = max((sums.canary_n for sums in state.tallies.values()), default=0.0)
    if requests is None or seen <= 0:
        return None
    return requests * state.measured_s / 60.0 / seen
