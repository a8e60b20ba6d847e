"""What a person sees of a change of instances that has ended."""

from opslib.displayed import view
from opslib.model import Served
from opslib.runbooks.scale import Scaled
from opslib.show.table import Table
from opslib.show.views import SERVED, served_cells


@view.register
def _scaled(scaled: Scaled) -> Table:
    nothing = Served(0, 0)
    rows = [
        ("before", str(scaled.instances_before), *served_cells(scaled.served_before or nothing)),
        ("after", str(scaled.instances_after), *served_cells(scaled.served_after or nothing)),
    ]
    columns = ("", "instances", *SERVED)
    title = f"Scale of {scaled.deployment}: {scaled.outcome}"
    return Table(title, columns, rows, note=scaled.reason, right=columns[1:])
