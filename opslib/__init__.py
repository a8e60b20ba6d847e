"""Runbooks for Azure Machine Learning managed online endpoints: deploy, canary, scale, roll back, and prove it.

This is everything that a notebook may import. Names are loaded on first use, so that `import opslib` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "AutoscaleParameters": "opslib.parameters.autoscale",
    "CanaryParameters": "opslib.parameters.canary",
    "DeployParameters": "opslib.parameters.deploy",
    "DiagnoseParameters": "opslib.parameters.diagnose",
    "DriftParameters": "opslib.parameters.drift",
    "InventoryParameters": "opslib.parameters.inventory",
    "RetireParameters": "opslib.parameters.retire",
    "ReviewParameters": "opslib.parameters.review",
    "RollbackParameters": "opslib.parameters.rollback",
    "Run": "opslib.runbooks.run",
    "ScaleParameters": "opslib.parameters.scale",
    "SizeParameters": "opslib.parameters.size",
    "ValidateParameters": "opslib.parameters.validate",
    "check_autoscale": "opslib.runbooks.autoscale",
    "check_canary": "opslib.runbooks.canary.checks",
    "check_deploy": "opslib.runbooks.deploy",
    "check_retire": "opslib.runbooks.retire_checks",
    "check_rollback": "opslib.runbooks.rollback",
    "check_scale": "opslib.runbooks.scale",
    "check_size": "opslib.runbooks.size",
    "check_validate": "opslib.runbooks.validate",
    "compare_live": "opslib.runbooks.drift",
    "conclude": "opslib.runbooks.run",
    "conclude_diagnosis": "opslib.runbooks.diagnose",
    "conclude_review": "opslib.runbooks.review",
    "connect": "opslib.azure.connect",
    "deploy": "opslib.runbooks.deploy",
    "diagnose_endpoint": "opslib.runbooks.diagnose",
    "explore": "opslib.lab.explore",
    "find_target": "opslib.runbooks.rollback",
    "finish_drift": "opslib.runbooks.drift",
    "finish_inventory": "opslib.runbooks.inventory",
    "finish_size": "opslib.runbooks.size",
    "forecast_canary": "opslib.runbooks.canary.canary",
    "form": "opslib.lab.form",
    "live": "opslib.lab.live",
    "measure_demand": "opslib.runbooks.size",
    "plan_autoscale": "opslib.runbooks.autoscale",
    "plan_canary": "opslib.runbooks.canary.canary",
    "plan_deploy": "opslib.runbooks.deploy",
    "plan_retire": "opslib.runbooks.retire",
    "plan_rollback": "opslib.runbooks.rollback",
    "plan_scale": "opslib.runbooks.scale",
    "plan_validate": "opslib.runbooks.validate",
    "plot": "opslib.show.plot",
    "plot_inventory": "opslib.show.inventory",
    "plot_scale": "opslib.show.plot",
    "plot_size": "opslib.show.sizing",
    "require_clear": "opslib.runbooks.steps.preflight",
    "retire": "opslib.runbooks.retire",
    "review_endpoint": "opslib.runbooks.review",
    "roll_back": "opslib.runbooks.rollback",
    "run_stages": "opslib.runbooks.canary.canary",
    "scale": "opslib.runbooks.scale",
    "secret": "opslib.azure.secrets",
    "set_autoscale": "opslib.runbooks.autoscale",
    "size": "opslib.runbooks.size",
    "take_inventory": "opslib.runbooks.inventory",
    "validate": "opslib.runbooks.validate",
}

__all__ = [  # noqa: PLE0604 - names are strings
    *_HOMES
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"opslib has no {name!r}; it offers: {', '.join(__all__)}")
    import_module("opslib.show.registered")  # a cell that ends in a value shows it
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
