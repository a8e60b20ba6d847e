"""What a person sees of a deployment that was created."""

from opslib.displayed import view
from opslib.runbooks.deploy import Deployed
from opslib.show.answers import answers_table
from opslib.show.table import Table


@view.register
def _deployed(deployed: Deployed) -> Table:
    return answers_table(f"Deployment {deployed.deployment}: {deployed.outcome}", deployed.probes, deployed.reason)
