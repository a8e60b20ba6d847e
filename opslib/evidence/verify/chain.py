"""The ledger as verification reads it: each line follows from the one before."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.run.files import LEDGER, MONTH_PATTERN
from opslib.evidence.signing.findings import VerifyFinding, incomplete, tampered
from opslib.evidence.verify.baseline import Baseline

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MONTH = re.compile(MONTH_PATTERN)
_FOLDER = re.compile(rb'"folder":"([^"\\]+)"[^\n]*\n')


@dataclass(frozen=True)
class Witness:
    """Proof that the first `lines` lines of the ledger existed at a time; `keyid` is empty for a time token."""

    lines: int
    at: datetime
    keyid: str = ""


@dataclass
class Chain:
    """The ledger as read: digest and end of each line, each run's lines by event, findings, independent times.

    After a baseline, digests and ends begin with those of the last line that it covers, and `verified` holds the
    folders of the runs that were verified then.
    """

    first_line: int = 0
    digests: list[str] = field(default_factory=lambda: [ledger.GENESIS])
    ends: list[int] = field(default_factory=lambda: [0])
    runs: dict[str, dict[str, ledger.Entry]] = field(default_factory=dict)
    findings: list[VerifyFinding] = field(default_factory=list)
    verified: frozenset[str] = frozenset()
    witnesses: list[Witness] = field(default_factory=list)
    _earliest: dict[str, "_Earliest"] = field(default_factory=dict)

    def seen_at(self, line: int, keyid: str) -> datetime | None:
        """Return the earliest time of a line that does not depend on a key; None without one."""
        if not self._earliest:
            self._earliest = {key: _Earliest.of(self.witnesses, key) for key in {w.keyid for w in self.witnesses}}
        times = [seen.at(line) for key, seen in self._earliest.items() if key != keyid]
        return min((time for time in times if time), default=None)

    def witness(self, *witnesses: Witness) -> None:
        """Add proofs of the time of lines."""
        self.witnesses += witnesses
        self._earliest = {}

    @property
    def lines(self) -> int:
        """Number of lines."""
        return self.first_line + len(self.digests) - 1

    @property
    def head(self) -> str:
        """Digest of the last line."""
        return self.digests[-1]

    def state_at(self, line: int) -> tuple[str, int] | None:
        """Return digest and end of a line; None where it was not read."""
        place = line - self.first_line
        return (self.digests[place], self.ends[place]) if 0 <= place < len(self.digests) else None


@dataclass(frozen=True)
class _Earliest:
    """The lines that one key witnessed, in order, each with the earliest time of it and of all later ones."""

    lines: list[int]
    times: list[datetime]

    @classmethod
    def of(cls, witnesses: Iterable[Witness], keyid: str) -> "_Earliest":
        """Return those of a key."""
        own = sorted((w for w in witnesses if w.keyid == keyid), key=lambda w: w.lines)
        times = list(accumulate((w.at for w in reversed(own)), min))
        return cls([w.lines for w in own], times[::-1])

    def at(self, line: int) -> datetime | None:
        """Return the earliest time at which a line was seen."""
        place = bisect_left(self.lines, line)
        return self.times[place] if place < len(self.times) else None


def read_chain(archive: Path, baseline: Baseline | None = None) -> Chain:
    """Read the ledger and record what is wrong with its lines.

    What a baseline covers must be the same bytes as when it was verified; only lines after it are read one by one.
    """
    chain = Chain()
    path = archive / LEDGER
    if path.is_symlink() or not path.is_file():
        chain.findings.append(tampered("missing, or not a regular file", file=LEDGER))
        return chain
    with path.open("rb") as file:
        if baseline:
            _begin(chain, file.read(baseline.size_bytes), baseline)
        for number, line in enumerate(file, start=chain.first_line + 1):
            if not line.endswith(b"\n"):
                chain.findings.append(incomplete("the last line is unfinished, as after a crash", file=LEDGER))
                break
            chain.findings += _add(chain, number, line)
    return chain


def _begin(chain: Chain, known: bytes, baseline: Baseline) -> None:
    """Begin a chain with what a baseline covers: the folders of its runs, and the lines of those left open."""
    if hashlib.sha256(known).hexdigest() != baseline.ledger_sha256:
        why = f"the first {baseline.lines} lines are not the ones of the baseline: the ledger was rewritten or cut"
        chain.findings.append(tampered(why, file=LEDGER))
    chain.first_line, chain.digests, chain.ends = baseline.lines, [baseline.head_sha256], [baseline.size_bytes]
    pending = frozenset(baseline.pending)
    folders = (match.decode(errors="replace") for match in _FOLDER.findall(known))
    chain.verified = frozenset(folder for folder in folders if folder.rpartition("/")[2] not in pending)
    for line in known.splitlines(keepends=True) if pending else ():
        if any(run.encode() in line for run in pending):
            with suppress(RecordError):  # then these are not the bytes of the baseline, which is a finding
                entry = ledger.read_entry(line, 0)
                if entry.run in pending:
                    chain.runs.setdefault(entry.run, {})[entry.event] = entry


def _add(chain: Chain, number: int, line: bytes) -> Iterator[VerifyFinding]:
    """Verify one line and add it to the chain."""
    where = f"{LEDGER}, line {number}"
    before = chain.head
    chain.digests.append(hashlib.sha256(line).hexdigest())
    chain.ends.append(chain.ends[-1] + len(line))
    try:
        entry = ledger.read_entry(line, number)
    except RecordError as error:
        yield tampered(str(error), file=where)
        return
    if entry.seq != number or entry.prev != before:
        yield tampered(
            "does not follow from the line before: a line was changed, removed or moved", entry.run, where
        )
    if entry.event not in {ledger.STARTED, ledger.FINISHED} or not _RUN.fullmatch(entry.run):
        yield tampered(f"unknown event {entry.event!r} or invalid run id", entry.run, where)
        return
    known = chain.runs.setdefault(entry.run, {})
    if entry.event in known or (entry.event == ledger.FINISHED and not known):
        yield tampered(f"the run is {entry.event} twice, or finished before it was started", entry.run, where)
        return
    if entry.event == ledger.STARTED and entry.folder in chain.verified:
        yield tampered("the run is started twice", entry.run, where)
        return
    if entry.event == ledger.STARTED and not _is_place(entry):
        yield tampered(f"folder is outside the archive: {entry.folder!r}", entry.run, where)
        return
    known[entry.event] = entry


def _is_place(entry: ledger.Entry) -> bool:
    month, slash, run = entry.folder.partition("/")
    return bool(slash) and run == entry.run and _MONTH.fullmatch(month) is not None
