"""A wave as a table: its plan, and how far it is."""

from collections.abc import Mapping

from opslib.displayed import view
from opslib.fleet.plan import Member, WavePlan
from opslib.fleet.rules import MemberState, WaveState
from opslib.outcome import Outcome
from opslib.show.table import Cell, Row, Table, Tone

TONES: Mapping[Outcome, Tone] = {
    Outcome.SUCCEEDED: "good",
    Outcome.PLANNED: "good",
    Outcome.WAITING: "warning",
    Outcome.HELD: "warning",
    Outcome.REFUSED: "warning",
}
"""Colour of an outcome; the others are bad."""


@view.register
def plan_table(plan: WavePlan) -> Table:
    """Return the plan as a table: the endpoints in order, and the limits."""
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
def state_table(state: WaveState) -> Table:
    """Return the state as a table: each endpoint with its run and how it ended."""
    plan = state.plan
    rows: list[Row] = [(*_place(member), *_progress(state.of(member))) for member in plan.members]
    columns = ("batch", "no.", "endpoint", "region", "owner", "state", "run", "reason")
    title = f"Wave {plan.wave.name}: {plan.wave.runbook} of {_endpoints(plan)} in {_batches(plan)}"
    return Table(title, columns, rows, note=f"{summary(state)}.", right=("no.",))


def progress(state: WaveState) -> str:
    """Return how far a wave is, in few words, however many endpoints it has."""
    total, running = len(state.plan.members), len(state.running)
    done = total - len(state.pending) - running
    failed = f", {len(state.failures)} failed" if state.failures else ""
    return f"{done} of {total} done{failed}, {running} running"


def summary(state: WaveState) -> str:
    """Return how many endpoints are in which state, in one line."""
    counts: dict[str, int] = {}
    for member in state.plan.members:
        name = _name(state.of(member))
        counts[name] = counts.get(name, 0) + 1
    return f"{_endpoints(state.plan)}: " + ", ".join(f"{count} {name}" for name, count in counts.items())


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
