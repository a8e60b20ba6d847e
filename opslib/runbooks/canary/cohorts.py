"""Outcomes that follow a request later, counted by the version that answered it."""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import fmean, pvariance

from opslib.azure.request_log import Exposure
from opslib.azure.source import Source
from opslib.errors import DefinitionError, ObserveError
from opslib.judge import Arm, Interval, settled_cohorts

REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
"""A request id that is safe inside a query."""


@dataclass(frozen=True)
class RequestOutcome:
    """One outcome or measure of one request: whether it was bad, or its value."""

    request_id: str
    name: str
    bad: bool | None = None
    value: float | None = None


def read_request_outcome(text: str) -> RequestOutcome:
    """Read one line: ``{"request_id", "outcome", "bad"}`` or ``{"request_id", "measure", "value"}``.

    Raises
    ------
    DefinitionError
        If it is neither.
    """
    try:
        line = json.loads(text)
        keys = set(line) if isinstance(line, dict) else set()
        request_id = str(line["request_id"]) if "request_id" in keys else ""
        if not REQUEST_ID.fullmatch(request_id):
            raise ValueError('expected a "request_id" of at most 128 letters, digits and ._:-')
        if keys == {"request_id", "outcome", "bad"} and isinstance(line["bad"], bool):
            return RequestOutcome(request_id, str(line["outcome"]), bad=line["bad"])
        if keys == {"request_id", "measure", "value"} and type(line["value"]) in (int, float):
            return RequestOutcome(request_id, str(line["measure"]), value=_finite(line["value"]))
        raise ValueError('expected "outcome" and "bad": true or false, or "measure" and a number as "value"')
    except (ValueError, OverflowError, RecursionError) as error:
        raise DefinitionError(str(error)) from error


def _finite(value: float) -> float:
    """Refuse a value whose square cannot be summed: NaN, infinities (which Python reads from JSON) and the like."""
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise ValueError(f'expected a "value" between -{LARGEST:g} and {LARGEST:g}')
    return float(value)


LARGEST = 1e100
"""Largest measure that is accepted; its square can still be summed [unit of the measure]."""


@dataclass
class Cohorts:
    """Everybody whose request fell into the same interval, with what became of it, however late it is known.

    Attributes
    ----------
    path
        A ``.jsonl`` that another system appends to, one outcome a line. Its earlier lines are about requests from
        before the canary, and are not read.
    log
        Source that knows which deployment answered a request, and when.
    since
        Requests before this time do not count.
    window_s
        Time within which an outcome may follow its request [seconds].
    invalid, first_invalid
        How many lines were invalid [count], and the problem of the first, without the line: it may hold personal
        data.
    """

    path: Path
    log: Source
    since: datetime
    window_s: float
    invalid: int = 0
    first_invalid: str = ""
    _offset: int = 0
    _lines: int = 0
    _unplaced: dict[str, "_Waiting"] = field(default_factory=dict)
    _placed: list[tuple[Exposure, RequestOutcome]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start at the end of the file."""
        if self.path.is_file():
            self._offset = self.path.stat().st_size

    def take(
        self, intervals: Sequence[Interval], versions: Mapping[str, str], lag_s: float
    ) -> tuple[Interval, ...]:
        """Return the cohorts of those intervals whose outcomes can no longer change.

        Parameters
        ----------
        intervals
            Judged intervals of users' traffic whose cohorts were not returned yet.
        versions
            Names of the "stable" and the "canary" deployment.
        lag_s
            Age that the request log must have to be complete [seconds].

        Raises
        ------
        ObserveError
            If the file or the log cannot be read; the next call tries again, and nothing is lost.
        """
        self._follow()
        self._place()
        ripe = settled_cohorts(intervals, now_s=datetime.now(UTC).timestamp(), window_s=self.window_s + lag_s)
        cohorts = tuple(_cohort(interval, self._placed, versions) for interval in ripe)
        if ripe:
            newest_s = max(interval.end_s for interval in ripe)
            self._placed = [(seen, result) for seen, result in self._placed if seen.at.timestamp() >= newest_s]
        return cohorts

    def _follow(self) -> None:
        """Read the lines that were appended; the last one only once it is complete."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0  # the file was replaced
                file.seek(self._offset)
                fresh = file.read()
        except OSError as error:
            raise ObserveError(f"the file {self.path}: {error.strerror}") from error
        whole, now = fresh[: fresh.rfind(b"\n") + 1], datetime.now(UTC)
        self._offset += len(whole)
        for line in whole.decode("utf-8", errors="replace").split("\n")[:-1]:
            self._lines += 1
            if not line.strip():
                continue
            try:
                result = read_request_outcome(line)
            except DefinitionError as error:
                self.invalid += 1
                self.first_invalid = self.first_invalid or f"line {self._lines} since the run began: {error}"
            else:
                self._unplaced.setdefault(result.request_id, _Waiting(now)).results.append(result)

    def _place(self) -> None:
        """Look up which deployment answered, new requests first; those that the log never shows are dropped.

        The watch waits meanwhile and the lease runs down: therefore a look does a limited number of lookups.
        """
        now = datetime.now(UTC)
        waited = now - timedelta(seconds=LOOKUP_S)
        self._unplaced = {i: waiting for i, waiting in self._unplaced.items() if waiting.since > waited}
        wanted = list(islice(self._unplaced, MAX_LOOKUPS))
        if not wanted:
            return
        since = max(self.since, now - timedelta(seconds=self.window_s + LOOKUP_S))
        found = self.log.answered_by(wanted, since)
        for request_id in wanted:
            waiting = self._unplaced.pop(request_id)
            if request_id in found:
                self._placed += [(found[request_id], result) for result in waiting.results]
            else:
                self._unplaced[request_id] = waiting  # behind all others


@dataclass
class _Waiting:
    """Outcomes of a request that the log does not show yet, and since when they are known."""

    since: datetime
    results: list[RequestOutcome] = field(default_factory=list)


LOOKUP_S = 900.0
"""How long a request is looked up after its first outcome became known [seconds]."""

MAX_LOOKUPS = 5_000
"""Most requests looked up in the log at one look: five queries [count]."""


def _cohort(
    interval: Interval, placed: Iterable[tuple[Exposure, RequestOutcome]], versions: Mapping[str, str]
) -> Interval:
    """Count one cohort; of duplicate outcomes of a request the last one counts."""
    within = {
        (result.request_id, result.name): (exposure.deployment.lower(), result)
        for exposure, result in placed
        if interval.start_s <= exposure.at.timestamp() < interval.end_s
    }
    stable, canary = (
        _arm([result for deployment, result in within.values() if deployment == versions[arm].lower()])
        for arm in ("stable", "canary")
    )
    return Interval(
        start_s=interval.start_s, length_s=interval.length_s, weight=interval.weight, stable=stable, canary=canary
    )


def _arm(results: Sequence[RequestOutcome]) -> Arm:
    outcomes: dict[str, list[bool]] = {}
    measures: dict[str, list[float]] = {}
    for result in results:
        if result.bad is not None:
            outcomes.setdefault(result.name, []).append(result.bad)
        if result.value is not None:
            measures.setdefault(result.name, []).append(result.value)
    return Arm(
        requests=len({result.request_id for result in results}),
        outcomes=tuple((name, len(bad), sum(bad)) for name, bad in sorted(outcomes.items())),
        moments=tuple((name, len(v), fmean(v), pvariance(v)) for name, v in sorted(measures.items())),
    )
