"""The segments of a published ledger (``LEDGER/000001-000042.jsonl``), named after their first and last line."""

import re
from collections.abc import Iterable

from opslib.evidence.run.files import LEDGER_SEGMENTS

_NAME = re.compile(rf"{re.escape(LEDGER_SEGMENTS)}([0-9]{{6,}})-([0-9]{{6,}})\.jsonl")


def segment_name(first: int, last: int) -> str:
    """Return the name of the segment from one line to another.

    >>> segment_name(1, 42)
    'LEDGER/000001-000042.jsonl'
    """
    return f"{LEDGER_SEGMENTS}{first:06d}-{last:06d}.jsonl"


def segment_lines(name: str) -> tuple[int, int] | None:
    """Return the numbers of a segment's first and last line; None for a name that is not of a segment."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def find_chain(names: Iterable[str]) -> list[tuple[str, int]]:
    """Return the segments that together are the ledger, in order, each with the number of its first line.

    Two publications at once may leave segments that overlap: each that is returned has lines after those before.
    """
    listed = [(*lines, name) for name in names if (lines := segment_lines(name))]
    chosen, end = [], 0
    for first, last, name in sorted(listed, key=lambda one: (one[0], -one[1])):
        if first <= end + 1 and last > end:
            chosen.append((name, first))
            end = last
    return chosen
