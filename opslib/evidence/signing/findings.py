"""What verification says: sound, or what is wrong, with which run and file."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The state of an archive; the worst finding decides."""

    SOUND = "sound"
    INCOMPLETE = "incomplete"
    UNKNOWN_KEY = "unknown_key"
    TAMPERED = "tampered"

    @property
    def exit_code(self) -> int:
        """What `opslib verify` exits with."""
        return _EXIT_CODES[self]


_EXIT_CODES = {State.SOUND: 0, State.TAMPERED: 1, State.INCOMPLETE: 2, State.UNKNOWN_KEY: 3}

_WORST_LAST = (State.SOUND, State.INCOMPLETE, State.UNKNOWN_KEY, State.TAMPERED)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was left; `run` and `file` say where, empty where it is the archive itself."""

    state: State
    message: str
    run: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.run, self.file) if part)
        return f"{self.state}: {f'{where}: ' if where else ''}{self.message}"


def worst(findings: Iterable[Finding]) -> State:
    """Fold findings into one state.

    Examples
    --------
    >>> worst([Finding(State.INCOMPLETE, "open"), Finding(State.TAMPERED, "changed")]).value
    'tampered'
    """
    return max((finding.state for finding in findings), key=_WORST_LAST.index, default=State.SOUND)


def tampered(message: str, run: str = "", file: str = "") -> Finding:
    """Something was altered, dropped, added, moved or forged."""
    return Finding(State.TAMPERED, message, run, file)


def incomplete(message: str, run: str = "", file: str = "") -> Finding:
    """Something never reached its end, or is not here."""
    return Finding(State.INCOMPLETE, message, run, file)


def unknown_key(message: str, run: str = "", file: str = "") -> Finding:
    """Something is signed by nobody who is trusted."""
    return Finding(State.UNKNOWN_KEY, message, run, file)
