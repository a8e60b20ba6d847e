"""What became of the answers: outcomes that come after the request, counted by the version that answered it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, pvariance

from opslib.azure.request_log import Exposure, RequestLog
from opslib.errors import DefinitionError, ObserveError
from opslib.judge import Arm, Interval, mature

REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
"""What an `x-ms-client-request-id` may be here: it stands in a query."""


@dataclass(frozen=True)
class Result:
    """One thing that is known of one request: whether an outcome was bad, or how much a measure was."""

    request_id: str
    name: str
    bad: bool | None = None
    value: float | None = None


def read_result(text: str) -> Result:
    """Read one line: ``{"request_id", "outcome", "bad"}`` or ``{"request_id", "measure", "value"}``.

    Raises
    ------
    DefinitionError
        If it is neither.
    """
    try:
        line = json.loads(text)
        keys = set(line) if isinstance(line, dict) else set()
        if not REQUEST_ID.fullmatch(str(line["request_id"]) if "request_id" in keys else ""):
            raise ValueError('expected a "request_id" of at most 128 letters, digits and ._:-')
        if keys == {"request_id", "outcome", "bad"} and isinstance(line["bad"], bool):
            return Result(line["request_id"], str(line["outcome"]), bad=line["bad"])
        if keys == {"request_id", "measure", "value"} and type(line["value"]) in (int, float):
            return Result(line["request_id"], str(line["measure"]), value=float(line["value"]))
        raise ValueError('expected "outcome" and "bad": true or false, or "measure" and a number as "value"')
    except (ValueError, TypeError) as error:
        raise DefinitionError(f"{text.strip()[:120]!r}: {error}") from error


@dataclass
class Cohorts:
    """Everybody whose request fell into the same interval, with what became of it, however late it is known.

    Attributes
    ----------
    path
        A ``.jsonl`` that somebody else appends to, one result a line.
    log
        Says which deployment answered a request, and when.
    since
        Time before which no request counts.
    window_s
        Time within which a result may still follow its request [seconds].
    refused
        Lines that are no results, told once each.
    """

    path: Path
    log: RequestLog
    since: datetime
    window_s: float
    refused: list[str] = field(default_factory=list)
    _offset: int = 0
    _unplaced: dict[str, list[Result]] = field(default_factory=dict)
    _placed: list[tuple[Exposure, Result]] = field(default_factory=list)

    def take(
        self, intervals: Sequence[Interval], versions: Mapping[str, str], lag_s: float
    ) -> tuple[Interval, ...]:
        """Count the cohorts of these intervals that can no longer change.

        Parameters
        ----------
        intervals
            Intervals of users' traffic, judged already, whose cohorts were not taken yet.
        versions
            Name of the deployment that is "stable", and of the one that is "canary".
        lag_s
            Age that the request log must have to be complete [seconds].

        Raises
        ------
        ObserveError
            If the file or the log cannot be read; nothing is lost, the next call tries again.
        """
        self._follow()
        self._place()
        ripe = mature(intervals, now_s=datetime.now(UTC).timestamp(), window_s=self.window_s + lag_s)
        cohorts = tuple(_cohort(interval, self._placed, versions) for interval in ripe)
        if ripe:
            newest_s = max(interval.end_s for interval in ripe)
            self._placed = [(seen, result) for seen, result in self._placed if seen.at.timestamp() >= newest_s]
        return cohorts

    def _follow(self) -> None:
        """Read the lines that were appended, the last one only once it is whole."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except OSError as error:
            raise ObserveError(f"outcomes {self.path} cannot be read: {error.strerror}") from error
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode("utf-8", errors="replace").splitlines():
            if not line.strip():
                continue
            try:
                result = read_result(line)
            except DefinitionError as error:
                self.refused.append(str(error))
            else:
                self._unplaced.setdefault(result.request_id, []).append(result)

    def _place(self) -> None:
        """Ask the log who answered; a request that it never shows is forgotten when its cohort is over."""
        if not self._unplaced:
            return
        since = max(self.since, datetime.now(UTC) - timedelta(seconds=self.window_s + FORGET_S))
        for request_id, exposure in self.log.answered_by(self._unplaced, since).items():
            self._placed += [(exposure, result) for result in self._unplaced.pop(request_id)]
        while len(self._unplaced) > MOST_UNPLACED:
            self._unplaced.pop(next(iter(self._unplaced)))


FORGET_S = 900.0
"""How long after its window a request is still looked for in the log [seconds]."""

MOST_UNPLACED = 100_000
"""Requests waited for in the log, most; the oldest are forgotten first [count]."""


def _cohort(interval: Interval, placed: Iterable[tuple[Exposure, Result]], versions: Mapping[str, str]) -> Interval:
    within = [
        (exposure.deployment.lower(), result)
        for exposure, result in placed
        if interval.start_s <= exposure.at.timestamp() < interval.end_s
    ]
    stable, canary = (
        _arm([result for deployment, result in within if deployment == versions[arm].lower()])
        for arm in ("stable", "canary")
    )
    return Interval(
        start_s=interval.start_s, length_s=interval.length_s, weight=interval.weight, stable=stable, canary=canary
    )


def _arm(results: Sequence[Result]) -> Arm:
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
