"""A wave file (``wave.yml``): which endpoints, which runbook, how many at once, and what stops it.

The words are those of the tools that people know: `batches` are Ansible's `serial` and the steps of an Argo CD
ApplicationSet's progressive sync, `max_concurrency` is that of AWS Systems Manager and Azure Kubernetes Fleet
Manager, `max_failures` is Ansible's `max_fail_percentage` and Systems Manager's `max-errors`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from opslib.outcome import Outcome
from opslib.parameters import RUNBOOKS
from opslib.policy.policy import ApprovalRule, ChangeFreeze, ChangeWindow
from opslib.policy.reading import read_section
from opslib.policy.section import Section, Text
from opslib.target import TARGET

Amount = Annotated[
    str, BeforeValidator(lambda value: str(value) if type(value) is int else value), Field(pattern=r"^\d+%?$")
]
"""A number of endpoints, or a share of those of the wave such as ``10%``."""

Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)),
    Field(min_length=1),
]
"""One pattern or several, of which one must fit."""

FIELDS = ("endpoint", "workspace", "resource_group", "subscription", "region", "owner")
"""What a parameter may name in braces: columns of the endpoint's row in the inventory."""

_FIELD = re.compile(r"\{([a-z_]+)\}")


class Select(Section):
    """Which endpoints: a query of the inventory."""

    subscriptions: tuple[Text, ...] = Field(default=(), description="only these subscriptions, by id; empty: all")
    groups: tuple[Text, ...] = Field(default=(), description="only these resource groups; empty: all")
    workspaces: tuple[Text, ...] = Field(default=(), description="only these workspaces; empty: all")
    definitions: str = Field(default="", description="folder whose policies name the owners; empty: none")
    match: dict[str, Patterns] = Field(default={}, description="patterns by column of the inventory")
    tags: dict[str, Patterns] = Field(default={}, description="patterns by tag of the endpoint")
    exclude: dict[str, Patterns] = Field(default={}, description="patterns by column; what fits is left out")
    drifted_from: str = Field(
        default="", description="only endpoints that differ from this folder of definitions, as `opslib drift` does"
    )


class StopOn(Section):
    """A kind of end that stops the wave at once, whatever the number of failures."""

    outcome: Outcome
    reason: str = Field(default="", description="part of the run's reason, in any case; empty: any reason")

    def fits(self, outcome: Outcome | None, reason: str) -> bool:
        """Return whether a run ended so."""
        return outcome is self.outcome and self.reason.casefold() in reason.casefold()


class Wave(Section):
    """A wave: one runbook on many endpoints."""

    version: Literal[1] = Field(description="version of this file's format")
    name: str = Field(
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]*$", max_length=40, description="name of the wave, for its record"
    )
    reason: str = Field(default="", max_length=2000, description="why the wave is made, for its record")
    target: str = Field(default="sandbox", min_length=1, description=f"where the endpoints are: {TARGET}")
    select: Select = Select()
    runbook: str = Field(description="the runbook that each endpoint gets")
    parameters: dict[str, Any] = Field(
        default={}, description="the runbook's parameters; text may name {endpoint} and other columns"
    )
    timeout_s: float | None = Field(default=None, gt=0, description="limit of each run; empty: none [seconds]")
    first: Patterns | tuple[()] = Field(default=(), description="endpoints that go first, by patterns of names")
    batches: tuple[Amount, ...] = Field(
        default=("100%",), min_length=1, description="sizes of the batches in turn; the last one repeats"
    )
    pause_s: float = Field(default=0.0, ge=0, le=86_400, description="pause between two batches [seconds]")
    max_concurrency: Amount = Field(default="10", description="most runs at once")
    max_per_region: int | None = Field(default=None, ge=1, description="most runs at once in a region")
    max_per_owner: int | None = Field(default=None, ge=1, description="most runs at once for an owner")
    max_failures: Amount = Field(default="0", description="most runs that may fail; one more stops the wave")
    min_success_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of each batch that must succeed before the next [fraction]"
    )
    stop_on: tuple[StopOn, ...] = Field(default=(), description="ends that stop the wave at once")
    retries: int = Field(default=1, ge=0, le=5, description="how often a run whose process died is repeated")
    windows: tuple[ChangeWindow, ...] = Field(default=(), description="when runs may start; empty: at any time")
    freezes: tuple[ChangeFreeze, ...] = Field(default=(), description="when no run may start")
    approvals: ApprovalRule | None = Field(default=None, description="who must approve the wave's plan")
    roles: dict[Text, tuple[Text, ...]] = Field(default={}, description="people by role, for approvals")

    @field_validator("runbook")
    @classmethod
    def _check_runbook(cls, runbook: str) -> str:
        if runbook not in RUNBOOKS or not _has_endpoint(runbook):
            raise ValueError(f"expected one of {', '.join(name for name in RUNBOOKS if _has_endpoint(name))}")
        return runbook

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if "endpoint" in parameters:
            raise ValueError("endpoint is given by select")
        unknown = sorted(set(_fields(parameters)) - set(FIELDS))
        if unknown:
            raise ValueError(f"name {{{unknown[0]}}} in braces; expected one of {', '.join(FIELDS)}")
        return parameters

    @field_validator("max_concurrency", "batches")
    @classmethod
    def _check_amount(cls, amounts: str | tuple[str, ...]) -> str | tuple[str, ...]:
        given = (amounts,) if isinstance(amounts, str) else amounts
        if any(int(one.removesuffix("%")) == 0 for one in given):
            raise ValueError("expected at least 1, or a share above 0%")
        return amounts

    def fill_in(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters for an endpoint by its row's columns; `target` is the wave's by default."""
        columns = {name: row[name] for name in FIELDS}
        return {"target": self.target} | {name: _filled(value, columns) for name, value in self.parameters.items()}


def read_wave(path: Path) -> Wave:
    """Read and validate a wave file.

    Raises
    ------
    PolicyError
        Names file, line, field, what was expected and what is there, for every problem at once.
    """
    return read_section(Wave, path, "wave file")


def count_of(amount: str, total: int, *, least: int = 0) -> int:
    """Return the number that an amount means of a total; a share is rounded down, and at least `least`.

    >>> count_of("3", 50), count_of("10%", 50), count_of("10%", 5, least=1)
    (3, 5, 1)
    """
    share = amount.endswith("%")
    return max(total * int(amount.removesuffix("%")) // 100 if share else int(amount), least)


def _has_endpoint(runbook: str) -> bool:
    return RUNBOOKS[runbook].model_fields["endpoint"].is_required()


def _fields(value: Any) -> list[str]:
    """Return the names in braces of all texts in a value."""
    if isinstance(value, Mapping):
        return [name for inner in value.values() for name in _fields(inner)]
    if isinstance(value, list | tuple):
        return [name for inner in value for name in _fields(inner)]
    return _FIELD.findall(value) if isinstance(value, str) else []


def _filled(value: Any, columns: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(inner, columns) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, columns) for inner in value]
    return _FIELD.sub(lambda found: str(columns[found[1]]), value) if isinstance(value, str) else value
