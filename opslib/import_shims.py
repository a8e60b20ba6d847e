"""Skip slow imports of other packages that nothing here uses."""

import sys


def skip_iri_checks() -> None:
    """Keep jsonschema from importing `rfc3987_syntax`, which only the format check "iri" uses.

    No notebook schema has that format. The import takes 0.9 s, in the runner and again in the kernel.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def skip_httpx_command() -> None:
    """Keep httpx from importing its command line, with click, rich and pygments: three quarters of its import."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
