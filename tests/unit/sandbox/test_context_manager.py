"""`with Sandbox() as azure:` and its end, whatever ends it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from awaiting import wait_until

from opslib.sandbox import Sandbox, SandboxError
from opslib.sandbox.cli.control import start, stop
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import groups

ENDPOINT = {"location": "eastus", "properties": {"authMode": "Key"}}
WAITING = """
import time
from opslib.sandbox import Sandbox
with Sandbox() as azure:
    print(azure.home.root, flush=True)
    time.sleep(60)
"""


def test_two_at_once_are_apart(monkeypatch: pytest.MonkeyPatch):
    """The inner one is pointed at, each keeps what it was sent, and an exception ends both without a trace."""
    monkeypatch.setenv("AZURE_CLIENT_ID", "of another account")
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt), Sandbox() as one, Sandbox(location="westeurope") as two:  # noqa: PT012
        assert os.environ["IDENTITY_ENDPOINT"].startswith(two.url)
        assert "AZURE_CLIENT_ID" not in os.environ
        with pytest.raises(SandboxError, match=f"not pointed at the sandbox {one.url}"):
            one.ml_client()
        with one.pointed(), one.arm() as arm:
            assert os.environ["IDENTITY_ENDPOINT"].startswith(one.url)
            arm.put(one.endpoint_id("fraud"), json=ENDPOINT).raise_for_status()
        with two.arm() as arm:
            assert arm.get(two.endpoint_id("fraud")).status_code == 404
            assert arm.get(two.workspace_id).json()["location"] == "westeurope"
        raise KeyboardInterrupt
    assert dict(os.environ) == before
    assert not one.home.root.exists()
    assert not two.home.root.exists()


def test_a_workspace_is_empty_and_is_emptied(sandbox):
    """Its subscription is its own; at the end its endpoints and all faults are gone."""
    with sandbox.new_workspace() as own:
        assert own.subscription_id != sandbox.subscription_id
        own.declare_fault("arm-error", endpoint="emptied", rate=1.0)
        with own.arm() as arm:
            arm.put(own.endpoint_id("apart"), json=ENDPOINT).raise_for_status()
            assert arm.get(own.endpoint_id("emptied")).status_code >= 500
    with sandbox.arm() as arm:
        assert arm.get(own.endpoint_id("apart")).status_code == 404
        assert arm.get(own.endpoint_id("emptied")).status_code == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_it_ends_with_its_process(number: signal.Signals):
    """Ctrl-C ends it at once and deletes its folder; when its process is killed it finds that out by itself."""
    words = ["env", "--default-signal=INT", sys.executable, "-c", WAITING]  # a job in the background ignores it
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        home = Home(Path(program.stdout.readline().strip()))
        note = home.read_note()
        assert note is not None
        program.send_signal(number)
        program.wait(20)
    wait_until(lambda: home.process(note) is None, 20)
    assert home.root.exists() == (number is signal.SIGKILL)


def test_a_folder_has_one_sandbox(tmp_path: Path):
    """A second one has other settings and another end: it is refused, and the first goes on."""
    with Sandbox(home=tmp_path) as first:
        with pytest.raises(SandboxError, match=rf"a sandbox is up in {tmp_path} already \(pid \d+\)"):
            Sandbox(home=tmp_path, quota_cores=8).start()
        with first.arm() as arm:
            assert arm.get(first.workspace_id).status_code == 200


def test_settings_that_are_none_are_refused():
    """The names of the settings are given before anything is started."""
    with pytest.raises(TypeError, match="no setting qouta; expected some of: subscription_id"):
        Sandbox(qouta=8)
    with pytest.raises(ValueError, match="max_connections must be at least 1, got 0"):
        Sandbox(max_connections=0)


def test_the_plugin_costs_a_run_without_it_nothing():
    """It is loaded in every run of a person who has opslib: it imports packages without code, and nothing else."""
    code = """if True:
        import sys, pytest
        before = set(sys.modules)
        import opslib.sandbox.testing.pytest_plugin
        print(*sorted(set(sys.modules) - before))
    """
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = ["opslib", "opslib.sandbox", "opslib.sandbox.testing", "opslib.sandbox.testing.pytest_plugin"]
    assert printed.split() == own


def test_two_starts_at_once_start_one(tmp_path: Path):
    """Both get the same sandbox, and no second process stays in its folder."""
    with ThreadPoolExecutor() as pool:
        try:
            notes = list(pool.map(start, [Home(tmp_path)] * 2))
            daemons = [pid for pids in groups().values() for pid in pids if str(tmp_path) in _command(pid)]
            assert daemons == [notes[0]["pid"]] == [notes[1]["pid"]]
        finally:
            stop(Home(tmp_path))
    with pytest.raises(ProcessLookupError):  # a child that has ended and was not waited for would be there
        os.kill(notes[0]["pid"], 0)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
