"""How a canary ended, stage by stage, and the reason in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from opslib.displayed import Displayed
from opslib.judge import IntervalResult, Verdict
from opslib.model import Observation, Outcome, Traffic
from opslib.runbooks.canary.operator_decision import OperatorDecision

NextStep = Literal["promote", "rollback", "hold", "smaller step"]
"""What follows a stage."""

MIRROR_LIMITS = (
    "Mirrored requests show failures and latency only: their answers are discarded, so not whether the answers are "
    "right or what users do with them. Requests to one deployment by header are not copied"
)
"""What a mirror stage cannot show. Source: Microsoft Learn, "Safe rollout for online endpoints"."""

OUTCOMES: Mapping[NextStep, Outcome] = {
    "promote": Outcome.SUCCEEDED,
    "hold": Outcome.HELD,
    "rollback": Outcome.ROLLED_BACK,
}
"""How a run ends whose last stage ended so."""


@dataclass(frozen=True)
class Stage:
    """One stage of a rollout: its traffic, what was served meanwhile, the verdict, and what followed.

    `next_step` is the verdict's outcome, except where the hold policy or a person decided instead: then `why` is
    the explanation, and `answer` the person's decision.
    """

    traffic: Traffic
    started_at: datetime
    bake_s: float
    observation: Observation
    verdict: Verdict
    next_step: NextStep = field(metadata={"stored_as": "turn"})
    why: str = ""
    answer: OperatorDecision | None = None
    mirror: Traffic = field(default_factory=dict)

    def share(self, canary: str) -> str:
        """Return the canary's share of live or of mirrored traffic, for people."""
        if self.mirror:
            return f"mirror {self.mirror.get(canary, 0)} %"
        return f"{self.traffic.get(canary, 0)} %"


@dataclass(frozen=True)
class Rollout(Displayed):
    """A canary's stages in order, the result of every judged interval, and how it ended.

    `max_failure_rate` and `max_p95_ms` are the limits that both versions must hold [fraction], [ms].
    """

    outcome: Outcome
    reason: str
    stable: str
    canary: str
    stages: tuple[Stage, ...]
    lines: tuple[IntervalResult, ...] = ()
    max_failure_rate: float | None = None
    max_p95_ms: float | None = None


def outcome_of(stages: Sequence[Stage], canary: str) -> tuple[Outcome, str]:
    """Return how the rollout ended and the reason, with every decision that a person made instead of the judge."""
    *earlier, last = stages
    parts = [_describe(stage, canary) for stage in earlier if stage.answer is not None]
    if last.next_step != "promote":
        parts = [_describe(last, canary), *parts]
    elif last.answer is not None:
        parts = [f"{canary} takes all traffic.", *parts, _describe(last, canary)]
    else:
        parts = [f"{canary} takes all traffic.", *parts, last.verdict.sentence]
    reason = " ".join([parts[0], *(part[0].upper() + part[1:] for part in parts[1:])])
    return OUTCOMES[last.next_step], reason


def _describe(stage: Stage, canary: str) -> str:
    why = f"{stage.why.rstrip('.')}. {stage.verdict.sentence}" if stage.why else stage.verdict.sentence
    if stage.mirror:
        served = "no user got an answer of the canary"
        return f"at {stage.mirror[canary]} % of mirrored traffic, {served}: {why.rstrip('.')}. {MIRROR_LIMITS}."
    return f"at {stage.traffic[canary]} % of traffic: {why}"
