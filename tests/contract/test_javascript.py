import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sandbox_fixture import RunningSandbox
from served import Served

HERE = Path(__file__).parent / "javascript"


@pytest.fixture(scope="module")
def program() -> Path:
    """The program beside its packages, which npm installs once into a cache of one's own."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed: the JavaScript client cannot be tried")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "opslib-contract-javascript"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "client.mjs"):
        shutil.copy(HERE / file, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install the client: {installed.stderr[-300:]}")
    return folder / "client.mjs"


def test_the_javascript_client_deploys_and_scores(program: Path, blue_only: Served, sandbox: RunningSandbox):
    """@azure/arm-machinelearning does a whole life of an endpoint with its documented endpoint option."""
    names = sandbox.workspace
    asked = {
        "url": sandbox.url,
        "subscription": names["subscription_id"],
        "group": names["resource_group"],
        "workspace": names["workspace_name"],
        "template": f"{blue_only.name}/blue",
        "name": "from-javascript",
    }
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(sandbox.home.authority)}
    ended = subprocess.run(
        ["node", str(program), json.dumps(asked)],
        env=environment,
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert "from-javascript" in seen.pop("listed")
    assert seen == {
        "created": "Succeeded",
        "deployed": "Succeeded",
        "traffic": {"blue": 100},
        "scored": 3,
        "refused": [400, "BadRequest"],
        "deleted": 404,
    }
