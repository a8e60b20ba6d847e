"""Which tests start first, and which share a worker: the suite mostly waits for real processes."""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/contract/", "tests/package/", "tests/browser/")
"""Folders whose tests share what takes long to make: endpoints of a session, an installed wheel, JupyterLab."""

DEPLOYING = (
    *(f"tests/runbooks/test_{name}.py" for name in ("beforehand", "deploy", "gate", "init", "pipeline", "secrets")),
    "tests/runbooks/test_connect.py::test_the_sdk_is_refused",
    "tests/runbooks/test_permissions.py::test_a_deployment_and_its_undo",
    "tests/benchmarks/inventory/",
)
"""Tests that use azure-ai-ml: one worker and its fork server import it for all, for five CPU seconds each."""

ALONE = (
    "tests/runbooks/",
    "tests/chaos/test_canary",
    "tests/benchmarks/",
    "tests/unit/test_house.py",
    "tests/unit/evidence/test_outcomes.py",
)
"""Tests that take seconds to a minute each and share nothing within a worker."""

LONGEST = (
    "tests/runbooks/test_scenarios.py",
    "tests/benchmarks/judge/test_live.py",
    "tests/unit/test_house.py::test_tools_are_clean",
    "tests/runbooks/test_mirror_stage.py",
    "tests/runbooks/test_holding.py",
    "tests/chaos/test_canary",
    "tests/runbooks/test_canary",
    "tests/runbooks/test_leases.py",
    "tests/unit/evidence/test_publish.py",
)
"""Those whose tests take longest, in this order."""


def unit_of_work(nodeid: str) -> str:
    """Return what a worker takes at once: a folder, a test, or otherwise a file."""
    if nodeid.startswith(DEPLOYING):
        return "deploying"
    folder = next((folder for folder in TOGETHER if nodeid.startswith(folder)), None)
    return folder or (nodeid if nodeid.startswith(ALONE) else nodeid.partition("::")[0])


def order(nodeid: str) -> int:
    """Return the place of a test: what takes longest starts first, so that no worker waits for it at the end."""
    if nodeid.startswith((*TOGETHER, *DEPLOYING)):
        return 0
    longest = next((place for place, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))
    return 1 + longest + (longest == len(LONGEST) and not nodeid.startswith(ALONE))


class Schedule(LoadScopeScheduling):
    """Hands out the units of work in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of_work(nodeid)
