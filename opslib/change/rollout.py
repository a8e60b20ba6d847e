"""How a canary went, stage by stage: values."""

from dataclasses import dataclass
from datetime import datetime

from opslib.judge import Line, Verdict
from opslib.model import Observation, Outcome, Traffic


@dataclass(frozen=True)
class Stage:
    """One stage of a rollout: the traffic it held, what was served meanwhile, and the verdict."""

    traffic: Traffic
    started_at: datetime
    bake_s: float
    observation: Observation
    verdict: Verdict


@dataclass(frozen=True)
class Rollout:
    """How a canary went: its stages in order, every judged interval, and how it ended."""

    outcome: Outcome
    reason: str
    stable: str
    canary: str
    stages: tuple[Stage, ...]
    lines: tuple[Line, ...] = ()
