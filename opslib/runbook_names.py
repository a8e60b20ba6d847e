"""The names of the runbooks, for help and refusals, which do without the parameters' classes."""

from opslib.errors import ParameterError

RUNBOOK_NAMES = (
    *("deploy", "validate", "canary", "scale", "size", "autoscale", "retire", "rollback", "inventory", "drift"),
    *("review", "diagnose"),
)


def require_runbook(name: str) -> None:
    """Raise unless there is a runbook of this name.

    Raises
    ------
    ParameterError
        Lists the names.
    """
    if name not in RUNBOOK_NAMES:
        known = ", ".join(sorted(RUNBOOK_NAMES))
        raise ParameterError(f"there is no runbook {name!r}: expected one of {known}")
