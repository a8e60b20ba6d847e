"""What a person sees of the requests that verified a change."""

from collections.abc import Sequence
from statistics import median

from opslib.model import ProbeResult
from opslib.show.numbers import milliseconds
from opslib.show.table import Cell, Table


def answers_table(title: str, probes: Sequence[ProbeResult], reason: str) -> Table:
    """Return the table of the requests that a run sent, like answers together."""
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
