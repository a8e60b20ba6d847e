"""What a person sees of a comparison: each field that drifted, who changed it, and what would remove the drift."""

from collections.abc import Iterator

from opslib.displayed import view
from opslib.drift.compare import DriftReport, FieldChange, ResourceChange
from opslib.drift.fix import fixes
from opslib.drift.formats import describe_action, show_value, summary
from opslib.show.table import Cell, Row, Table, Tables

SHOWN = 100
"""Rows of each table; the run's drift.json has all [count]."""

LONGEST = 80
"""Longest value that is shown whole [characters]; the tooltip has the rest."""


@view.register
def _drift(report: DriftReport) -> Tables:
    return Tables((_fields(report), _fixes(report)))


def _fields(report: DriftReport) -> Table:
    rows = [row for change in report.drifted for row in _rows(change)]
    lines = [f"{summary(report)}."]
    if len(rows) > SHOWN:
        lines.append(f"{SHOWN} of {len(rows):,} differences are shown; drift.json has all.")
    lines += [f"Could not be compared: {one.part}: {one.reason}." for one in report.unread]
    columns = ("resource", "difference", "is", "should be", "changed by", "at (UTC)")
    title = f"Drift of {report.at:%F %T} UTC"
    return Table(title, columns, rows[:SHOWN], note=" ".join(lines))


def _rows(change: ResourceChange) -> Iterator[Row]:
    newest = change.changed_by[0] if change.changed_by else None
    who = (
        Cell(newest.caller, tooltip=newest.operation) if newest else Cell("not in the activity log", "warning"),
        f"{newest.at:%F %T}" if newest else "",
    )
    resource = Cell(change.name, tooltip=change.id)
    if not change.fields:
        yield (resource, Cell(describe_action(change), "bad"), "", "", *who)
    for field in change.fields:
        yield (resource, field.path, _value(field, "before"), _value(field, "after"), *who)


def _value(field: FieldChange, side: str) -> Cell:
    text = show_value(getattr(field, side))
    return Cell(
        text if len(text) <= LONGEST else f"{text[:LONGEST]}...", tooltip=text if len(text) > LONGEST else ""
    )


def _fixes(report: DriftReport) -> Table:
    rows = [(change.name, Cell(command, code=True)) for change in report.drifted for command in fixes(change)]
    return Table("What would remove the drift; nothing was run", ("resource", "command"), rows[:SHOWN])
