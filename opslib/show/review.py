"""What a person sees of a security review. Importing this module registers the views."""

from opslib.access.assignments import HeldAccess
from opslib.displayed import view
from opslib.review.finding import Review, Severity
from opslib.show.table import Cell, Table, Tone


@view.register
def _review(review: Review) -> Table:
    tones: dict[Severity, Tone] = {Severity.HIGH: "bad", Severity.MEDIUM: "warning"}
    rows = [
        (
            Cell(str(one.severity), "" if one.accepted else tones.get(one.severity, "")),
            one.rule,
            one.subject,
            f"{one.evidence}\naccepted {one.accepted}" if one.accepted else one.evidence,
            one.fix,
        )
        for one in review.findings
    ]
    note = ". ".join([review.sentence, *(f"Not read: {one.part}: {one.reason}" for one in review.unread)])
    return Table("Security review", ("severity", "rule", "of", "evidence", "how to fix it"), rows, note=note)


@view.register
def _access(held: HeldAccess) -> Table:
    rows = [
        (one.assignment.principal_type, one.assignment.principal, one.origin, ", ".join(one.capabilities))
        for one in held
    ]
    columns = ("type", "principal", "through", "can")
    return Table("Who can change, invoke or grant", columns, rows, note="" if rows else "No assignment was found.")
