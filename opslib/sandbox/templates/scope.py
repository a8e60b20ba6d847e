"""What the expressions of a template may refer to: place, parameters, variables, resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


class NeedsResource(Exception):  # noqa: N818 - no error: the value is there once the resource has been read
    """A value depends on what a resource answers: to a GET, or to a POST of `action`."""

    def __init__(self, wanted: str, api_version: str, action: str = "") -> None:
        super().__init__(wanted, api_version, action)
        self.wanted = wanted
        self.api_version = api_version
        self.action = action


@dataclass(frozen=True)
class VariableLoop:
    """A variable that a loop makes: a list with an item for each turn."""

    loop: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a deployment works: a resource group, or a subscription if `group` is empty."""

    subscription: str
    group: str
    location: str
    deployment: str

    @property
    def scope(self) -> str:
        """Return the ARM id below which its resources are."""
        base = f"/subscriptions/{self.subscription}"
        return f"{base}/resourceGroups/{self.group}" if self.group else base


@dataclass(frozen=True)
class Scope:
    """What an expression may refer to.

    Attributes
    ----------
    parameters
        The values of the parameters; while these are made, those made so far.
    variables
        The variables as the template has them: each is evaluated where it is used.
    read
        What resources answered so far, by id in lower case and action.
    copies
        The place in each loop around the value, by the loop's name; under "" that of the innermost.
    known
        Full ids of the template's resources, by symbolic name and by name in lower case.
    """

    place: Place
    parameters: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    read: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)

    def at(self, loop: str, index: int) -> "Scope":
        """Return the scope inside a turn of a loop."""
        return replace(self, copies={**self.copies, loop.lower(): index, "": index})
