import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from awaiting import wait_until
from rest_client import make_endpoint
from sandbox_fixture import RunningSandbox, reread, running_sandbox
from served import ASK

from opslib.sandbox.cli.control import start
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import Settings

OPSLIB = [sys.executable, "-m", "opslib", "sandbox"]
APP = Path(__file__).parent / "app"


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox of its own, that may be killed, with one endpoint made by bare HTTP."""
    with running_sandbox(tmp_path_factory.mktemp("mortal"), Settings(operation_s=0.3)) as running:
        make_endpoint(running, APP)
        yield running


def test_it_survives_being_killed(mortal: RunningSandbox):
    """After kill -9 and up: same address, same key, serving again, nothing left over from before."""
    path = mortal.endpoint_id("lasting")
    with mortal.arm() as arm:
        before = arm.get(path).json()
        key = arm.post(f"{path}/listKeys").json()["primaryKey"]
    orphans = [_process(row) for row in _status(mortal, "instance")]
    os.kill(mortal.note["pid"], signal.SIGKILL)
    wait_until(lambda: mortal.home.read_note() is None)
    start(mortal.home)
    wait_until(lambda: not any(orphan is not None and orphan.alive() for orphan in orphans))
    again = reread(mortal)
    assert again.url == mortal.url
    with again.arm() as arm:
        assert arm.get(path).json() == before
        answer = arm.post(before["properties"]["scoringUri"], json=ASK, headers={"Authorization": f"Bearer {key}"})
        assert answer.json()["weight"] == 1


def test_a_half_done_operation_is_brought_to_its_end(mortal: RunningSandbox):
    """Killed while a deployment is being made, the sandbox takes the operation up again and ends it."""
    path = f"{mortal.endpoint_id('lasting')}/deployments/green"
    _opslib(mortal, "fault", "lro-hang", "--endpoint", "lasting", "--deployment", "green", "--seconds", "600")
    with reread(mortal).arm() as arm:
        body = arm.get(f"{mortal.endpoint_id('lasting')}/deployments/blue").json()
        where = arm.put(path, json=body).headers["Azure-AsyncOperation"]
        assert arm.get(where).json()["status"] == "Updating"
    os.kill(reread(mortal).note["pid"], signal.SIGKILL)
    wait_until(lambda: mortal.home.read_note() is None)
    start(mortal.home)
    _opslib(mortal, "fault", "clear")
    with reread(mortal).arm() as arm:
        wait_until(lambda: arm.get(where).json()["status"] == "Succeeded")
        assert arm.get(path).json()["properties"]["provisioningState"] == "Succeeded"


def begin_update(arm: httpx.Client, endpoint: str, **variables: str) -> tuple[str, str, str]:
    """Update blue; return the endpoint's key, where it is scored, and where the update is polled."""
    key = arm.post(f"{endpoint}/listKeys").json()["primaryKey"]
    uri = arm.get(endpoint).json()["properties"]["scoringUri"]
    body = arm.get(f"{endpoint}/deployments/blue").json()
    body["properties"]["environmentVariables"] = variables
    return key, uri, arm.put(f"{endpoint}/deployments/blue", json=body).headers["Azure-AsyncOperation"]


def test_a_failed_update_is_survived(mortal: RunningSandbox):
    """After an update that failed, blue still serves its old version: at once, and after another kill."""
    endpoint = mortal.endpoint_id("lasting")
    with reread(mortal).arm() as arm:
        key, uri, where = begin_update(arm, endpoint, BREAK_INIT="1")
        ended = wait_until(lambda: (now := arm.get(where).json())["status"] != "Updating" and now)
        assert ended["error"]["code"] == "ResourceNotReady"
        assert arm.post(uri, json=ASK, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    os.kill(reread(mortal).note["pid"], signal.SIGKILL)
    wait_until(lambda: mortal.home.read_note() is None)
    start(mortal.home)
    with reread(mortal).http() as client:
        assert client.post(uri, json=ASK, headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_an_update_that_is_cut_short_and_then_fails_is_survived(mortal: RunningSandbox):
    """Blue serves its old version at once after the start, and still does when the update has failed."""
    endpoint = mortal.endpoint_id("lasting")
    _opslib(mortal, "fault", "lro-hang", "--endpoint", "lasting", "--deployment", "blue", "--seconds", "600")
    with reread(mortal).arm() as arm:
        key, uri, where = begin_update(arm, endpoint, BREAK_INIT="2")
    os.kill(reread(mortal).note["pid"], signal.SIGKILL)
    wait_until(lambda: mortal.home.read_note() is None)
    start(mortal.home)
    with reread(mortal).arm() as arm:
        bearer = {"Authorization": f"Bearer {key}"}
        assert arm.get(where).json()["status"] == "Updating"
        assert arm.post(uri, json=ASK, headers=bearer).status_code == 200
        _opslib(mortal, "fault", "clear")
        assert wait_until(lambda: (now := arm.get(where).json())["status"] != "Updating" and now)["error"]
        assert arm.post(uri, json=ASK, headers=bearer).status_code == 200


def test_settings_and_faults_survive(mortal: RunningSandbox):
    """Killed and started without options, it keeps its settings and its faults; an option overrides its setting."""
    _opslib(
        mortal, "fault", "arm-error", "--endpoint", "nobody", "--count", "3", "--seconds", "600", "--name", "held"
    )
    os.kill(reread(mortal).note["pid"], signal.SIGKILL)
    wait_until(lambda: mortal.home.read_note() is None)
    _opslib(mortal, "up", "--max-connections", "77")
    assert [row.split()[1:] for row in _status(mortal, "setting")] == [
        ["operation_s", "0.3"],
        ["max_connections", "77"],
    ]
    assert [row.split()[1:3] for row in _status(mortal, "fault")] == [["held", "active"]]
    _opslib(mortal, "fault", "clear")
    _opslib(mortal, "down")
    _opslib(mortal, "up")
    assert len(_status(mortal, "setting")) == 2
    assert _status(mortal, "fault") == []


def test_up_is_idempotent_and_env_says_where(mortal: RunningSandbox):
    """A second `up` finds the first; `env` and the note agree."""
    assert "is already up" in _opslib(mortal, "up")
    exports = _opslib(mortal, "env")
    note = json.loads(_opslib(mortal, "env", "--json"))
    assert note == reread(mortal).note
    for name, value in note["environment"].items():
        assert f"export {name}={value}\n" in exports
    assert set(note["workspace"]) == {"subscription_id", "resource_group", "workspace_name", "location"}
    config = json.loads((mortal.home.root / "config.json").read_text())
    assert config["workspace_name"] == note["workspace"]["workspace_name"]


def test_status_lists_what_is_served(mortal: RunningSandbox):
    """`status` names endpoints, deployments and running instances."""
    said = wait_until(lambda: "running" in (now := _opslib(mortal, "status")) and now)  # it may have been killed
    assert "lasting/blue" in said


def test_everything_listens_on_loopback_only(mortal: RunningSandbox):
    """No socket of the sandbox or its instances is bound to another address than 127.0.0.1."""
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = _socket_inodes(
        [reread(mortal).note["pid"], *(int(row.split()[4]) for row in _status(mortal, "instance"))]
    )
    bound = [row[1] for row in listening if row[3] == "0A" and row[9] in inodes]
    assert bound
    assert {address.split(":")[0] for address in bound} == {"0100007F"}
    six = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    assert not [row for row in six if row[3] == "0A" and row[9] in inodes]


def test_traffic_reports_every_request(mortal: RunningSandbox, tmp_path: Path):
    """The load source sends the requested load, writes a line for each request, and prints a summary."""
    bodies, report = tmp_path / "bodies.jsonl", tmp_path / "report.jsonl"
    bodies.write_text('{"data": [1]}\n{"data": [2]}\n')
    options = ["--rps", "40", "--seconds", "2", "--seed", "1", "--body-file", str(bodies), "--report", str(report)]
    said = _opslib(mortal, "traffic", "lasting", *options)
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert f"{len(rows)} requests" in said
    assert 50 < len(rows) < 115
    assert {(row["status"], row["deployment"], row["error"]) for row in rows} == {(200, "blue", None)}
    assert all(0 <= row["late_ms"] < row["latency_ms"] for row in rows)
    assert len({row["client_request_id"] for row in rows}) == len(rows)


def test_traffic_ends_cleanly_when_told(mortal: RunningSandbox, tmp_path: Path):
    """SIGTERM stops the load, and the summary still counts what was sent."""
    bodies, report = tmp_path / "bodies.jsonl", tmp_path / "report.jsonl"
    bodies.write_text('{"data": [1]}\n')
    command = [*OPSLIB, "traffic", "lasting", "--home", str(mortal.home.root), "--rps", "20", "--seconds", "600"]
    process = subprocess.Popen(
        [*command, "--body-file", str(bodies), "--report", str(report)], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: report.exists() and report.read_text().count("\n") > 3)
    process.terminate()
    said, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert f"{report.read_text().count(chr(10))} requests" in said


def test_reset_forgets_and_keeps_trust(mortal: RunningSandbox):
    """`reset` ends every process and wipes the state; the authority stays, so clients need no new one."""
    authority = mortal.home.authority.read_text()
    processes = [ProcessId.of(reread(mortal).note["pid"]), *(_process(row) for row in _status(mortal, "instance"))]
    _opslib(mortal, "reset")
    assert not any(one is not None and one.alive() for one in processes)
    assert not mortal.home.note.exists()
    start(mortal.home)
    assert mortal.home.authority.read_text() == authority
    with reread(mortal).arm() as arm:
        assert arm.get(f"{mortal.workspace_id}/onlineEndpoints").json() == {"value": []}


def test_it_stays_small(tmp_path: Path):
    """An empty sandbox idles below 80 MB."""
    with running_sandbox(tmp_path / "quick") as quick:
        status = Path(f"/proc/{quick.note['pid']}/status").read_text()
        resident_kb = int(status.split("VmRSS:")[1].split()[0])
        assert resident_kb < 80_000


def _opslib(sandbox: RunningSandbox, word: str, *more: str) -> str:
    command = [*OPSLIB, word, *more, "--home", str(sandbox.home.root)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _status(sandbox: RunningSandbox, kind: str) -> list[str]:
    return [line for line in _opslib(sandbox, "status").splitlines() if line.startswith(kind)]


def _process(row: str) -> ProcessId | None:
    return ProcessId.of(int(row.split()[4]))


def _socket_inodes(pids: list[int]) -> set[str]:
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed
                target = str(link.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def test_a_sandbox_whose_folder_was_deleted_ends(tmp_path: Path):
    """No command could find it any more, or stop its instances."""
    with running_sandbox(tmp_path / "home") as running:
        shutil.rmtree(running.home.root)
        wait_until(lambda: not _listens(running), 30)


def _listens(sandbox: RunningSandbox) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2])), 1).close()
    except ConnectionError:
        return False
    return True
