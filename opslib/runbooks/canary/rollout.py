"""How a canary went, stage by stage: values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from opslib.displayed import Displayed
from opslib.judge import Line, Verdict
from opslib.model import Observation, Outcome, Traffic
from opslib.runbooks.canary.answer import Answer

Turn = Literal["promote", "rollback", "hold", "smaller step"]
"""Where a stage led to."""


@dataclass(frozen=True)
class Stage:
    """One stage of a rollout: the traffic it held, what was served meanwhile, the verdict, and what followed.

    `turn` is the verdict's outcome but where policy or a person decided in the judge's place: `why` then says so,
    and `answer` is that person's.
    """

    traffic: Traffic
    started_at: datetime
    bake_s: float
    observation: Observation
    verdict: Verdict
    turn: Turn
    why: str = ""
    answer: Answer | None = None


@dataclass(frozen=True)
class Rollout(Displayed):
    """How a canary went: its stages in order, every judged interval, and how it ended."""

    outcome: Outcome
    reason: str
    stable: str
    canary: str
    stages: tuple[Stage, ...]
    lines: tuple[Line, ...] = ()
