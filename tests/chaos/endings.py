"""What became of each canary that was killed or met a fault: a line each in a file, and all of them as a table.

The full run, and its table::

    OPSLIB_CHAOS_KILLS=200 OPSLIB_CHAOS_REPORT=kills.jsonl pytest tests/chaos -k "canary" -n 4
    python tests/chaos/endings.py kills.jsonl
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

VARIABLE = "OPSLIB_CHAOS_REPORT"
"""Names the file; without it nothing is written."""


@dataclass(frozen=True)
class Ending:
    """How one canary ended.

    `fault` is the process that was killed or what the service did, `when` at which moment. `unwatched_s` is the
    time from the kill until the traffic was safe; None without a kill [seconds]. `lost` is the number of client
    requests without a response, of `sent`.
    """

    fault: str
    when: str
    outcome: str
    safe: bool
    unwatched_s: float | None
    lost: int
    sent: int


def note(ending: Ending) -> None:
    """Add a line to the report, if one is wanted."""
    path = os.environ.get(VARIABLE)
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(ending)) + "\n")


def read(path: Path) -> list[Ending]:
    """Read a report."""
    return [Ending(**json.loads(line)) for line in path.read_text().splitlines()]


def table(endings: Iterable[Ending]) -> Iterator[str]:
    """A row for each fault and one for all of them."""
    by_fault: dict[str, list[Ending]] = {}
    for ending in endings:
        by_fault.setdefault(ending.fault, []).append(ending)
    everything = [ending for group in by_fault.values() for ending in group]
    rows = [HEAD, *(_row(fault, group) for fault, group in sorted(by_fault.items())), _row("all", everything)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD))]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


HEAD = ("killed or faulty", "tried", "safe", "unwatched s, median", "max", "requests lost", "outcomes")


def _row(fault: str, group: list[Ending]) -> tuple[str, ...]:
    seconds = [ending.unwatched_s for ending in group if ending.unwatched_s is not None]
    outcomes = Counter(ending.outcome for ending in group).most_common()
    return (
        fault,
        str(len(group)),
        str(sum(ending.safe for ending in group)),
        f"{median(seconds):.1f}" if seconds else "-",
        f"{max(seconds):.1f}" if seconds else "-",
        f"{sum(ending.lost for ending in group)} of {sum(ending.sent for ending in group)}",
        ", ".join(f"{count} {outcome}" for outcome, count in outcomes),
    )


if __name__ == "__main__":
    found = read(Path(sys.argv[1]))
    print("\n".join(table(found)))
    sys.exit(not all(ending.safe for ending in found))
