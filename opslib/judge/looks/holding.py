"""What to do when the bake is over and nothing is decided: policy, not statistics, and never a silent promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from opslib.errors import JudgeError
from opslib.judge.looks.explain import waiting
from opslib.judge.values.verdict import Verdict

Policy = Literal["rollback", "extend", "smaller step", "ask"]
Action = Literal["watch on", "smaller step", "ask", "give back"]
POLICIES: tuple[Policy, ...] = ("rollback", "extend", "smaller step", "ask")

EXTRA_LOOKS: dict[Policy, int] = {"rollback": 0, "extend": 1, "smaller step": 0, "ask": 2}
"""Looks that a stage may take beyond `max_bake_s`: one at the end of an extension; one while a person is asked, and
one that is kept for the extension which that person may grant [count]. A smaller step is a stage of its own."""


@dataclass(frozen=True, kw_only=True)
class Bake:
    """A stage that holds.

    Attributes
    ----------
    baked_s, planned_s, max_bake_s
        Time watched so far, planned, and the most that it may take before policy decides [seconds].
    blind
        Whether the source did not show in time what was served.
    room
        Whether there may be a stage half-way to the next planned one.
    """

    baked_s: float
    planned_s: float
    max_bake_s: float
    blind: bool = False
    room: bool = False


@dataclass(frozen=True)
class Next:
    """What follows a hold, and why; `bake_s` is how long the stage is watched in all [seconds]."""

    action: Action
    bake_s: float
    reason: str


def after_hold(verdict: Verdict, policy: Policy, bake: Bake) -> Next:
    """Choose what follows a hold.

    Before `max_bake_s` the stage is watched on, whatever the policy is: for another bake where more traffic decides
    it, else to the end; where it needs a person and one may be asked, that is done at once. From there on policy
    decides. No policy goes on blindly, and a smaller step is for what more traffic decides, never for evidence
    that is suspicious. Nothing promotes.

    Parameters
    ----------
    verdict
        With outcome `hold`.
    policy
        What the endpoint's owner wants once `max_bake_s` is reached: give the traffic back, go on for as long again
        (once), move traffic on by a smaller step than planned, or ask a person.
    bake
        The stage so far.

    Raises
    ------
    JudgeError
        If the verdict is no hold or the policy is unknown.
    """
    if verdict.outcome != "hold":
        raise JudgeError(f"after_hold: expected a verdict of hold, got {verdict.outcome}")
    if policy not in POLICIES:
        raise JudgeError(f"policy: expected one of {POLICIES}, got {policy!r}")
    why, traffic_decides = verdict.reasons[0], verdict.more_minutes is not None and not bake.blind
    if bake.baked_s < bake.max_bake_s and not bake.blind:
        if traffic_decides:
            about = f"{verdict.binding}: {waiting(verdict.more_minutes or 0.0)}"
            return Next("watch on", min(bake.baked_s + bake.planned_s, bake.max_bake_s), about)
        if policy != "ask":
            return Next("watch on", bake.max_bake_s, why)
    if policy == "ask":
        return Next("ask", bake.baked_s, why)
    if policy == "extend" and bake.baked_s <= bake.max_bake_s and not bake.blind:
        return Next("watch on", 2 * bake.max_bake_s, f"for as long again, once: {why}")
    if policy == "smaller step" and bake.room and traffic_decides:
        return Next("smaller step", bake.baked_s, f"more traffic decides it: {why}")
    return Next("give back", bake.baked_s, why)
