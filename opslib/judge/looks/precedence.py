"""The order of decisions: statistics first, then the owner's policy, then a person.

Harm comes first everywhere. A stage whose bake is over without a decision follows the policy; no policy promotes.
"""

from dataclasses import dataclass
from typing import Literal

from opslib.errors import JudgeError
from opslib.judge.looks.explain import waiting
from opslib.judge.values.verdict import PRECEDENCE, Decision, Verdict

Policy = Literal["rollback", "extend", "smaller step", "ask"]
POLICIES: tuple[Policy, ...] = ("rollback", "extend", "smaller step", "ask")

HoldAction = Literal["watch on", "smaller step", "ask", "give back"]

Choice = Literal["promote", "rollback", "extend"]
"""What a person may choose for an undecided stage."""

EXTRA_LOOKS: dict[Policy, int] = {"rollback": 0, "extend": 1, "smaller step": 0, "ask": 2}
"""Looks of a stage beyond `max_bake_s`: one at the end of an extension; one while a person's answer is awaited, and
one kept for the extension which that person may grant [count]. A smaller step is a stage of its own."""


def decide(*, harmful: bool, bake_over: bool, against: tuple[str, ...]) -> Decision:
    """Return the decision of one look: harm, then the clock, then any reason not to promote.

    Parameters
    ----------
    harmful
        Whether evidence or a hard stop requires a rollback.
    bake_over
        Whether the planned end of the stage has come.
    against
        Reasons not to promote.
    """
    applies: dict[Decision, bool] = {
        "rollback": harmful,
        "hold": bake_over and bool(against),
        "continue": not bake_over,
        "promote": True,
    }
    return next(decision for decision in PRECEDENCE if applies[decision])


@dataclass(frozen=True, kw_only=True)
class Bake:
    """A stage that holds.

    Attributes
    ----------
    baked_s, planned_s, max_bake_s
        Time watched so far, planned, and the most that it may take before policy decides [seconds].
    late
        Whether the source did not deliver in time what was served.
    room
        Whether there may be a stage half-way to the next planned one.
    """

    baked_s: float
    planned_s: float
    max_bake_s: float
    late: bool = False
    room: bool = False


@dataclass(frozen=True)
class AfterHold:
    """What follows a hold, and why; `bake_s` is how long the stage is watched in all [seconds]."""

    action: HoldAction
    bake_s: float
    reason: str


def after_hold(verdict: Verdict, policy: Policy, bake: Bake) -> AfterHold:
    """Choose what follows a hold.

    Before `max_bake_s` the stage is watched on, whatever the policy: for another bake where more traffic decides
    it, else to the end; where a person has to decide and the policy is "ask", the question is put at once. After
    `max_bake_s` the policy decides. No policy continues without data, and a smaller step is taken only where more
    traffic would decide, never against suspicious evidence. No policy promotes.

    Parameters
    ----------
    verdict
        With decision `hold`.
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
    why, traffic_decides = verdict.reasons[0], verdict.more_minutes is not None and not bake.late
    if bake.baked_s < bake.max_bake_s and not bake.late:
        if traffic_decides:
            about = f"{verdict.binding}: {waiting(verdict.more_minutes or 0.0)}"
            return AfterHold("watch on", min(bake.baked_s + bake.planned_s, bake.max_bake_s), about)
        if policy != "ask":
            return AfterHold("watch on", bake.max_bake_s, why)
    if policy == "ask":
        return AfterHold("ask", bake.baked_s, why)
    if policy == "extend" and bake.baked_s <= bake.max_bake_s and not bake.late:
        return AfterHold("watch on", 2 * bake.max_bake_s, f"for as long again, once: {why}")
    if policy == "smaller step" and bake.room and traffic_decides:
        return AfterHold("smaller step", bake.baked_s, f"more traffic decides it: {why}")
    return AfterHold("give back", bake.baked_s, why)


def while_asked(
    decision: Decision, choice: Choice | None, *, expired: bool
) -> Literal["promote", "rollback", "extend", "hold", "wait"]:
    """Return what happens to a stage for which a person's answer is awaited.

    The judge's rollback comes first, then its promotion unless the person chose a rollback, then the person's
    choice, then the end of the time to answer.

    Parameters
    ----------
    decision
        The judge's decision at this look.
    choice
        The person's answer; None while there is none.
    expired
        Whether the time to answer is over.
    """
    if decision == "rollback":
        return "rollback"
    if decision == "promote" and choice != "rollback":
        return "promote"
    if choice is not None:
        return choice
    return "hold" if expired else "wait"
