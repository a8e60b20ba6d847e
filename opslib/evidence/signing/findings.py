"""Findings of verification: what is wrong, in which run and file; the worst decides the state."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class VerifyState(StrEnum):
    """The state of an archive; the worst finding decides."""

    SOUND = "sound"
    INCOMPLETE = "incomplete"
    UNKNOWN_KEY = "unknown_key"
    TAMPERED = "tampered"

    @property
    def exit_code(self) -> int:
        """Exit code of `opslib verify`."""
        return _EXIT_CODES[self]


_EXIT_CODES = {VerifyState.SOUND: 0, VerifyState.TAMPERED: 1, VerifyState.INCOMPLETE: 2, VerifyState.UNKNOWN_KEY: 3}

_WORST_LAST = (VerifyState.SOUND, VerifyState.INCOMPLETE, VerifyState.UNKNOWN_KEY, VerifyState.TAMPERED)


@dataclass(frozen=True)
class VerifyFinding:
    """One problem in an archive. `run` and `file` locate it; both are empty for the archive itself."""

    state: VerifyState
    message: str
    run: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.run, self.file) if part)
        return f"{self.state}: {f'{where}: ' if where else ''}{self.message}"


def worst(findings: Iterable[VerifyFinding]) -> VerifyState:
    """Return the worst state of the findings.

    Examples
    --------
    >>> worst([VerifyFinding(VerifyState.INCOMPLETE, "open"), VerifyFinding(VerifyState.TAMPERED, "changed")]).value
    'tampered'
    """
    return max((finding.state for finding in findings), key=_WORST_LAST.index, default=VerifyState.SOUND)


def tampered(message: str, run: str = "", file: str = "") -> VerifyFinding:
    """Return a finding: something was changed, removed, added, moved or forged."""
    return VerifyFinding(VerifyState.TAMPERED, message, run, file)


def incomplete(message: str, run: str = "", file: str = "") -> VerifyFinding:
    """Return a finding: a run has not ended, or is missing from a partial copy."""
    return VerifyFinding(VerifyState.INCOMPLETE, message, run, file)


def unknown_key(message: str, run: str = "", file: str = "") -> VerifyFinding:
    """Return a finding: a signature is not by a trusted key, or not from the time for which it is trusted."""
    return VerifyFinding(VerifyState.UNKNOWN_KEY, message, run, file)
