"""Importing this module lets every value that displays itself be shown.

The views of a kind of value are imported with the first value that is shown: some load the statistics of the judge.
"""

from opslib.displayed import register_modules

MODULES = {
    "opslib.access.assignments": "opslib.show.review",
    "opslib.diagnosis.cause": "opslib.show.diagnosis",
    "opslib.drift.compare": "opslib.show.drift",
    "opslib.evidence.run.record": "opslib.show.views",
    "opslib.fleet.plan": "opslib.show.fleet",
    "opslib.fleet.rules": "opslib.show.fleet",
    "opslib.inventory.rows": "opslib.show.inventory",
    "opslib.judge.proof.power": "opslib.show.canary_views",
    "opslib.judge.values.verdict": "opslib.show.canary_views",
    "opslib.model.cost": "opslib.show.costs",
    "opslib.model.endpoint": "opslib.show.views",
    "opslib.model.plan": "opslib.show.views",
    "opslib.model.served": "opslib.show.views",
    "opslib.review.finding": "opslib.show.review",
    "opslib.runbooks.autoscale": "opslib.show.autoscale",
    "opslib.runbooks.canary.rollout": "opslib.show.canary_views",
    "opslib.runbooks.deploy": "opslib.show.deployed",
    "opslib.runbooks.progress": "opslib.show.progress",
    "opslib.runbooks.retire": "opslib.show.retired",
    "opslib.runbooks.rollback": "opslib.show.rolled_back",
    "opslib.runbooks.run": "opslib.show.views",
    "opslib.runbooks.scale": "opslib.show.scaled",
    "opslib.runbooks.status": "opslib.show.status",
    "opslib.runbooks.validate": "opslib.show.validated",
    "opslib.sizing.demand": "opslib.show.sizing",
    "opslib.sizing.recommend": "opslib.show.sizing",
}
"""The module that registers a class's view, by the class's own module."""

register_modules(MODULES)
