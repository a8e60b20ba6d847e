"""Skip a slow, unused import of papermill, nbformat and scrapbook."""

import sys


def skip_iri_checks() -> None:
    """Keep jsonschema from importing `rfc3987_syntax`, which only the format check "iri" uses.

    No notebook schema has that format. The import takes 0.9 s, in the runner and again in the kernel.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
