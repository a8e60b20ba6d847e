"""What a person sees of a validation that has ended."""

from opslib.displayed import view
from opslib.runbooks.validate import Validated
from opslib.show.answers import answers_table
from opslib.show.table import Table


@view.register
def _validated(validated: Validated) -> Table:
    title = f"Validation of {validated.deployment}: {validated.outcome}"
    return answers_table(title, [one.result for one in validated.cases], validated.reason)
