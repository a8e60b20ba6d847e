"""What to do when the bake is over and nothing is decided: policy, not statistics, and never a silent promotion."""

from __future__ import annotations

from typing import Literal

from opslib.errors import JudgeError
from opslib.judge.verdict import Verdict

Policy = Literal["extend", "smaller step", "ask", "rollback"]
Action = Literal["extend", "smaller step", "ask", "rollback"]
POLICIES: tuple[Policy, ...] = ("extend", "smaller step", "ask", "rollback")


def after_hold(verdict: Verdict, policy: Policy, *, baked_s: float, max_bake_s: float) -> tuple[Action, str]:
    """Choose what follows a hold.

    Parameters
    ----------
    verdict
        With outcome `hold`.
    policy
        What the endpoint's owner wants once `max_bake_s` is reached: go on for as long again, move traffic on by a
        smaller step than planned, ask a person, or roll back.
    baked_s, max_bake_s
        Time baked in this stage and the most that it may take [seconds].

    Returns
    -------
    action, reason
        Before `max_bake_s` a hold that more traffic decides extends the bake whatever the policy is, as long as a
        look is left; a hold that needs a person asks at once.

    Raises
    ------
    JudgeError
        If the verdict is no hold or the policy is unknown.
    """
    if verdict.outcome != "hold":
        raise JudgeError(f"after_hold: expected a verdict of hold, got {verdict.outcome}")
    if policy not in POLICIES:
        raise JudgeError(f"policy: expected one of {POLICIES}, got {policy!r}")
    left_s = max_bake_s - baked_s
    if verdict.more_minutes is not None and left_s > 0:
        return "extend", f"{verdict.binding}: about {verdict.more_minutes:.0f} more minutes decide it"
    if left_s > 0 and policy != "rollback":
        return "ask", f"{verdict.reasons[0]}"
    return policy, f"{verdict.reasons[0]}; {max_bake_s / 60:g} minutes of bake are used"
