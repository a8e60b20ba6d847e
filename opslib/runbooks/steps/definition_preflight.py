"""Findings about a deployment's definition before it is created. Pure: what was read comes in."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from opslib.definitions.beforehand import Unknown
from opslib.definitions.rules import Severity, Violation
from opslib.model import Finding, Level


def check_definition(path: str, violations: Sequence[Violation]) -> tuple[Finding, ...]:
    """The definition breaks no rule of the service that can be checked without it."""
    levels = {Severity.ERROR: Level.BLOCKER, Severity.WARNING: Level.WARNING, Severity.NOTE: Level.OK}
    clear = not any(violation.severity is Severity.ERROR for violation in violations)
    passed = (
        (Finding.ok("definition", f"{path} breaks none of the rules that can be checked in it"),) if clear else ()
    )
    return passed + tuple(
        Finding(
            f"definition: {violation.rule}",
            levels[violation.severity],
            f"{path}:{violation.line}: {violation.field} is {violation.seen}; expected {violation.expected}",
            violation.fix,
        )
        for violation in violations
    )


def check_beforehand(unknown: Sequence[Unknown]) -> Finding:
    """What the dry run cannot know: only the creation shows it."""
    if not unknown:
        return Finding.ok("beforehand", "everything that can fail is checked")
    evidence = "not known beforehand: " + "; ".join(one.what for one in unknown)
    if all(one.usual for one in unknown):
        return Finding.ok("beforehand", f"{evidence}. If one fails, this run deletes the deployment again")
    return Finding(
        "beforehand",
        Level.WARNING,
        evidence,
        "Nothing has to be done: if the creation is refused, the run ends as refused; if it fails, it is undone.",
    )


def check_instance_type(wanted: str, offered: Mapping[str, int]) -> Finding:
    """The region offers the instance type; `offered` holds cores by name [vCPU]."""
    names = {name.lower(): name for name in offered}
    if wanted.lower() in names:
        return Finding.ok("instance type", f"{wanted} is offered, {offered[names[wanted.lower()]]} cores")
    near = get_close_matches(wanted.lower(), names, 3)
    fix = f"Use one that is, such as {', '.join(names[one] for one in near)}." if near else "Use one that is."
    return Finding.blocker("instance type", f"{wanted} is not offered in the endpoint's region", fix)


def check_quota(family: str, needed: int, used: int, limit: int) -> Finding:
    """The family's quota has room for the new instances, the service's 20 % reserve included [vCPU]."""
    if limit < 0:
        return Finding.ok("quota", f"{family}: no limit, {needed} cores needed")
    state = f"{family}: {used} of {limit} cores used, {needed} more needed (20 % reserve included)"
    if used + needed <= limit:
        return Finding.ok("quota", state)
    return Finding.blocker(
        "quota", state, "Use fewer or smaller instances, remove a deployment, or raise the quota."
    )


def check_asset(kind: str, reference: str, found: str, problem: str = "") -> Finding:
    """A registered model or environment is there; a label is resolved to the version that it names now."""
    if problem:
        evidence = f"not known beforehand: {reference} could not be looked up: {problem}"
        return Finding(kind, Level.WARNING, evidence, "If the creation is refused for it, the run ends as refused.")
    if not found:
        return Finding.blocker(
            kind, f"{reference} is not in the {_place(reference)}", "Register it, or correct name and version."
        )
    if found == reference:
        return Finding.ok(kind, f"{reference} is registered")
    return Finding(
        kind, Level.WARNING, f"{reference} is {found} now", f"Pin it: the deployment is created with {found}."
    )


def _place(reference: str) -> str:
    match = re.match("azureml://registries/([^/]+)/", reference)
    return f"registry {match[1]}" if match else "workspace"
