"""What to judge: a frozen, validated description whose digest keys the evidence."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from opslib.errors import JudgeError
from opslib.judge.values.metrics import (
    Answers,
    BusinessOutcome,
    Criterion,
    Failures,
    Joint,
    Latency,
    Mean,
    Ranks,
    Slo,
    check,
    require,
)
from opslib.judge.values.mixture import Mixture


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Everything that a verdict depends on besides the traffic.

    Attributes
    ----------
    metrics
        What is watched; names differ.
    alpha
        Largest probability of ever rolling back a canary that is within every tolerance; in (0, 0.5) [fraction].
    promote_alpha
        Largest probability, per metric, that a canary at its limit counts as proven at the end of a stage.
    looks
        How often the end of one stage may be judged (1 + extensions of a hold); `promote_alpha` is shared by them.
    suspicion
        Evidence of harm, an e-value, from which on nothing is promoted, proven or not; > 1.
    least_intervals, least_requests
        Floors below which nothing is promoted, whatever was proven [count].
    least_stable_share
        Share of the traffic that stable must have for a comparison [fraction].
    most_gain
        No interval multiplies a metric's evidence by more than this; None is no cap.
    warm_up_s
        Traffic in the first seconds after the first request to the canary is not judged [seconds].
    probes_prove
        Whether own probes count towards proofs and floors, as they must in a stage before any user; else they only
        count as evidence of harm.
    idle, onsets_per_minute, moves_per_minute
        See `Mixture`.
    """

    metrics: tuple[Criterion, ...] = field(default_factory=lambda: (Failures(), Latency(), Joint()))
    alpha: float = 0.05
    promote_alpha: float = 0.05
    looks: int = 1
    suspicion: float = 10.0
    least_intervals: int = 5
    least_requests: int = 200
    least_stable_share: float = 0.05
    most_gain: float | None = None
    warm_up_s: float = 0.0
    probes_prove: bool = False
    idle: float = 0.3
    onsets_per_minute: float = 1 / 30
    moves_per_minute: float = 1 / 60

    def __post_init__(self) -> None:
        """Refuse criteria that cannot be judged, naming what was expected and what was seen."""
        names = [metric.name for metric in self.metrics]
        require(bool(names), "metrics", "at least one", names)
        require(len(set(names)) == len(names), "metric names", "all different", names)
        require(0 < self.alpha < 0.5, "alpha", "within (0, 0.5)", self.alpha)
        require(0 < self.promote_alpha < 0.5, "promote_alpha", "within (0, 0.5)", self.promote_alpha)
        require(self.looks >= 1, "looks", "at least 1", self.looks)
        require(self.suspicion > 1, "suspicion", "above 1", self.suspicion)
        require(0 <= self.idle < 1, "idle", "within [0, 1)", self.idle)
        require(self.most_gain is None or self.most_gain > 1, "most_gain", "None or above 1", self.most_gain)
        for metric in self.metrics:
            check(metric)
        kinds = {type(metric) for metric in self.metrics}
        if Joint in kinds:
            require({Failures, Latency} <= kinds, "Joint", "Failures and Latency beside it", names)

    def acting(self) -> dict[str, float]:
        """Return the metrics that may roll back, with weights that sum to 1."""
        weights = {metric.name: metric.weight for metric in self.metrics if metric.mode == "act"}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def digest(self) -> str:
        """Hash every field; equal criteria have equal digests on every machine."""
        return hashlib.sha256(json.dumps(describe(self), sort_keys=True).encode()).hexdigest()


def bets(metric: Criterion, criteria: Criteria) -> Mixture:
    """Return the mixture over effects of one metric."""
    prior = getattr(metric, "prior", (1.0,))
    return Mixture(
        prior=prior,
        idle=criteria.idle,
        onsets_per_minute=criteria.onsets_per_minute,
        moves_per_minute=criteria.moves_per_minute,
    )


def describe(criteria: Criteria) -> dict[str, Any]:
    """Write criteria as JSON values; each metric with its kind."""
    rows = [{"kind": _KIND_NAMES[type(metric)], **asdict(metric)} for metric in criteria.metrics]
    return {**asdict(criteria), "metrics": rows}


def read_criteria(described: Mapping[str, Any]) -> Criteria:
    """Read what `describe` wrote, so that a record is judged by its own criteria and not by today's.

    Raises
    ------
    JudgeError
        If it names a kind of metric or a setting that this version does not know.
    """
    try:
        rows = [{name: _tuples(value) for name, value in row.items()} for row in described["metrics"]]
        metrics = tuple(_KINDS[row.pop("kind")](**row) for row in rows)
        return Criteria(**{**described, "metrics": metrics})
    except (KeyError, TypeError) as error:
        raise JudgeError(f"criteria of another version of the judge: {error} is not known") from error


_KINDS: dict[str, type[Criterion]] = {
    "Failures": Failures,
    "Latency": Latency,
    "Ranks": Ranks,
    "Together": Joint,
    "Slo": Slo,
    "Outcome": BusinessOutcome,
    "Answers": Answers,
    "Mean": Mean,
}
"""Kinds of metrics by the name that archives hold and digests are made of."""

_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value
