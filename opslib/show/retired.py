"""What a person sees of a deployment that was deleted."""

from opslib.displayed import view
from opslib.runbooks.retire import Retired
from opslib.show.table import Cell, Table


@view.register
def _retired(retired: Retired) -> Table:
    saved = "unknown" if retired.saved_per_month is None else f"{retired.saved_per_month:,.2f} {retired.currency}"
    rows: list[tuple[str, str | Cell]] = [
        *(("done", one) for one in retired.deleted),
        *(("left", one) for one in retired.left),
        ("saves per month", saved),
    ]
    if retired.restore:
        rows.append(("to create it again", Cell(retired.restore, code=True)))
    title = f"Retirement of {retired.deployment}: {retired.outcome}"
    return Table(title, ("", "what"), rows, note=retired.reason)
