"""The columns of the evidence plot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opslib.judge.looks.bounds import rate_bounds
from opslib.judge.values.verdict import IntervalResult, MetricResult


@dataclass(frozen=True, kw_only=True)
class Series:
    """Columns for the plot, one entry per judged interval.

    Attributes
    ----------
    end_minutes
        End of each interval since the first one began [minutes].
    evidence, threshold
        Evidence of harm, an e-value (log axis), and the limit at which it rolls back.
    metrics
        Per metric: its evidence, both cumulative shares, and bounds on them that hold at all times at once
        [fraction].
    weights
        Weight of the canary; a step is a stage boundary [percent].
    """

    end_minutes: tuple[float, ...]
    evidence: tuple[float, ...]
    threshold: float
    metrics: Mapping[str, Mapping[str, tuple[float, ...]]]
    weights: tuple[float, ...]


LINES_KEPT = 2000
"""Judged intervals that a plot is drawn from, at most; two points a pixel of its width [count]."""


def thinned(lines: Sequence[IntervalResult], most: int = LINES_KEPT) -> tuple[IntervalResult, ...]:
    """Return the lines, with neighbours joined where there are more than `most`: a plot of hours needs no more.

    Only neighbours of the same source and weight are joined, so that stages keep their bounds. The journal holds
    every line.
    """
    if len(lines) <= most:
        return tuple(lines)
    single: dict[str, int] = {}
    kept: dict[int, IntervalResult] = {}
    for i, line in enumerate(lines):
        kept[i] = line
        before = single.pop(line.source, None)
        if before is not None and kept[before].weight == line.weight:
            kept[i] = _joined(kept.pop(before), line)
        else:
            single[line.source] = i
    return tuple(kept[i] for i in sorted(kept))


def _joined(first: IntervalResult, second: IntervalResult) -> IntervalResult:
    """Return two intervals as one: their counts together, and the evidence after the second."""
    metrics = tuple(_sum(one, two) for one, two in zip(first.metrics, second.metrics, strict=True))
    length_s = second.start_s + second.length_s - first.start_s
    return replace(second, start_s=first.start_s, length_s=length_s, metrics=metrics)


def _sum(first: MetricResult, second: MetricResult) -> MetricResult:
    counts = ("canary_bad", "canary_n", "stable_bad", "stable_n")
    added = {name: getattr(first, name) + getattr(second, name) for name in counts}
    known = first.known or second.known
    return replace(second, log_gain=first.log_gain + second.log_gain, known=known, **added)


def series(lines: Sequence[IntervalResult]) -> Series:
    """Turn judged intervals into the plot's columns; evidence is cut at 1e12, shares are nan without requests."""
    metrics: dict[str, dict[str, tuple[float, ...]]] = {}
    users = [each.source != "probes" for each in lines]  # own probes are evidence, but no share of users' requests
    for i, first in enumerate(lines[0].metrics if lines else ()):
        rows = [each.metrics[i] for each in lines]
        columns = {"evidence": tuple(_cut(row.log_evidence) for row in rows)}
        for arm in ("canary", "stable"):
            bad = np.cumsum([getattr(row, f"{arm}_bad") * user for row, user in zip(rows, users, strict=True)])
            n = np.cumsum([getattr(row, f"{arm}_n") * user for row, user in zip(rows, users, strict=True)])
            both = [rate_bounds(int(b), int(size)) for b, size in zip(bad, n, strict=True)]
            columns[f"{arm}_share"] = tuple(
                float(b / size) if size else math.nan for b, size in zip(bad, n, strict=True)
            )
            columns[f"{arm}_low"], columns[f"{arm}_high"] = (
                tuple(b[0] for b in both),
                tuple(b[1] for b in both),
            )
        metrics[f"{first.name} (asymptotic)" if first.asymptotic else first.name] = columns
    return Series(
        end_minutes=tuple((each.start_s + each.length_s - lines[0].start_s) / 60.0 for each in lines),
        evidence=tuple(_cut(each.log_evidence) for each in lines),
        threshold=math.exp(lines[0].log_threshold) if lines else math.nan,
        metrics=metrics,
        weights=tuple(each.weight for each in lines),
    )


def _cut(log_value: float) -> float:
    return math.exp(min(log_value, math.log(1e12)))
