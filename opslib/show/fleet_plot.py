"""A wave as a plot of its runs over time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opslib.fleet.archive import MemberRun
from opslib.fleet.plan import WavePlan
from opslib.show.fleet import TONES
from opslib.show.plot import INK, Picture, legend, make_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILLS = {
    "succeeded": ("#009E73", ""),
    "not decided, refused or waiting": ("#E69F00", "///"),
    "failed, rolled back or aborted": ("#D55E00", "xxx"),
    "running": ("#56B4E9", "..."),
}
"""Colour and hatch of each kind of run. Source: Okabe and Ito (2008), "Color Universal Design"."""

MOST_LABELS = 40
"""Endpoints whose names the plot shows; of more it shows numbers [count]."""


def plot_wave(plan: WavePlan, runs: Mapping[int, Sequence[MemberRun]], now: datetime) -> Picture:
    """Draw each run as a bar over time, in the order of the plan, with a line between batches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    started = [run.record.started_at for found in runs.values() for run in found]
    figure = Figure(figsize=(9, min(max(2.0, 0.28 * len(plan.members)), 12)), layout="constrained")
    axis = figure.subplots()
    if not started:
        axis.set_title("No run has started", color=INK)
        return make_picture(figure, f"Wave {plan.wave.name}: no run has started.")
    first = min(started)
    shown: dict[str, list[tuple[int, float, float]]] = {}
    for number, found in runs.items():
        for run in found:
            begin = (run.record.started_at - first).total_seconds()
            end = ((run.record.finished_at or now) - first).total_seconds()
            shown.setdefault(_kind(run), []).append((number, begin, end - begin))
    for kind, bars in shown.items():
        colour, hatch = FILLS[kind]
        numbers, begins, lengths = zip(*bars, strict=True)
        axis.barh(
            numbers,
            lengths,
            left=begins,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=f"{kind}: {len(bars)}",
        )
    _mark_batches(axis, plan)
    axis.set_xlabel(f"seconds since {first.astimezone(UTC):%F %T} UTC")
    axis.set_ylim(len(plan.members) + 0.5, 0.5)
    legend(axis)
    kinds = ", ".join(f"{len(bars)} {kind}" for kind, bars in shown.items())
    return make_picture(figure, f"Runs of wave {plan.wave.name} over time: {kinds}.")


def _mark_batches(axis: "Axes", plan: WavePlan) -> None:
    for batch in plan.batches[1:]:
        axis.axhline(batch[0].number - 0.5, color=INK, linestyle="--", linewidth=1)
    if len(plan.members) <= MOST_LABELS:
        axis.set_yticks([one.number for one in plan.members], [one.endpoint for one in plan.members], fontsize=8)
    else:
        axis.set_ylabel("endpoint, by its number in the plan")


def _kind(run: MemberRun) -> str:
    outcome = run.record.outcome
    if run.alive:
        return "running"
    tone = TONES.get(outcome, "bad") if outcome else "bad"
    return {"good": "succeeded", "warning": "not decided, refused or waiting"}.get(
        tone, "failed, rolled back or aborted"
    )
