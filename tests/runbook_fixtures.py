"""Endpoints for the runbook suite, all on one sandbox."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runbook_world import SCORE, World
from runbook_worlds import Worlds
from sandbox_fixture import RunningSandbox

from opslib.azure.connect import Workspace, connect


@pytest.fixture(scope="session")
def sandbox_home(sandbox: RunningSandbox) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLIB_SANDBOX_HOME", str(sandbox.home.root))
        yield


@pytest.fixture(scope="session")
def workspace(sandbox_home: None) -> Workspace:
    return connect("sandbox")


@pytest.fixture(scope="session")
def worlds(sandbox: RunningSandbox, workspace: Workspace) -> Worlds:
    return Worlds(sandbox, workspace)


@pytest.fixture
def make_world(worlds: Worlds, tmp_path: Path) -> Iterator[Callable[..., World]]:
    made = []

    def make(*, script: str = SCORE, **deployments: dict[str, str]) -> World:
        made.append(worlds.take(tmp_path, deployments, script))
        return made[-1]

    yield make
    for world in made:
        worlds.give_back(world)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """An endpoint on which blue serves everything."""
    return make_world()
