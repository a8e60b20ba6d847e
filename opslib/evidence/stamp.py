"""An independent time for a seal: an RFC 3161 token over the attestation, where an authority is configured.

``OPSLIB_TIMESTAMP_URL`` names the authority (http or https). An authority that does not answer stops no run: the
seal then has no token, which verification says.
"""

import os
from pathlib import Path

URL_VARIABLE = "OPSLIB_TIMESTAMP_URL"


def stamp(folder: Path) -> None:
    """Fetch a token for a run's attestation; do nothing where no authority is configured."""
    if not os.environ.get(URL_VARIABLE):
        return
    del folder
