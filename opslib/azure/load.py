"""The load of an endpoint in the last minutes, read within a deadline."""

from datetime import UTC, datetime, timedelta
from threading import Thread

from opslib.azure.connect import Workspace
from opslib.azure.source import Source, find_source
from opslib.errors import ObserveError, OpsError
from opslib.model import Endpoint, Load, busiest_load

LOOK_BACK = timedelta(minutes=15)
GRAIN_S = 60.0


def read_load(
    workspace: Workspace, endpoint: Endpoint, wanted: Source | str = "auto", deadline_s: float = 60.0
) -> Load | None:
    """Read the load of the busiest of the last minutes; None where nothing was served.

    `wanted` is the source, or the name of one that is then found within the deadline too.

    Raises
    ------
    ObserveError
        If it cannot be read, or not before the deadline: a rollback must not wait for a slow metrics service.
    """
    found: list[Load | OpsError | None] = []
    reader = Thread(target=lambda: found.append(_read(workspace, endpoint, wanted)), daemon=True)
    reader.start()
    reader.join(deadline_s)
    if not found:
        raise ObserveError(f"the load of {endpoint.name} could not be read within {deadline_s:g} s")
    if isinstance(found[0], OpsError):
        raise ObserveError(f"the load of {endpoint.name} cannot be read: {found[0]}") from found[0]
    return found[0]


def _read(workspace: Workspace, endpoint: Endpoint, wanted: Source | str) -> Load | OpsError | None:
    now = datetime.now(UTC)
    try:
        source = find_source(workspace, endpoint, wanted, GRAIN_S) if isinstance(wanted, str) else wanted
        return busiest_load(source.coarser(GRAIN_S).observe(now - LOOK_BACK, now))
    except OpsError as error:
        return error
