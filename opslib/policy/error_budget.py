"""The error budget of a window: how many requests may fail by the objective, and how many of them have. Pure.

Source: Google, "Site Reliability Workbook", chapter 2: the budget is one minus the objective, times the requests.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from opslib.model import Served


@dataclass(frozen=True)
class ErrorBudget:
    """Failures that an objective allows, and those that were measured.

    Attributes
    ----------
    max_failure_rate
        The objective: highest share of failed requests [fraction].
    requests, failures
        Measured in the window, over all deployments [count].
    """

    max_failure_rate: float
    requests: int
    failures: int

    @property
    def allowed(self) -> float:
        """Failures that the objective allows for these requests [count]."""
        return self.max_failure_rate * self.requests

    @property
    def left(self) -> float | None:
        """Share of the budget that is left; negative where it is exceeded, None without requests [fraction]."""
        return 1.0 - self.failures / self.allowed if self.requests else None


def error_budget(max_failure_rate: float, served: Iterable[Served]) -> ErrorBudget:
    """Return the budget of what all deployments served.

    >>> from opslib.model import Served
    >>> error_budget(0.01, [Served(900, 2), Served(100, 1)]).left
    0.7
    """
    parts = list(served)
    return ErrorBudget(max_failure_rate, sum(one.requests for one in parts), sum(one.failures for one in parts))
