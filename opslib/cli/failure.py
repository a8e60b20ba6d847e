"""How a command that failed ends: one line on stderr, without secrets, and an exit code."""

import sys

from opslib.errors import OpsError
from opslib.outcome import Outcome


def report(error: BaseException) -> int:
    """Print why a command failed, and return its exit code; raise an error that is none of opslib's.

    Raises
    ------
    OSError
        If it is not about a path that a person gave.
    """
    from opslib.redaction.redact import redact

    if isinstance(error, KeyboardInterrupt):
        print("opslib: interrupted", file=sys.stderr)
        return Outcome.ABORTED.exit_code
    if isinstance(error, OSError):
        if error.filename is None:
            raise error
        print(redact(f"opslib: {error.filename}: {error.strerror}"), file=sys.stderr)
        return Outcome.FAILED.exit_code
    refused = isinstance(error, OpsError) and error.refused
    print(redact(f"opslib: {error}"), file=sys.stderr)
    return (Outcome.REFUSED if refused else Outcome.FAILED).exit_code
