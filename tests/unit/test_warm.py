"""A run from the prepared process behaves as one of the command's own process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import warm_stub
from awaiting import wait_until

from opslib.errors import ConnectError
from opslib.redaction.redact import redactor
from opslib.warm import place, rehearsal
from opslib.warm.client import hand_over
from opslib.warm.conditions import find_conditions
from opslib.warm.starting import find_prepared, stop

OPSLIB = (sys.executable, "-m", "opslib", "run")


@pytest.fixture
def place_of_its_own(monkeypatch) -> Iterator[Path]:
    """A folder for the socket whose path is short enough for one."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / "opslib").mkdir(mode=0o700)
    yield folder / "opslib"
    shutil.rmtree(folder)


@pytest.fixture
def start_stub(place_of_its_own) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a prepared process whose runs show what they find."""
    started = []

    def start(idle_s: float = 60.0) -> subprocess.Popen[bytes]:
        mine, its = os.pipe()
        words = [str(place.find_socket()), str(its), str(idle_s)]
        process = subprocess.Popen(
            [sys.executable, warm_stub.__file__, *words],
            pass_fds=(its,),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(its)
        with os.fdopen(mine, "rb") as answer:
            assert answer.read(len(place.READY)) == place.READY
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def test_a_run_finds_what_its_client_has(start_stub, tmp_path):
    """Words, environment, folder, streams and ignored signals are the client's; a second run has none of them."""
    server = start_stub()
    command = ["sh", "-c", 'trap "" QUIT; exec "$@"', "sh", *OPSLIB, "show", "7"]
    environment = os.environ | {"CLAIMS_KEY": "c1aims-k3y", "PWD": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input=b"from stdin", capture_output=True, check=False, timeout=60
    )
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (7, b"aside\n")
    assert found["words"] == ["run", "show", "7"]
    assert found["environment"].items() >= environment.items()
    assert (found["folder"], found["input"], found["temporary"]) == (str(tmp_path), "from stdin", str(tmp_path))
    assert found["session"]
    assert found["quit_ignored"]
    again = subprocess.run([*OPSLIB, "show"], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    assert "CLAIMS_KEY" not in json.loads(again.stdout)["environment"]
    assert b"c1aims-k3y" not in heap_of(server.pid)


def test_a_signal_to_the_client_reaches_the_run(start_stub):
    """A run that takes the signal decides how both end; nothing outlives a killed client."""
    start_stub()
    ends = {signal.SIGTERM: 7, signal.SIGHUP: -signal.SIGHUP, signal.SIGKILL: -signal.SIGKILL}
    for sent, code in ends.items():
        client, run = waiting()
        client.send_signal(sent)
        assert client.wait(60) == code
        wait_until(partial(gone, run))


def test_a_run_goes_on_without_the_prepared_process(start_stub):
    """Its exit code reaches the client, and the next command runs by itself."""
    server = start_stub()
    client, _ = waiting()
    server.kill()
    server.wait(60)
    client.terminate()
    assert client.wait(60) == 7
    assert hand_over(["run", "show"]) is None


def heap_of(pid: int) -> bytes:
    """The memory of a process in which Python keeps its objects."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in maps:
            span, rights, *_, name = f"{line} -".split()[:7]
            if rights.startswith("rw") and not name.startswith("/") and "[v" not in line:
                start, end = (int(one, 16) for one in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return found


def test_a_suspended_client_suspends_the_run(start_stub):
    """Ctrl-Z and `fg` are for both."""
    start_stub()
    client, run = waiting()
    for sent, states in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "SR")):
        client.send_signal(sent)
        wait_until(partial(both_are, states, run, client.pid))
    client.terminate()
    assert client.wait(60) == 7


def both_are(states: str, *processes: int) -> bool:
    """Whether the kernel describes the processes by one of the letters: T is stopped."""
    return all(Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2][0] in states for one in processes)


def gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def waiting() -> tuple[subprocess.Popen[bytes], int]:
    """A client whose run waits, and the run's process; it ignores no signal, as all do below nohup."""
    client = subprocess.Popen(["env", "--default-signal", *OPSLIB, "wait"], stdout=subprocess.PIPE)
    assert client.stdout is not None
    with client.stdout as output:
        return client, int(output.readline())


@pytest.mark.parametrize("variable", ["PYTHONHASHSEED", "OPENSSL_CONF"])
def test_what_was_prepared_otherwise_is_not_used(start_stub, monkeypatch, variable):
    """A variable that takes effect at a start, or other sources, are named; nothing is started."""
    start_stub()
    monkeypatch.setenv(variable, "1")
    found = find_prepared()
    assert found is not None
    assert found.refusal == "other variables than it was prepared with"
    assert hand_over(["run", "show"]) is None
    mine = find_conditions()
    assert mine.differing(mine._replace(sources="", packages="")) == ["sources", "packages"]


def test_an_idle_process_ends_and_removes_its_socket(start_stub, place_of_its_own):
    """So does one that is stopped."""
    assert start_stub(idle_s=0.0).wait(60) == 0
    assert list(place_of_its_own.glob("*.socket")) == []
    process = start_stub()
    assert stop()
    assert process.wait(60) == -signal.SIGTERM
    assert list(place_of_its_own.glob("*.socket")) == []
    assert not stop()


def test_a_process_that_is_only_looked_at_is_idle(start_stub):
    """A monitor that shows its status again and again does not keep it, and its memory, for ever."""
    process = start_stub(idle_s=1.0)
    assert find_prepared() is not None
    wait_until(lambda: find_prepared() is None, within_s=20)
    assert process.wait(20) == 0


@pytest.mark.parametrize("mode", [0o750, 0o707])
def test_a_folder_that_others_can_enter_is_not_trusted(place_of_its_own, mode):
    """Another user could have made the socket, to receive what is handed over."""
    place_of_its_own.chmod(mode)
    with pytest.raises(ConnectError, match="must belong to this user"):
        place.connect()


def test_a_folder_that_cannot_be_looked_into_has_no_prepared_process(tmp_path):
    """As that of another user, whose XDG_RUNTIME_DIR `su` leaves in the environment: the command runs by itself."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 300))}
    done = subprocess.run([*OPSLIB, "rollback"], env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode, b"endpoint" in done.stderr) == (2, True)
    assert b"Traceback" not in done.stderr


def test_a_socket_of_another_user_is_not_trusted(place_of_its_own, monkeypatch):
    """Its owner is compared, and a link is not followed."""
    path = place.find_socket()
    path.symlink_to(place_of_its_own / "other")
    with pytest.raises(ConnectError, match="must belong to this user"):
        place.require_private(path)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(ConnectError, match="must belong to this user"):
        place.require_private(place_of_its_own)


def test_a_rehearsal_leaves_no_thread_no_file_and_no_secrets(monkeypatch, tmp_path):
    """It reaches its own server, whatever proxy the environment names, and nothing in it fails unnoticed."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(rehearsal, "suppress", lambda *_: nullcontext())
    threads = threading.active_count()
    rehearsal.rehearse()
    assert (threading.active_count(), list(tmp_path.iterdir())) == (threads, [])
    assert redactor.cache_info().currsize == 0
