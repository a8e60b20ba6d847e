"""Secrets in what an inventory and a drift read: masked in all that they write, and no drift by being masked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from runbook_world import World, put
from sandbox_fixture import RunningSandbox

from opslib.cli.main import main
from opslib.model import Outcome

FIRST, SECOND = "correct-horse-battery", "postgres://ann:staple-4711@db/claims"


def set_variables(sandbox: RunningSandbox, name: str, **variables: str) -> None:
    """Give the deployment environment variables, as another program does."""
    path = f"{sandbox.endpoint_id(name)}/deployments/blue"
    with sandbox.arm() as client:
        body = client.get(path).json()
        body["properties"]["environmentVariables"] |= variables
        put(client, path, body)


def leaks(folder: Path) -> set[str]:
    """Names of a folder's files in which a secret is."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        one.name
        for one in files
        if any(s in one.read_text(errors="replace") for s in (FIRST, SECOND, "staple-4711"))
    }


def test_secrets_of_deployments_are_in_no_file(
    make_world: Callable[..., World],
    sandbox: RunningSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Inventory and drift, as runs and commands; also with a base of plain values, as older ones have."""
    monkeypatch.chdir(tmp_path)
    world = make_world(blue={"DB_PASSWORD": FIRST, "CLAIMS": SECOND, "MODE": "fast"})
    folder, record = world.run("inventory", endpoint=world.name)
    assert main(["inventory", "--endpoint", world.name, "--output", "base.json"]) == 0
    base = json.loads(Path("base.json").read_text())
    blue = base["resources"][0]["deployments"][0]["properties"]["environmentVariables"]
    assert blue["DB_PASSWORD"] == blue["CLAIMS"] == "[redacted]"
    assert leaks(tmp_path) | leaks(folder) == set()
    assert record.outcome in {Outcome.SUCCEEDED, Outcome.HELD}

    assert main(["drift", "base.json"]) == 0
    set_variables(sandbox, world.name, MODE="slow")
    blue |= {"DB_PASSWORD": "another-horse", "CLAIMS": "postgres://ann:another@db/claims"}
    Path("plain.json").write_text(json.dumps(base))
    capsys.readouterr()
    assert main(["drift", "plain.json", "--fix", "--output", "drift.json"]) == 3
    shown = capsys.readouterr().out
    assert "environmentVariables.DB_PASSWORD" in shown
    assert "another" not in shown
    folder, record = world.run("drift", base=str(tmp_path / "base.json"))
    assert record.results["drifted_fields"] == 1, record.reason
    set_variables(sandbox, world.name, MODE="fast")  # as the next test takes it
    Path("plain.json").unlink()
    assert leaks(tmp_path) | leaks(folder) == set()
