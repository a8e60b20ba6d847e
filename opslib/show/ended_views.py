"""What a person sees of a change that has ended, and of the requests that verified it."""

from collections.abc import Sequence
from statistics import median

from opslib.displayed import view
from opslib.model import ProbeResult, Served
from opslib.runbooks.deploy import Deployed
from opslib.runbooks.retire import Retired
from opslib.runbooks.rollback import RolledBack
from opslib.runbooks.scale import Scaled
from opslib.runbooks.validate import Validated
from opslib.show.numbers import milliseconds
from opslib.show.table import Cell, Table
from opslib.show.views import SERVED, served_cells


@view.register
def _scaled(scaled: Scaled) -> Table:
    nothing = Served(0, 0)
    rows = [
        ("before", str(scaled.instances_before), *served_cells(scaled.served_before or nothing)),
        ("after", str(scaled.instances_after), *served_cells(scaled.served_after or nothing)),
    ]
    columns = ("", "instances", *SERVED)
    title = f"Scale of {scaled.deployment}: {scaled.outcome}"
    return Table(title, columns, rows, note=scaled.reason, right=columns[1:])


@view.register
def _deployed(deployed: Deployed) -> Table:
    return _answers(f"Deployment {deployed.deployment}: {deployed.outcome}", deployed.probes, deployed.reason)


@view.register
def _retired(retired: Retired) -> Table:
    saved = "unknown" if retired.saved_per_month is None else f"{retired.saved_per_month:,.2f} {retired.currency}"
    rows: list[tuple[str, str | Cell]] = [
        *(("done", one) for one in retired.deleted),
        *(("left", one) for one in retired.left),
        ("saves per month", saved),
    ]
    if retired.restore:
        rows.append(("to create it again", Cell(retired.restore, code=True)))
    title = f"Retirement of {retired.deployment}: {retired.outcome}"
    return Table(title, ("", "what"), rows, note=retired.reason)


@view.register
def _rolled_back(rolled_back: RolledBack) -> Table:
    return _answers(f"Rollback to {rolled_back.to}: {rolled_back.outcome}", rolled_back.probes, rolled_back.reason)


@view.register
def _validated(validated: Validated) -> Table:
    title = f"Validation of {validated.deployment}: {validated.outcome}"
    return _answers(title, [one.result for one in validated.cases], validated.reason)


def _answers(title: str, probes: Sequence[ProbeResult], reason: str) -> Table:
    """The requests that a run sent, like answers together."""
    alike: dict[tuple[str, str, str], list[float]] = {}
    for probe in probes:
        key = (str(probe.status or "none"), probe.deployment or "unknown", probe.problem)
        alike.setdefault(key, []).append(probe.latency_ms)
    rows = [
        (
            f"{len(latencies):,} of {len(probes):,}",
            status,
            deployment,
            milliseconds(median(latencies)),
            milliseconds(max(latencies)),
            Cell(problem, "bad") if problem else Cell("✓ as expected", "good"),
        )
        for (status, deployment, problem), latencies in alike.items()
    ]
    columns = ("requests", "status", "answered by", "median", "slowest", "answer")
    note = reason if rows else f"{reason}. This run sent no requests of its own."
    return Table(title, columns, rows, note=note, right=("requests", "status", "median", "slowest"))
