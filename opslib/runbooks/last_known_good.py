"""Which deployment a rollback returns to."""

from collections.abc import Sequence
from pathlib import Path

from opslib.errors import PlanError
from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.run.record import Record
from opslib.evidence.run.run_lock import archive_of
from opslib.model import Endpoint, Outcome

_NOT_TRIED = {Outcome.SUCCEEDED, Outcome.PLANNED, Outcome.WAITING, Outcome.REFUSED}
"""Outcomes of a canary that show nothing against its version: promoted, or not started."""


def choose_target(given: str, before: Endpoint, folder: Path) -> str:
    """Return the deployment to return to: the one given, else the last known good of the archive.

    Parameters
    ----------
    given
        Name of a deployment; empty for the last known good one.
    before
        The endpoint now.
    folder
        The folder of the run that returns to it, in its archive; its own record does not count.

    Raises
    ------
    PlanError
        If none is given and the records contain none.
    """
    if given:
        found = before.find(given)
        return found.name if found else given
    history = [record for path, record in read_archive(archive_of(folder), before.name) if path != folder]
    return last_known_good(before, history)


def last_known_good(before: Endpoint, history: Sequence[Record]) -> str:
    """Derive the last known good deployment from the archive's records.

    Parameters
    ----------
    before
        The endpoint now.
    history
        Records of runs on this endpoint, newest first.

    Returns
    -------
    str
        The deployment that had most of the traffic before the newest change by which it lost traffic, that is ready
        now, and that no later rollback left and no later canary failed on.

    Raises
    ------
    PlanError
        If the records contain none.
    """
    given_up: set[str] = set()
    for record in history:
        weights = record.traffic_before or {}
        stable = max(weights, key=weights.__getitem__, default="")
        found = before.find(stable) if stable else None
        if (
            record.runbook == "rollback"
            and record.outcome is Outcome.SUCCEEDED
            and stable != record.results.get("to")
        ):
            given_up.add(stable.lower())
        elif (
            found
            and found.ready
            and stable.lower() not in given_up
            and before.traffic.get(found.name, 0) < weights[stable]  # else it has lost nothing since that run
        ):
            return found.name
        if record.runbook == "canary" and record.outcome not in _NOT_TRIED:
            given_up.add(str(record.parameters.get("canary", "")).lower())
    raise PlanError(
        "the archive has no deployment to return to: none that lost traffic by a recorded change is ready now; "
        f"{before.name} has: {before.deployment_names()}. Name one: -p to=NAME"
    )
