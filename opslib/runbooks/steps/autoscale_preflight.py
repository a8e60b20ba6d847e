"""The finding about autoscale settings that a plan writes. Pure."""

from collections.abc import Collection, Sequence

from opslib.autoscale.lint import Problem, Severity
from opslib.model import Finding, Level


def check_problems(problems: Sequence[Problem], written: Collection[str]) -> Finding:
    """The settings do what they are for.

    Parameters
    ----------
    problems
        Problems of all settings of the endpoint, as they will be.
    written
        Names of the settings that the plan writes, in lower case: an error in one of them blocks the run.
    """
    if not problems:
        return Finding.ok("autoscale rules", "no rule finds a problem in the endpoint's settings")
    evidence = "; ".join(f"{one.severity}: {one.rule} of {one.setting}: {one.evidence}" for one in problems)
    fix = " ".join(dict.fromkeys(one.fix for one in problems))
    errors = [one for one in problems if one.severity is Severity.ERROR and one.setting.lower() in written]
    if errors:
        return Finding.blocker("autoscale rules", evidence, fix)
    return Finding("autoscale rules", Level.WARNING, evidence, fix)
