"""Importing this module registers a view of every value that displays itself.

A command that shows one kind of value imports its module alone: the others load the statistics of the judge.
"""

from opslib.show import (
    autoscale,
    costs,
    diagnosis,
    drift,
    fleet,
    inventory,
    progress,
    review,
    sizing,
    status,
    views,
)

__all__ = [
    "autoscale",
    "costs",
    "diagnosis",
    "drift",
    "fleet",
    "inventory",
    "progress",
    "review",
    "sizing",
    "status",
    "views",
]
