"""Endpoints for the runbook suite, all on one sandbox."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from awaiting import wait_until
from runbook_world import SCORE, World, put
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


@pytest.fixture
def make_world(
    sandbox: RunningSandbox, workspace: Workspace, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., World]]:
    made = []

    def make(**deployments: dict[str, str]) -> World:
        name = f"e{abs(hash(request.node.nodeid)) % 10**10:010d}-{len(made)}"
        for folder in ("code", "model", "runs"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "code" / "score.py").write_text(SCORE)
        (tmp_path / "model" / "model.txt").write_text("weights")
        (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
        body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": {"authMode": "Key"}}
        with sandbox.arm() as arm:
            put(arm, sandbox.endpoint_id(name), body)
        sandbox.keep_logs(name)
        world = World(name, tmp_path, tmp_path / "runs", workspace)
        made.append(world)
        for deployment, variables in ({"blue": {}} | deployments).items():
            world.create(deployment, **variables)
        world.route(blue=100)
        return world

    yield make
    with sandbox.arm() as arm:
        for world in made:
            arm.delete(sandbox.endpoint_id(world.name)).raise_for_status()
            wait_until(lambda name=world.name: arm.get(sandbox.endpoint_id(name)).status_code == 404)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """An endpoint on which blue serves everything."""
    return make_world()
