"""Runbooks for Azure Machine Learning managed online endpoints: deploy, canary, scale, roll back, and prove it.

This is everything that a notebook may import. Names are loaded on first use, so that `import opslib` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "CanaryParameters": "opslib.parameters",
    "DeployParameters": "opslib.parameters",
    "RollbackParameters": "opslib.parameters",
    "Run": "opslib.change.run",
    "ScaleParameters": "opslib.parameters",
    "check_canary": "opslib.change.canary",
    "check_deploy": "opslib.change.deploy",
    "check_rollback": "opslib.change.rollback",
    "check_scale": "opslib.change.scale",
    "conclude": "opslib.change.run",
    "connect": "opslib.azure.connect",
    "deploy": "opslib.change.deploy",
    "find_target": "opslib.change.rollback",
    "plan_canary": "opslib.change.canary",
    "plan_deploy": "opslib.change.deploy",
    "plan_rollback": "opslib.change.rollback",
    "plan_scale": "opslib.change.scale",
    "plan_table": "opslib.show.table",
    "plot": "opslib.show.plot",
    "plot_scale": "opslib.show.plot",
    "require_clear": "opslib.change.preflight",
    "roll_back": "opslib.change.rollback",
    "scale": "opslib.change.scale",
    "secret": "opslib.azure.secrets",
    "table": "opslib.show.table",
    "walk": "opslib.change.canary",
}

__all__ = [  # noqa: PLE0604 - names are strings
    *_HOMES
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"opslib has no {name!r}; it offers: {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
