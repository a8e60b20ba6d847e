"""Autoscale settings and their problems as tables."""

from collections.abc import Sequence

from opslib.autoscale.lint import Problem, Severity
from opslib.autoscale.setting import ScaleSetting
from opslib.displayed import view
from opslib.model import Outcome
from opslib.runbooks.autoscale import Autoscaled
from opslib.show.table import Cell, Table, Tables


@view.register
def _autoscaled(ended: Autoscaled) -> Tables:
    done = Table(f"Autoscale of {ended.endpoint}: {ended.outcome}", ("",), (), note=ended.reason)
    if ended.outcome is Outcome.PLANNED:
        return Tables((done,))
    settings = settings_table(ended.endpoint, ended.settings)
    return Tables((done, settings, problems_table(ended.endpoint, len(ended.settings), ended.problems)))


def settings_table(endpoint: str, settings: Sequence[ScaleSetting]) -> Table:
    """Return the settings, a row for each profile."""
    rows = [
        (
            one.name if number == 0 else "",
            one.deployment if number == 0 else "",
            ("yes" if one.enabled else Cell("no", "warning")) if number == 0 else "",
            profile.when,
            f"{profile.minimum} to {profile.maximum}, default {profile.default}",
            "\n".join(map(str, profile.rules)) or "none",
        )
        for one in settings
        for number, profile in enumerate(one.profiles)
    ]
    columns = ("setting", "deployment", "enabled", "when", "instances", "rules")
    note = "" if rows else "No autoscale setting targets a deployment of this endpoint."
    return Table(f"Autoscale settings of {endpoint}", columns, rows, note=note)


def problems_table(endpoint: str, settings: int, problems: Sequence[Problem]) -> Table:
    """Return the problems, each with what to do."""
    rows = [
        (
            Cell(one.severity, "bad" if one.severity is Severity.ERROR else "warning"),
            one.rule,
            f"{one.setting}, {one.profile}" if one.profile else one.setting,
            one.evidence,
            one.fix,
        )
        for one in problems
    ]
    note = f"Problems: {len(problems)}; settings: {settings}."
    return Table(f"Autoscale of {endpoint}", ("severity", "rule", "of", "seen", "how to fix it"), rows, note=note)
