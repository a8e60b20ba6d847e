"""How a run ended, and the exit code that reports it."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended. Only the first two are successes."""

    SUCCEEDED = "succeeded"
    PLANNED = "planned"
    ROLLED_BACK = "rolled_back"
    HELD = "held"
    REFUSED = "refused"
    WAITING = "waiting"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def exit_code(self) -> int:
        """Exit code of `opslib run`."""
        return _EXIT_CODES[self]

    @property
    def good(self) -> bool:
        """Whether the run reached its goal."""
        return self.exit_code == 0


_EXIT_CODES = {
    Outcome.SUCCEEDED: 0,
    Outcome.PLANNED: 0,
    Outcome.FAILED: 1,
    Outcome.REFUSED: 2,
    Outcome.ROLLED_BACK: 3,
    Outcome.HELD: 4,
    Outcome.ABORTED: 5,
    Outcome.WAITING: 6,
}
