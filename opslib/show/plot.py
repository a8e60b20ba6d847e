"""Plots. Colour-blind safe, readable on light and dark pages, and without the colours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import accumulate
from math import isnan
from typing import TYPE_CHECKING, Any

from opslib.judge import IntervalResult, series
from opslib.model import Served, ServedInterval
from opslib.model.text import counted, e_value, percent
from opslib.runbooks.canary.rollout import Rollout
from opslib.runbooks.scale import Scaled
from opslib.show.numbers import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#767676"
"""Text, axes and grid: legible on white and on a dark theme, since the picture is transparent."""

COLOURS = ("#0072B2", "#D55E00")
"""Stable and canary. Source: Okabe and Ito (2008), "Color Universal Design"."""

STYLES = (("o", "-"), ("s", "--"))


@dataclass(frozen=True)
class Picture:
    """A plot, and its description as text: what a screen reader, a terminal and the report's `alt` get."""

    png: bytes = field(repr=False)
    caption: str

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"image/png": self.png, "text/plain": self.caption}, {"image/png": {"alt": self.caption}}

    def __repr__(self) -> str:
        return self.caption


def plot(rollout: Rollout) -> Picture:
    """Draw the evidence against the canary, and what both deployments served, over the stages."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    if not rollout.stages:
        figure = Figure(figsize=(9, 0.5))
        figure.text(0.0, 0.4, "No stage was observed: nothing to draw.", color=INK)
        return make_picture(figure, f"No stage was observed. {rollout.reason}")
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    stages = [stage.observation.intervals for stage in rollout.stages]
    rows: Sequence[tuple[Axes, str, Callable[[ServedInterval, Served], float | None]]] = (
        (axes[1], "requests [1/s]", lambda i, s: s.requests / i.length_s if i.length_s else None),
        (axes[3], "p95 latency [ms]", lambda _, s: s.p95_ms),
    )
    _draw_evidence(axes[0], rollout)
    _draw_failures(axes[2], rollout)
    for axis, label, value in rows:
        for number, name in enumerate((rollout.stable, rollout.canary)):
            for intervals in stages:
                _draw(axis, intervals, name, number, value)
        axis.set_ylabel(label)
    for axis in axes[1:]:
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    if rollout.max_failure_rate is not None:
        _draw_limit(axes[2], 100 * rollout.max_failure_rate, f"limit {percent(rollout.max_failure_rate)}")
    if rollout.max_p95_ms is not None:
        _draw_limit(axes[3], rollout.max_p95_ms, f"limit {milliseconds(rollout.max_p95_ms)}")
    for axis in axes:
        _mark_stages(axis, rollout, labelled=axis is axes[0])
    lines = {str(line.get_label()): line for line in axes[1].get_lines() if len(line.get_xdata()) > 0}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    legend(axes[1], named)
    axes[0].set_title(
        f"Canary {rollout.canary} against {rollout.stable}: {rollout.outcome.replace('_', ' ')}", color=INK
    )
    axes[3].set_xlabel("time [UTC]")
    axes[3].tick_params(axis="x", rotation=30)
    return make_picture(figure, _describe(rollout))


def _describe(rollout: Rollout) -> str:
    """Describe the plot for people who do not see it."""
    shares, verdict = ", ".join(stage.share(rollout.canary) for stage in rollout.stages), rollout.stages[-1].verdict
    return (
        "Evidence of harm, requests, failures and p95 latency over time, in "
        f"{counted(len(rollout.stages), 'stage')} ({shares} of traffic to {rollout.canary}). At the end: "
        f"{rollout.outcome.replace('_', ' ')}, evidence of harm {e_value(verdict.log_evidence)}, limit "
        f"{e_value(verdict.log_threshold)}."
    )


def _draw_limit(axis: "Axes", limit: float, label: str) -> None:
    """Draw an objective as a line, and name it beside the axis; one far above what was served is named alone."""
    top = axis.get_ylim()[1]
    place: dict[str, Any] = {"fontsize": 8, "color": INK, "annotation_clip": False}
    if limit > FAR * top:
        axis.annotate(f"↑ {label}", (1.01, 0.95), xycoords="axes fraction", va="top", **place)
        return
    axis.axhline(limit, color=INK, linestyle="-.", linewidth=1.2)
    axis.set_ylim(top=max(top, 1.1 * limit))
    axis.annotate(label, (1.01, limit), xycoords=axis.get_yaxis_transform(), va="center", **place)


FAR = 4.0
"""An objective above this many times the highest value would flatten what was served [ratio]."""


def _draw_evidence(axis: "Axes", rollout: Rollout) -> None:
    """Draw the e-value of each metric and of all together, on a log axis, and the limit that rolls back."""
    axis.set_yscale("log")
    axis.set_ylabel("evidence of harm\n(e-value)")
    if not rollout.lines:
        return
    columns, times = series(rollout.lines), _times(rollout.lines)
    binding = rollout.stages[-1].verdict.binding if rollout.stages else ""
    for number, (name, metric) in enumerate(columns.metrics.items()):
        decided = name == binding
        axis.plot(
            times[1:],  # type: ignore[arg-type]
            metric["evidence"],
            marker=".",
            linestyle="-" if number < len(SHADES) else ":",
            linewidth=1.8 if decided else 0.8,
            color=SHADES[number % len(SHADES)],
            label=f"{name} (decides)" if decided else name,
        )
    axis.plot(times[1:], columns.evidence, color=INK, marker=".", linewidth=1.8, label="all, weighted")  # type: ignore[arg-type]
    axis.axhline(
        columns.threshold, color=COLOURS[1], linestyle="--", label=f"rollback limit: {columns.threshold:.0f}"
    )
    axis.set_ylim(top=max(axis.get_ylim()[1], 3 * columns.threshold))
    legend(axis)


def _draw_failures(axis: "Axes", rollout: Rollout) -> None:
    """Draw the share of failed requests so far, of both versions, with bands that hold at all times at once."""
    axis.set_ylabel("failures so far\n[% of requests]")
    lines = [line for line in rollout.lines if line.source != "probes"]
    failures, times = series(lines).metrics.get("failures"), _times(lines)
    if failures is None:
        return
    for number, arm in enumerate(("stable", "canary")):
        low, share, high = (
            [100 * value for value in (failures[f"{arm}_{which}"][0], *failures[f"{arm}_{which}"])]
            for which in ("low", "share", "high")
        )
        axis.fill_between(times, low, high, color=COLOURS[number], alpha=0.15, linewidth=0)  # type: ignore[arg-type]
        axis.plot(times, share, color=COLOURS[number], linestyle=STYLES[number][1])  # type: ignore[arg-type]
    highest = {
        arm: max((100 * share for share in failures[f"{arm}_share"] if not isnan(share)), default=0.0)
        for arm in ("stable", "canary")
    }
    axis.set_ylim(top=max(1.0, 1.2 * highest["stable"], 3 * highest["canary"]))


def _times(lines: Sequence[IntervalResult]) -> list[datetime]:
    """When the first judged interval began, and when each of them ended.

    Users' traffic is judged once it has settled, after probes that were sent later: it is drawn where they are.
    """
    starts = [line.start_s for line in lines[:1]]
    return [
        datetime.fromtimestamp(at, UTC)
        for at in accumulate([*starts, *(x.start_s + x.length_s for x in lines)], max)
    ]


SHADES = ("#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#999999")
"""One for each metric. Source: as above."""


def plot_scale(scaled: Scaled) -> Picture:
    """Draw latency before and after a scale, and the limit that the p95 after it was compared with."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    quantiles = ("p50_ms", "p95_ms", "p99_ms")
    sides = (
        (f"before: {scaled.instances_before}", scaled.served_before),
        (f"after: {scaled.instances_after}", scaled.served_after),
    )
    for number, (label, served) in enumerate(sides):
        heights = [getattr(served, quantile, None) or 0.0 for quantile in quantiles]
        places = [place + 0.4 * number for place in range(len(quantiles))]
        axis.bar(places, heights, width=0.4, color=COLOURS[number], label=f"{label} instances")
    axis.set_xticks([0.2, 1.2, 2.2], ["p50", "p95", "p99"])
    axis.set_ylabel("latency [ms]")
    axis.set_title(f"Scale of {scaled.deployment}: {scaled.outcome}", color=INK)
    legend(axis)
    limit_ms = _p95_limit_ms(scaled)
    if limit_ms is not None:
        _draw_limit(axis, limit_ms, f"limit of p95: {milliseconds(limit_ms)}")
    return make_picture(figure, f"Latency of {scaled.deployment} before and after. {scaled.reason}")


def _p95_limit_ms(scaled: Scaled) -> float | None:
    """Return the lower limit of p95 after the scale: the absolute one, or the ratio times p95 before."""
    measured = scaled.verdict.measurements if scaled.verdict else ()
    limits = (one.limit for one in measured if one.criterion.startswith("p95"))
    return min((limit for limit in limits if limit is not None), default=None)


def make_picture(figure: "Figure", caption: str) -> Picture:
    """Draw what is not data in ink, leave the page's background, and render once: `savefig` would draw twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - half a second

    figure.set_dpi(110)
    figure.patch.set_facecolor("none")
    for axis in figure.axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=INK, which="both")
        axis.xaxis.label.set_color(INK)
        axis.yaxis.label.set_color(INK)
        axis.grid(color=INK, alpha=0.3)
        for spine in axis.spines.values():
            spine.set_color(INK)
    file = BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file)
    return Picture(file.getvalue(), caption)


def legend(axis: "Axes", lines: Mapping[str, Any] | None = None) -> None:
    """Put the legend beside the axis, where it hides no data."""
    shown = (lines.values(), lines.keys()) if lines is not None else ()
    axis.legend(*shown, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, labelcolor=INK, frameon=False)


def _draw(
    axis: "Axes",
    intervals: Sequence[ServedInterval],
    name: str,
    number: int,
    value: Callable[[ServedInterval, Served], float | None],
) -> None:
    points: list[tuple[datetime, float]] = [
        (interval.start + timedelta(seconds=interval.length_s / 2), height)
        for interval in intervals
        if name in interval.served and (height := value(interval, interval.served[name])) is not None
    ]
    marker, line = STYLES[number]
    role = "stable" if number == 0 else "canary"
    axis.plot(
        [at for at, _ in points],  # type: ignore[arg-type]
        [height for _, height in points],
        color=COLOURS[number],
        marker=marker,
        linestyle=line,
        markersize=3,
        label=f"{name} ({role})",
    )


def _mark_stages(axis: "Axes", rollout: Rollout, *, labelled: bool) -> None:
    """Draw a line at the start of each stage, and on one axis the canary's share of traffic."""
    for stage in rollout.stages:
        axis.axvline(stage.started_at, color=INK, linewidth=0.8)  # type: ignore[arg-type]
        if not labelled:
            continue
        axis.text(
            stage.started_at,  # type: ignore[arg-type]
            0.98,
            f" {stage.share(rollout.canary)}",
            transform=axis.get_xaxis_transform(),
            verticalalignment="top",
            fontsize=8,
            color=INK,
        )
