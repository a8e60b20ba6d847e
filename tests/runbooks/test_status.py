"""The state of a live endpoint: counts, budget, runs and concerns, as text and JSON, once and watched."""

import json
from collections.abc import Mapping

import httpx
import pytest
from awaiting import wait_until
from runbook_world import World
from sandbox_fixture import RunningSandbox

from opslib.cli import status as command
from opslib.cli.main import main

POLICY = """\
version: 1
endpoint: {name}
owner: {{team: HarborShield claims, contact: claims}}
objectives: {{max_failure_rate: 0.5, max_p95_ms: 5000}}
"""


@pytest.fixture
def asked(world: World, sandbox: RunningSandbox, tmp_path, monkeypatch) -> World:
    """An endpoint with a policy that has answered four requests, one of them with a failure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "policy.yml").write_text(POLICY.format(name=world.name))
    with sandbox.arm() as arm:
        key = arm.post(f"{sandbox.endpoint_id(world.name)}/listKeys").json()["primaryKey"]
    with sandbox.http(headers={"Authorization": f"Bearer {key}"}) as client:
        answers = [
            send(client, world, body) for body in ({"data": [1]}, {"data": [2]}, {"data": [3]}, {"wrong": 1})
        ]
    assert answers == [200, 200, 200, 424]
    return world


def send(client: httpx.Client, world: World, body: Mapping[str, object]) -> int:
    return client.post(world.read().scoring_uri, json=body).status_code


def read(capsys, *arguments: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = main(["status", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_state_is_shown_within_a_second(asked: World, capsys, monkeypatch):
    """Traffic, counts, budget and runs; a policy in the folder is found; --watch repeats until interrupted."""
    code, content = wait_until(
        lambda: (seen := read(capsys, asked.name))[1]["error_budget"]["requests"] == 4 and seen
    )
    assert (code, content["concerns"], content["unread"]) == (0, [], [])
    assert content["traffic"] == {"blue": 100}
    assert content["error_budget"] == {
        "max_failure_rate": 0.5,
        "requests": 4,
        "failures": 1,
        "allowed": 2.0,
        "left": 0.5,
    }
    (blue,) = content["deployments"]
    assert (blue["requests"], blue["failures"], blue["state"]) == (4, 1, "Succeeded")
    assert main(["status", asked.name]) == 0
    text = capsys.readouterr().out
    assert "50 % left: 1 of 4 (25 %) failed, 2.0 allowed" in text
    assert "The archive has no runs on it." in text
    passed = iter([None])
    monkeypatch.setattr(command, "sleep", lambda _: next(passed))
    with pytest.raises(StopIteration):
        main(["status", asked.name, "--watch", "2", "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_needs_a_person_is_the_exit_code(asked: World, capsys):
    """No traffic is a concern; an absent endpoint, a wrong window and a hasty watch are refused."""
    asked.route()
    code, content = read(capsys, asked.name)
    assert (code, content["concerns"]) == (3, ["no deployment takes traffic: requests are answered 404"])
    asked.route(blue=100)
    for arguments in (["nothing"], [asked.name, "--window-h", "9999"], [asked.name, "--watch", "0.1"]):
        assert main(["status", *arguments]) == 2
