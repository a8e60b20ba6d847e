"""A runbook's parameters from three sources: what was given, the policy, and the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from opslib.errors import PolicyError
from opslib.runbook_parameters import RunbookParameters

if TYPE_CHECKING:
    from opslib.policy.policy import Policy

P = TypeVar("P", bound=RunbookParameters)

Origin = Literal["given", "policy", "default"]
_WITH_OUTCOMES = {"bad_outcomes", "measures"}


@dataclass(frozen=True)
class Values(Generic[P]):
    """The parameters of one run.

    Attributes
    ----------
    parameters
        All of them, validated.
    origins
        Where each value came from, by name.
    policy
        The endpoint's policy, None without one.
    """

    parameters: P
    origins: Mapping[str, Origin]
    policy: "Policy | None"


def fill_from_policy(parameters: P) -> Values[P]:
    """Fill in from the policy what was not given.

    Raises
    ------
    PolicyError
        If the policy cannot be read, or is another endpoint's.
    ParameterError
        If what was given and what the policy sets do not fit together.
    """
    names, given = type(parameters).model_fields, parameters.model_fields_set
    policy: Policy | None = None
    settings: dict[str, Any] = {}
    if parameters.policy:
        policy, settings = read_settings(
            parameters.runbook, Path(parameters.policy), with_outcomes=bool(getattr(parameters, "outcomes", ""))
        )
    if policy is not None and policy.endpoint != parameters.endpoint:
        raise PolicyError(
            f"{parameters.policy} is the policy of endpoint {policy.endpoint!r}; this run is for "
            f"{parameters.endpoint!r}"
        )
    added = {name: value for name, value in settings.items() if name not in given}
    explicit = {name: getattr(parameters, name) for name in given}
    filled = type(parameters).check({**explicit, **added}) if added else parameters
    outcomes = getattr(filled, "outcomes", "")
    if outcomes and not any(getattr(filled, name) for name in _WITH_OUTCOMES):
        raise PolicyError(
            f"outcomes={outcomes!r} is given, and {parameters.policy} names no business objectives. "
            "Add them, or pass bad_outcomes or measures"
        )
    origins: dict[str, Origin] = {
        name: "given" if name in given else "policy" if name in added else "default" for name in names
    }
    return Values(filled, origins, policy)


def read_settings(runbook: str, path: Path, *, with_outcomes: bool) -> "tuple[Policy, dict[str, Any]]":
    """Read a policy, and the parameters that it sets; business outcomes only for a run that has a file of them.

    Raises
    ------
    PolicyError
        If the policy cannot be read.
    """
    from opslib.policy.reading import read_policy  # noqa: PLC0415 - a rollback without a policy does without

    policy = read_policy(path)
    settings = policy.settings(runbook)
    if "validation" in settings:
        settings["validation"] = str(path.parent / settings["validation"])
    if not with_outcomes:
        settings = {name: value for name, value in settings.items() if name not in _WITH_OUTCOMES}
    return policy, settings
