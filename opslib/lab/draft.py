"""The parameters of a runbook as a person types them: what is valid so far, and where each value comes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from opslib.errors import OpsError, ParameterError
from opslib.parameters import RUNBOOKS
from opslib.policy.values import Origin, Values, fill_from_policy, read_settings
from opslib.runbook_parameters import RunbookParameters


@dataclass(frozen=True)
class Shown:
    """The value that a run would use for one parameter, as text, and its origin; "missing" where it has none."""

    text: str
    origin: Origin | str


@dataclass(frozen=True)
class CheckedDraft:
    """What was typed, checked as a run checks it.

    Attributes
    ----------
    values
        All parameters of the run; None while there is a problem.
    shown
        By parameter: the value and its origin.
    problems
        By parameter: what a run would refuse. The name is empty for a problem of several parameters.
    """

    values: Values[RunbookParameters] | None
    shown: Mapping[str, Shown]
    problems: Mapping[str, str]

    @property
    def given(self) -> dict[str, Any]:
        """The values that were typed, read; empty while there is a problem."""
        if self.values is None:
            return {}
        names = [name for name, origin in self.values.origins.items() if origin == "given"]
        return {name: getattr(self.values.parameters, name) for name in names}


def check_draft(runbook: str, typed: Mapping[str, str]) -> CheckedDraft:
    """Check what a person has typed, by the validation that a run makes; empty text gives nothing."""
    kind = runbook_class(runbook)
    given = {name: text for name, text in typed.items() if text}
    settings, problems = _policy_settings(runbook, given)
    try:
        for name, problem in kind.problems(given):
            problems[name] = f"{problems[name]}; {problem}" if name in problems else problem
    except ParameterError as error:
        problems[""] = str(error)
    values = None
    if not problems:
        try:
            values = fill_from_policy(kind.check(given))
        except OpsError as error:
            problems["policy"] = str(error)
    return CheckedDraft(values, _shown(kind, given, settings), problems)


def runbook_class(runbook: str) -> type[RunbookParameters]:
    """Return the class of a runbook's parameters.

    Raises
    ------
    ParameterError
        If there is no such runbook.
    """
    if runbook not in RUNBOOKS:
        raise ParameterError(f"there is no runbook {runbook!r}: expected one of {', '.join(RUNBOOKS)}")
    return RUNBOOKS[runbook]


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Return the values that a parameter can have, as text; empty where it is not one of a few."""
    if field.annotation is bool:
        return ("true", "false")
    values = get_args(field.annotation)
    return values if values and all(isinstance(value, str) for value in values) else ()


def as_text(value: Any) -> str:
    """Write a parameter's value as it is typed in a form or on a command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _policy_settings(runbook: str, given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the policy sets, and the problem of a policy that cannot be read."""
    if "policy" not in given:
        return {}, {}
    try:
        _, settings = read_settings(runbook, Path(given["policy"]), with_outcomes="outcomes" in given)
    except OpsError as error:
        return {}, {"policy": str(error)}
    return settings, {}


def _shown(
    kind: type[RunbookParameters], given: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Shown]:
    shown = {}
    for name, field in kind.model_fields.items():
        if name in given:
            shown[name] = Shown(given[name], "given")
        elif name in settings:
            shown[name] = Shown(as_text(settings[name]), "policy")
        elif field.is_required():
            shown[name] = Shown("", "missing")
        else:
            shown[name] = Shown(as_text(field.default), "default")
    return shown
