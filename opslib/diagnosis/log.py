"""The log of a deployment's container, as getLogs returns it: steps, events, and the user's tracebacks. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_STEP = re.compile(r"^(?P<step>[A-Za-z]+): (?P<state>Succeeded|Failed|InProgress|Pending|[A-Z][a-z]+)$")
_EVENT = re.compile(
    r"^Kind: \w+, Name: (?P<name>\w+), Type: (?P<type>\w+), Time: (?P<time>[^,]+), Message: (?P<message>.*)$"
)
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_ERROR = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_BEGIN = "Traceback (most recent call last):"
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_LIBRARY = ("site-packages", "dist-packages", "/lib/python", "<frozen", "azureml_inference_server_http")


class Phase(StrEnum):
    """When the user's code failed."""

    IMPORT = "while it is imported"
    INIT = "in init()"
    RUN = "in run()"


@dataclass(frozen=True)
class Event:
    """An event of an instance, with its time as Azure wrote it."""

    name: str
    type: str
    time: str
    message: str


@dataclass(frozen=True)
class UserError:
    """An exception of the user's code: the first of a chain, at the last line that is not a library's."""

    type: str
    message: str
    file: str
    line: int
    phase: Phase

    @property
    def where(self) -> str:
        """File and line, without the folders of the container."""
        return f"{self.file.rsplit('/', 1)[-1]}, line {self.line}" if self.file else "the scoring script"

    def __str__(self) -> str:
        """Type and message."""
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True)
class ContainerLog:
    """What a container's log holds.

    Attributes
    ----------
    steps
        State of each step of an instance's start, by Azure's names.
    events
        Events of the instance, oldest first.
    errors
        Exceptions of the user's code, oldest first.
    lines
        What the container itself printed.
    """

    steps: dict[str, str]
    events: tuple[Event, ...]
    errors: tuple[UserError, ...]
    lines: tuple[str, ...]

    @property
    def failed_step(self) -> str:
        """The step that failed; "" for none."""
        return next((step for step, state in self.steps.items() if state == "Failed"), "")

    def find(self, *names: str) -> Event | None:
        """Return the newest event of one of these names."""
        return next((one for one in reversed(self.events) if one.name in names), None)

    def line_with(self, *words: str) -> str:
        """Return the newest line with all these words, in any case; "" for none."""
        return next((one for one in reversed(self.lines) if all(word.lower() in one.lower() for word in words)), "")


def read_log(text: str) -> ContainerLog:
    """Read a container's log; without Azure's headings all of it is the container's own."""
    lines = text.splitlines()
    begin = next((n for n, line in enumerate(lines) if line.strip() == "Container logs:"), -1)
    head, own = lines[: begin + 1], lines[begin + 1 :]
    steps = {found["step"]: found["state"] for line in head if (found := _STEP.match(line.strip()))}
    events = tuple(
        Event(found["name"], found["type"], found["time"], found["message"])
        for line in head
        if (found := _EVENT.match(line.strip()))
    )
    return ContainerLog(steps, events, tuple(_errors(own)), tuple(own))


@dataclass(frozen=True)
class _Traceback:
    type: str
    message: str
    frames: tuple[tuple[str, int, str], ...]


def _errors(lines: list[str]) -> Iterator[UserError]:
    """Yield the first exception of each chain; the inference server wraps it in its own."""
    number, previous_end, continues, root = 0, -1, False, None
    initializing = False
    while number < len(lines):
        line = lines[number]
        if line.strip() in _CHAINED:
            continues = True
        elif line.rstrip().endswith(_BEGIN):
            initializing = "init function failed" in "\n".join(lines[max(0, number - 2) : number + 1])
            found, number = _traceback(lines, number + 1)
            if not (continues and root is not None) and found is not None:
                root = found
                yield _user_error(found, initializing=initializing)
            previous_end, continues = number, False
        elif root is not None and line.strip() and number > previous_end + 3:
            root = None
        number += 1


def _traceback(lines: list[str], start: int) -> tuple[_Traceback | None, int]:
    """Read the frames and the exception of one traceback; return it and the number of its last line."""
    frames: list[tuple[str, int, str]] = []
    for number in range(start, len(lines)):
        line = lines[number]
        if found := _FRAME.match(line):
            frames.append((found["file"], int(found["line"]), found["function"] or ""))
        elif line.strip() and not line.startswith((" ", "\t")):
            error = _ERROR.match(line.strip())
            if error is None:
                return None, number
            return _Traceback(error["type"], error["message"] or "", tuple(frames)), number
    return None, len(lines)


def _user_error(found: _Traceback, *, initializing: bool) -> UserError:
    own = [frame for frame in found.frames if not any(part in frame[0] for part in _LIBRARY)]
    file, line, _ = own[-1] if own else ("", 0, "")
    functions = {function for _, _, function in own}
    phase = Phase.RUN if "run" in functions else Phase.INIT if initializing or "init" in functions else Phase.IMPORT
    return UserError(found.type, found.message, file, line, phase)
