"""Watch what is served, without trusting a source that is silent."""

from datetime import datetime

from opslib.azure.monitor import Source
from opslib.errors import ObserveError
from opslib.model import Observation


def look(source: Source, since: datetime, until: datetime) -> tuple[Observation, str]:
    """Read a source once; where it cannot be read, return an observation of nothing and why.

    One failed read must neither end a canary nor count as a look at a quiet endpoint: the watermark stays unknown,
    so that the stage goes on, and ends in a hold if the source stays silent.
    """
    try:
        return source.observe(since, until), ""
    except ObserveError as error:
        return Observation(source.name, since, until, watermark=None, total={}), str(error)
