"""A container engine on this machine: podman or docker, if one is found and answers."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_NAMES = ("podman", "docker")
_ANSWERS_WITHIN_S = 3.0
LABEL = "opslib.sandbox"
"""Label of every container of a sandbox; its value is the sandbox's home."""


@dataclass(frozen=True)
class Engine:
    """How containers can be run.

    Attributes
    ----------
    program
        The engine's client; "" where none answers.
    problem
        Why none answers.
    """

    program: str = ""
    problem: str = "neither podman nor docker is installed"

    def run(self, name: str, home: str, image: str, options: Iterable[str]) -> list[str]:
        """Return the command of a container that ends with its client's process."""
        labelled = ["--rm", "--name", name, "--label", f"{LABEL}={home}"]
        return [self.program, "run", *labelled, *options, image]

    def remove(self, name: str) -> list[str]:
        """Return the command that ends and removes a container, there or not."""
        return [self.program, "rm", "--force", name]

    def remove_all(self, home: str) -> None:
        """Remove the containers that a sandbox which was killed has left behind."""
        if not self.program:
            return
        listed = _output([self.program, "ps", "--all", "--quiet", "--filter", f"label={LABEL}={home}"])
        for container in (listed or "").split():
            _output(self.remove(container))


def options(ports: Mapping[int, int], mounts: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the options of a container: local ports for its own, read-only folders, variables."""
    for inside, outside in ports.items():
        yield from ("--publish", f"127.0.0.1:{outside}:{inside}")
    for inside_path, outside_path in mounts.items():
        yield from ("--volume", f"{outside_path}:{inside_path}:ro")
    for name, value in variables.items():
        yield from ("--env", f"{name}={value}")


def find_engine() -> Engine:
    """Find an engine that answers; a client without a daemon is none."""
    problems = []
    for name in _NAMES:
        program = shutil.which(name)
        if program is None:
            continue
        try:
            asked = subprocess.run(
                [program, "info"], capture_output=True, text=True, timeout=_ANSWERS_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{name} does not answer: {error}")
            continue
        if asked.returncode == 0:
            return Engine(program, "")
        lines = [line for line in (asked.stderr or asked.stdout).splitlines() if line.strip()]
        problems.append(
            f"{name} does not answer: {lines[-1].strip() if lines else f'exit code {asked.returncode}'}"
        )
    return Engine(problem="; ".join(problems)) if problems else Engine()


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWERS_WITHIN_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
