"""A sizing as tables and as a plot of cost against headroom."""

from typing import TYPE_CHECKING

from opslib.cost.text import money
from opslib.displayed import view
from opslib.model.text import k_of_n, percent
from opslib.show.numbers import milliseconds
from opslib.show.plot import COLOURS, INK, SHADES, Picture, legend, make_picture
from opslib.show.table import Cell, Table
from opslib.sizing.candidates import Candidate
from opslib.sizing.demand import Demand
from opslib.sizing.recommend import Sizing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P")
"""One for each instance type."""

PALETTE = (*COLOURS, *SHADES)


@view.register
def _demand(demand: Demand) -> Table:
    """Return what was measured."""
    peak, used = demand.peak, demand.utilization
    rows = [
        ("served by", f"{demand.instances} x {demand.instance_type}, {demand.concurrent} requests at once each"),
        ("requests", f"{demand.requests:,}, failed {k_of_n(demand.failures, demand.requests)}"),
        ("refused with 429", f"{used.throttled:,}"),
        (
            "peak",
            f"{peak.requests_per_s:.3g} requests per second, {peak.concurrency:.2g} at once; {peak.source}"
            if peak
            else "nothing was served",
        ),
        ("latency at the peak", f"mean {milliseconds(1000 * demand.mean_s)}, p95 {milliseconds(demand.p95_ms)}"),
        *((f"{name}, busy minute", _percent(value)) for name, value in _used(demand)),
    ]
    return Table(f"Demand on {demand.deployment}", ("measured", "value"), rows)


def _used(demand: Demand) -> tuple[tuple[str, float | None], ...]:
    used = demand.utilization
    return ("CPU", used.cpu_percent), ("memory", used.memory_percent), ("GPU", used.gpu_percent)


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} %"


@view.register
def _sizing(sizing: Sizing) -> Table:
    """Return the candidates side by side."""
    rows = [
        (
            str(one.instances),
            one.instance_type,
            percent(one.headroom),
            _percent(one.processor_percent),
            milliseconds(one.p95_ms) if one.p95_ms is not None else "not measured",
            money(one.per_month),
            "yes" if one in sizing.front else "",
            _verdict(one, sizing),
        )
        for one in sizing.candidates
    ]
    tests = [
        f"Load test of {one.deployment} at {one.wanted_per_s:g} per second: {one.sent:,} sent, {one.failures:,} "
        f"failed, p95 {milliseconds(one.p95_ms)}. {one.stopped}".rstrip()
        for one in sizing.tests
    ]
    notes = [f"{sizing.reason[:1].upper()}{sizing.reason[1:]}.", *tests, *sizing.unknown]
    note = " ".join(notes) + "".join(f"\n{command}" for command in sizing.commands)
    cost = f"per month [{sizing.currency}]"
    columns = ("instances", "instance type", "headroom", "processor", "p95", cost, "front", "enough")
    return Table("Sizes side by side, at the peak", columns, rows, note=note, right=columns[:1] + columns[2:6])


def _verdict(one: Candidate, sizing: Sizing) -> Cell:
    now = "now; " if one.current else ""
    if one.problems:
        return Cell(f"{now}no: {'; '.join(one.problems)}", "bad" if one.current else "")
    if one == sizing.chosen:
        return Cell(f"{now}✓ recommended", "good")
    return Cell(f"{now}yes" if one.measured else f"{now}if it does as much work per core", "")


def plot_size(sizing: Sizing) -> Picture:
    """Draw the candidates' cost against their headroom, and the Pareto front."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    shown = [one for one in sizing.candidates if one.per_month is not None and one.headroom > 0]
    for number, name in enumerate(dict.fromkeys(one.instance_type for one in shown)):
        _draw_type(axis, [one for one in shown if one.instance_type == name], number)
    front = sizing.front
    axis.plot(
        [float(one.per_month or 0) for one in front],
        [100 * one.headroom for one in front],
        color=INK,
        linestyle="--",
        drawstyle="steps-post",
        zorder=0,
        label="Pareto front",
    )
    axis.axhline(100 * (1 - sizing.limits.max_use), color=INK, linestyle=":", label="least headroom")
    _ring(axis, [one for one in shown if one.current and one != sizing.chosen], "now")
    chosen = [one for one in shown if one == sizing.chosen]
    _ring(axis, chosen, "now, and recommended" if chosen and chosen[0].current else "recommended")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.set_minor_formatter("{x:,.0f}")
    axis.tick_params(axis="x", which="minor", labelsize=7, rotation=45)
    axis.set_xlabel(f"cost per month [{sizing.currency}]")
    axis.set_ylabel("headroom at the peak\n[% of room or processor]")
    axis.set_title(f"Sizes of {sizing.demand.deployment}", color=INK)
    legend(axis)
    named = ", ".join(map(str, front)) or "none is enough and has a price"
    return make_picture(figure, f"Cost against headroom. Pareto front: {named}. {sizing.reason}")


def _draw_type(axis: "Axes", candidates: list[Candidate], number: int) -> None:
    """Draw an instance type's counts, hollow where its speed was not measured."""
    colour, measured = PALETTE[number % len(PALETTE)], candidates[0].measured
    axis.scatter(
        [float(one.per_month or 0) for one in candidates],
        [100 * one.headroom for one in candidates],
        marker=MARKERS[number % len(MARKERS)],
        facecolors=colour if measured else "none",
        edgecolors=colour,
        label=candidates[0].instance_type + ("" if measured else " (not measured)"),
    )
    for one in candidates:
        at = (float(one.per_month or 0), 100 * one.headroom)
        axis.annotate(str(one.instances), at, textcoords="offset points", xytext=(5, -9), fontsize=7, color=INK)


def _ring(axis: "Axes", candidates: list[Candidate], label: str) -> None:
    """Mark a candidate by a ring, and name it."""
    for one in candidates:
        at = (float(one.per_month or 0), 100 * one.headroom)
        axis.scatter(*at, s=140, facecolors="none", edgecolors=INK, linewidths=1.5)
        axis.annotate(label, at, textcoords="offset points", xytext=(-9, 6), ha="right", fontsize=8, color=INK)
