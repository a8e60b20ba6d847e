"""How a canary went, stage by stage: values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from opslib.displayed import Displayed
from opslib.judge import IntervalResult, Verdict
from opslib.model import Observation, Outcome, Traffic
from opslib.runbooks.canary.operator_decision import OperatorDecision

NextStep = Literal["promote", "rollback", "hold", "smaller step"]
"""What follows a stage."""


@dataclass(frozen=True)
class Stage:
    """One stage of a rollout: the traffic it held, what was served meanwhile, the verdict, and what followed.

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


@dataclass(frozen=True)
class Rollout(Displayed):
    """How a canary went: its stages in order, every judged interval, and how it ended."""

    outcome: Outcome
    reason: str
    stable: str
    canary: str
    stages: tuple[Stage, ...]
    lines: tuple[IntervalResult, ...] = ()
