"""Plots where a person would rather look. Colour-blind safe, opaque, and readable without the colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import accumulate
from math import isnan
from typing import TYPE_CHECKING

from opslib.judge import IntervalResult, series
from opslib.model import Served, ServedInterval
from opslib.runbooks.canary.rollout import Rollout
from opslib.runbooks.scale import Scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00")
"""Stable and canary. Source: Okabe and Ito (2008), "Color Universal Design"."""

STYLES = (("o", "-"), ("s", "--"))


@dataclass(frozen=True)
class Picture:
    """A plot that every notebook shows, and the same in words for whoever cannot see it."""

    png: bytes = field(repr=False)
    caption: str

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return self.caption


def plot(rollout: Rollout) -> Picture:
    """Draw the evidence against the canary, and what both deployments served, over the stages."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    if not rollout.stages:
        figure = Figure(figsize=(9, 0.5), facecolor="white")
        figure.text(0.0, 0.4, "Nothing was watched, so that there is nothing to draw.")
        return _picture(figure, rollout.reason)
    figure = Figure(figsize=(9, 8), layout="constrained", facecolor="white")
    axes = figure.subplots(4, 1, sharex=True)
    stages = [stage.observation.intervals for stage in rollout.stages]
    rows: Sequence[tuple[Axes, str, Callable[[ServedInterval, Served], float | None]]] = (
        (axes[1], "requests per second", lambda i, s: s.requests / i.length_s if i.length_s else None),
        (axes[3], "p95 [ms]", lambda _, s: s.p95_ms),
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
    for axis in axes:
        axis.grid(alpha=0.3)
        _mark_stages(axis, rollout)
    lines = {str(line.get_label()): line for line in axes[1].get_lines() if len(line.get_xdata()) > 0}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    axes[1].legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes[0].set_title(f"Canary {rollout.canary} against {rollout.stable}: {rollout.outcome}")
    axes[3].set_xlabel("time [UTC]")
    axes[3].tick_params(axis="x", rotation=30)
    return _picture(figure, f"Evidence of harm, requests, failures and p95 by time. {rollout.reason}")


def _draw_evidence(axis: "Axes", rollout: Rollout) -> None:
    """How many times likelier harm is than none, on a log axis, and where it rolls back."""
    axis.set_yscale("log")
    axis.set_ylabel("evidence of harm")
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
            label=f"{name}: decides" if decided else name,
        )
    axis.plot(times[1:], columns.evidence, color="black", marker=".", linewidth=1.8, label="all, weighted")  # type: ignore[arg-type]
    axis.axhline(columns.threshold, color=COLOURS[1], linestyle="--", label=f"rolls back: {columns.threshold:.0f}")
    axis.set_ylim(top=max(axis.get_ylim()[1], 3 * columns.threshold))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _draw_failures(axis: "Axes", rollout: Rollout) -> None:
    """Share of failed requests so far, of both versions, each within bounds that hold at all times at once."""
    axis.set_ylabel("failures so far [%]")
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
    highest = max((100 * share for share in failures["canary_share"] if not isnan(share)), default=0.0)
    axis.set_ylim(top=max(1.0, 3 * highest))


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
    """Draw latency before and after a scale."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
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
    axis.set_title(f"{scaled.deployment}: {scaled.outcome}")
    axis.legend()
    return _picture(figure, f"Latency of {scaled.deployment} before and after. {scaled.reason}")


def _picture(figure: "Figure", caption: str) -> Picture:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return Picture(file.getvalue(), caption)


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


def _mark_stages(axis: "Axes", rollout: Rollout) -> None:
    for stage in rollout.stages:
        axis.axvline(stage.started_at, color="grey", linewidth=0.8)  # type: ignore[arg-type]
        axis.text(
            stage.started_at,  # type: ignore[arg-type]
            0.98,
            f" {stage.traffic.get(rollout.canary, 0)} %",
            transform=axis.get_xaxis_transform(),
            verticalalignment="top",
            fontsize=8,
            color="dimgrey",
        )
