"""What a release takes of a person: commands typed and minutes, with opslib and by `az` alone.

By `az` alone a person types the command that each plan prints for its steps, and reads by hand what the runbooks
read: state and metrics. What is assumed of their time is below, and in the table.
"""

from dataclasses import dataclass

from opslib.demo.scenarios.measures import events, stage_weights
from opslib.demo.scenarios.scenario import Evidence
from opslib.evidence.run.journal import JournalEvent
from opslib.show.table import Table

MINUTES_PER_COMMAND = 2.0
"""Assumed time to prepare and type one command and to read its answer [minutes]."""

READINGS_PER_RUN = 2
"""`az` commands that read the endpoint before and after a change: `az ml online-endpoint show` [count]."""

READINGS_PER_STAGE = 2
"""`az monitor metrics list` for failures and for latency, split by deployment, at the end of a stage [count]."""


@dataclass(frozen=True)
class Effort:
    """Commands typed, and minutes of a person's time.

    `watched_minutes` is the time in which a person cannot leave: by `az` alone nothing rolls a bad canary back.
    """

    commands: int
    watched_minutes: float = 0.0

    @property
    def minutes(self) -> float:
        """Time of a person [minutes]."""
        return self.commands * MINUTES_PER_COMMAND + self.watched_minutes


def effort(evidence: Evidence) -> tuple[Effort, Effort]:
    """Return the effort of the release with opslib, and by `az` alone."""
    by_hand, watched_s = 0, 0.0
    for one in evidence.runs.values():
        if not one.step.needed or not one.record.outcome or not one.record.outcome.good:
            continue
        stages = len(stage_weights(one.folder, str(one.step.given.get("canary"))))
        plans = events(one.folder, JournalEvent.PLAN)
        by_hand += READINGS_PER_RUN + sum(len(plan["steps"]) for plan in plans) + READINGS_PER_STAGE * stages
        watched_s += (one.record.duration_s or 0.0) if stages else 0.0
    return Effort(evidence.commands), Effort(by_hand, watched_s / 60)


def effort_table(evidence: Evidence) -> Table:
    """Return both efforts side by side, with what is assumed."""
    ours, by_hand = effort(evidence)
    rows = [
        (name, str(one.commands), f"{one.watched_minutes:.1f}", f"{one.minutes:.1f}")
        for name, one in (("opslib", ours), ("az alone", by_hand))
    ]
    columns = ("way", "commands typed", "minutes watching", "minutes of a person")
    note = (
        f"Assumed: {MINUTES_PER_COMMAND:g} minutes for a command, either way. By az alone: one command for each "
        f"step of the plans (a set of requests counts as one), {READINGS_PER_RUN} readings for each run, "
        f"{READINGS_PER_STAGE} for each stage, and a person who watches the canary for its measured time."
    )
    return Table("Effort of the release", columns, rows, note, right=columns[1:])
