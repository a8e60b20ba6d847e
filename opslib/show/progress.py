"""A run's progress as a notebook shows it: stage, time left, evidence and its limit, counts, and messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape

from opslib.displayed import view
from opslib.model.text import e_value, k_of_n, percent
from opslib.model.traffic import describe_traffic
from opslib.runbooks.progress import Counts, Message, Progress
from opslib.show.numbers import milliseconds, seconds

QUANTILE = 0.95
"""Quantile of latency that is shown [fraction]."""

BAR_WIDTH = 24
"""Length of a bar in text [characters]."""


@dataclass(frozen=True)
class Row:
    """One line of a display: a name, a bar where there is one (its filled share), and the numbers."""

    name: str
    numbers: str
    filled: float | None = None


def rows(progress: Progress, now: datetime) -> Iterator[Row]:
    """What is known of the stage at a time [UTC]."""
    if progress.stage:
        mirror = f", mirror {describe_traffic(progress.mirror)}" if progress.mirror else ""
        stage = f"{progress.stage} of {progress.stages}: {describe_traffic(progress.traffic)}{mirror}"
        yield Row("stage", stage)
    if progress.began_at:
        bake_s, watched_s = progress.bake_s, progress.watched_s(now)
        numbers = (
            f"{seconds(watched_s)} of {seconds(bake_s)}, {seconds(bake_s - watched_s)} left"
            if watched_s < bake_s
            else f"{seconds(watched_s)}, {seconds(bake_s)} planned: watched until decided"
        )
        yield Row("time", numbers, min(watched_s / bake_s, 1.0))
    if progress.log_e_value is not None and progress.log_limit:
        filled = min(max(progress.log_e_value / progress.log_limit, 0.0), 1.0)
        numbers = f"{e_value(progress.log_e_value)}, limit {e_value(progress.log_limit)}"
        yield Row("evidence of harm", numbers, filled)
    for name, counts in progress.counts.items():
        role = "canary" if name == progress.canary else "stable"
        low, high = _rate_bounds(counts)
        bounds = f", bounds {percent(low)} to {percent(high)}" if counts.requests else ""
        yield Row(f"failed, {name} ({role})", f"{k_of_n(counts.failed, counts.requests)}{bounds}")
    for name, slower in progress.slower.items():
        if any(counts.requests for counts in slower.values()):
            role = "canary" if name == progress.canary else "stable"
            yield Row(f"p95, {name} ({role})", _describe_p95(slower))
    if progress.answer_until:
        left_s = max((progress.answer_until - now).total_seconds(), 0.0)
        yield Row("waits for an answer", f"{seconds(left_s)} left: {progress.answer_why}")


def _describe_p95(slower: Mapping[float, Counts]) -> str:
    """Bound the 95th percentile by the latencies at which requests were counted."""
    bounds = {at: _rate_bounds(counts) for at, counts in slower.items()}
    low = max((at for at, (least, _) in bounds.items() if least > 1 - QUANTILE), default=None)
    high = min((at for at, (_, most) in bounds.items() if most <= 1 - QUANTILE), default=None)
    if low is None:
        return f"at most {milliseconds(high)}" if high is not None else "too few requests for bounds"
    return f"{milliseconds(low)} to {milliseconds(high)}" if high is not None else f"above {milliseconds(low)}"


def _rate_bounds(counts: Counts) -> tuple[float, float]:
    from opslib.judge import rate_bounds  # noqa: PLC0415 - a run without a canary does without numpy

    return rate_bounds(counts.failed, counts.requests)


@dataclass(frozen=True)
class ProgressView:
    """Text and HTML of a progress at a time [UTC]."""

    progress: Progress
    now: datetime

    @property
    def text(self) -> str:
        """The rows with bars of characters, then the messages."""
        known = list(rows(self.progress, self.now))
        width = max((len(row.name) for row in known), default=0)
        lines = [f"{row.name:<{width}}  {_bar(row.filled)}{row.numbers}" for row in known]
        lines += [f"{one.at:%H:%M:%S}  {one.text}" for one in self._messages()]
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The rows as a table with bars, then the messages; colours follow JupyterLab's theme."""
        cell = 'style="text-align:left;vertical-align:top;font-variant-numeric:tabular-nums"'
        known = [
            (row.name, f"{_html_bar(row.filled)}{escape(row.numbers)}") for row in rows(self.progress, self.now)
        ]
        messages = [(f"{one.at:%H:%M:%S}", escape(one.text)) for one in self._messages()]
        body = "".join(
            f'<tr><td {cell}><span style="white-space:nowrap">{escape(name)}</span></td>'
            f"<td {cell}>{content}</td></tr>"
            for name, content in (*known, *messages)
        )
        return f"<table><tbody>{body}</tbody></table>"

    def _messages(self) -> tuple[Message, ...]:
        """What the run reported lately, with the latest look that only continues."""
        progress = self.progress
        look = (Message(progress.at, progress.look),) if progress.look else ()
        text = f"{progress.earlier} earlier messages are in the journal"
        earlier = (Message(progress.messages[0].at, text),) if progress.earlier else ()
        return (*earlier, *progress.messages, *look)


@view.register
def _progress(progress: Progress) -> ProgressView:
    return ProgressView(progress, progress.at)


def _bar(filled: float | None) -> str:
    if filled is None:
        return ""
    full = round(BAR_WIDTH * filled)
    return f"{'█' * full}{'░' * (BAR_WIDTH - full)}  "


def _html_bar(filled: float | None) -> str:
    if filled is None:
        return ""
    frame = "display:inline-block;width:12em;height:.6em;margin-right:.8em;border:1px solid currentColor"
    fill = f"display:block;height:100%;width:{100 * filled:.0f}%;background:var(--jp-brand-color1,currentColor)"
    return f'<span style="{frame}"><span style="{fill}"></span></span>'
