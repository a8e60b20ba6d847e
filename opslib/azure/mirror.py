"""Mirrored traffic: copies of live requests to one deployment, whose answers are discarded."""

from opslib.errors import Drift
from opslib.model import SetTraffic, Traffic


def require_own_mirror(step: SetTraffic, mirrored: Traffic) -> None:
    """Require that a step which sets the mirror finds none of another deployment.

    Raises
    ------
    Drift
        If it does: Azure mirrors to one deployment, and another change set that.
    """
    foreign = mirrored.keys() - {one.lower() for one in step.mirror or {}}
    if step.mirror is not None and foreign:
        raise Drift(
            f"{step.endpoint} mirrors traffic to {', '.join(sorted(foreign))}, which this run did not set. Nothing "
            "was overwritten. Find in the activity log who changed it; plan again"
        )
