"""What a person sees of a rollback that has ended."""

from opslib.displayed import view
from opslib.runbooks.rollback import RolledBack
from opslib.show.answers import answers_table
from opslib.show.table import Table


@view.register
def _rolled_back(rolled_back: RolledBack) -> Table:
    return answers_table(
        f"Rollback to {rolled_back.to}: {rolled_back.outcome}", rolled_back.probes, rolled_back.reason
    )
