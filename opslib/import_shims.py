"""Spare a second of every process that imports papermill, nbformat or scrapbook."""

import sys


def skip_iri_checks() -> None:
    """Keep jsonschema from importing `rfc3987_syntax`, a grammar that only the format check "iri" uses.

    No schema of notebooks has that format. It costs 0.9 s in the runner and again in the kernel.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
