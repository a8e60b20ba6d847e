"""What a foreign file is run in, and what is kept of its run."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.sandbox_fixture import RunningSandbox

_KEPT = ("HOME", "LANG", "PATH", "TMPDIR")


@dataclass(frozen=True)
class Result:
    """One file's run: how many of its parts (cells, tests, requests) there are, and how many succeeded.

    Attributes
    ----------
    missing
        What the others need that is not there: an operation or a host that the sandbox answers 501, Docker, ...
    theirs
        What the file gets wrong with today's packages, whatever service answers.
    wrong
        What is the sandbox's fault.
    """

    file: str
    way: str
    parts: int
    passed: int
    missing: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A sandbox and what surrounds it: packages of the foreign files' own, and an Azure CLI that is logged in."""

    sandbox: RunningSandbox
    scratch: Path
    packages: Path
    az: Path | None
    principal: Mapping[str, str] = field(default_factory=dict)

    def environment(self, way: str, **more: str) -> dict[str, str]:
        """Return the variables of a program: few of this process's own, and the sandbox's, own or Azure's names."""
        chosen = "azure_environment" if way == "azure" else "environment"
        mine = {name: os.environ[name] for name in _KEPT if name in os.environ}
        if self.az is not None:
            mine["PATH"] = f"{self.az}:{mine['PATH']}"
        mine |= {"AZURE_CONFIG_DIR": str(self.scratch / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
        mine |= {"PYTHONPATH": str(self.packages), "PIP_NO_INPUT": "1"}
        return mine | self.sandbox.note[chosen] | more


def result(file: str, way: str, parts: int, problems: list[str]) -> Result:
    """Sort what went wrong: what is absent and reported, what is the file's own, and what is the sandbox's."""
    kinds: dict[str, set[str]] = {"missing": set(), "theirs": set(), "wrong": set()}
    for one in problems:
        kind = "missing" if any(word in one for word in ABSENT) else "theirs" if _known(one) else "wrong"
        kinds[kind].add(one)
    sorted_kinds = {kind: tuple(sorted(found)) for kind, found in kinds.items()}
    return Result(file, way, parts, parts - len(problems), **sorted_kinds)


def _known(problem: str) -> bool:
    return any(words in problem for words in THEIRS)


THEIRS = (
    "'IdentityConfiguration' object has no attribute 'as_dict'",  # it had in azure-ai-ml of the notebook's day
    "No deployment has traffic.",  # the REST script gives its deployment none, and then scores
    "cannot import name 'ResourceManagementClient' from 'azure.mgmt.resource'",  # moved in azure-mgmt-resource 25
    "because it is in Updating provisioning state",  # a sample sends two updates of one deployment at once
    "regenerateKeys is not possible",  # the samples' endpoint has tokens; another of them reads its keys
    "'MonitorManagementClient' object has no attribute",  # operations that its own package has no more
)
ABSENT = (
    "NotImplemented",
    "does not implement",
    "runs managed online deployments only",
    "501 Not Implemented",
    "Tunnel connection failed: 501",
    "Docker",
    "docker",
    "No such file",
)


def call(command: list[str], environment: Mapping[str, str], folder: Path, within_s: float) -> tuple[int, str]:
    """Run a program; return its exit code and all that it printed."""
    ended = subprocess.run(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=within_s,
        check=False,
    )
    return ended.returncode, ended.stdout
