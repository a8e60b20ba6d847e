"""A wave as a table and as a plot of its runs over time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opslib.displayed import view
from opslib.fleet.archive import MemberRun
from opslib.fleet.plan import Member, WavePlan
from opslib.fleet.rules import MemberState, WaveState
from opslib.model.outcome import Outcome
from opslib.show.plot import INK, Picture, legend, make_picture
from opslib.show.table import Cell, Row, Table, Tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TONES: Mapping[Outcome, Tone] = {
    Outcome.SUCCEEDED: "good",
    Outcome.PLANNED: "good",
    Outcome.WAITING: "warning",
    Outcome.HELD: "warning",
    Outcome.REFUSED: "warning",
}
"""Colour of an outcome; the others are bad."""

FILLS = {
    "succeeded": ("#009E73", ""),
    "not decided, refused or waiting": ("#E69F00", "///"),
    "failed, rolled back or aborted": ("#D55E00", "xxx"),
    "running": ("#56B4E9", "..."),
}
"""Colour and hatch of each kind of run. Source: Okabe and Ito (2008), "Color Universal Design"."""

MOST_LABELS = 40
"""Endpoints whose names the plot shows; of more it shows numbers [count]."""


@view.register
def _plan(plan: WavePlan) -> Table:
    rows = [(*_place(member), _parameters(member, plan)) for member in plan.members]
    limits = [f"{plan.max_concurrency} at once"]
    limits += [f"{plan.wave.max_per_region} per region"] if plan.wave.max_per_region else []
    limits += [f"{plan.wave.max_per_owner} per owner"] if plan.wave.max_per_owner else []
    note = (
        f"{', '.join(limits)}; {plan.max_failures} of {len(plan.members)} may fail; "
        f"pause of {plan.wave.pause_s:g} s between batches."
    )
    title = f"Wave {plan.wave.name}: {plan.wave.runbook} of {_endpoints(plan)} in {_batches(plan)}"
    return Table(
        title, ("batch", "no.", "endpoint", "region", "owner", "parameters"), rows, note=note, right=("no.",)
    )


@view.register
def _state(state: WaveState) -> Table:
    plan = state.plan
    rows: list[Row] = [(*_place(member), *_progress(state.of(member))) for member in plan.members]
    columns = ("batch", "no.", "endpoint", "region", "owner", "state", "run", "reason")
    title = f"Wave {plan.wave.name}: {plan.wave.runbook} of {_endpoints(plan)} in {_batches(plan)}"
    return Table(title, columns, rows, note=f"{summary(state)}.", right=("no.",))


def summary(state: WaveState) -> str:
    """Return how many endpoints are in which state, in one line."""
    counts: dict[str, int] = {}
    for member in state.plan.members:
        name = _name(state.of(member))
        counts[name] = counts.get(name, 0) + 1
    total = len(state.plan.members)
    return f"{total} endpoints: " + ", ".join(f"{count} {name}" for name, count in counts.items())


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


def _place(member: Member) -> tuple[str, ...]:
    return str(member.batch), str(member.number), member.endpoint, member.region, member.owner


def _parameters(member: Member, plan: WavePlan) -> str:
    given = plan.wave.parameters.keys()
    return ", ".join(f"{name}={value}" for name, value in member.parameters.items() if name in given)


def _progress(state: MemberState) -> tuple[Cell, str, str]:
    if state.status in {"pending", "running"}:
        return Cell(_name(state)), state.run, state.reason
    tone = TONES.get(state.outcome, "bad") if state.outcome else "bad"
    return Cell(_name(state), tone), state.run, state.reason


def _name(state: MemberState) -> str:
    return state.status if state.status in {"pending", "running"} else str(state.outcome or "lost")


def _endpoints(plan: WavePlan) -> str:
    return f"{len(plan.members):,} endpoint{'s' if len(plan.members) > 1 else ''}"


def _batches(plan: WavePlan) -> str:
    return f"{len(plan.batches):,} batch{'es' if len(plan.batches) > 1 else ''}"
