"""What `opslib doctor` finds wrong with a machine, and the role that `opslib role` prints."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from small_disk import small_disk

from opslib.access.roles import RUNBOOK_PURPOSES, custom_role, runbook_actions
from opslib.cli.main import main
from opslib.doctor import machine
from opslib.doctor.check import Check, State, as_text
from opslib.evidence.signing.keys import find_signing_key
from opslib.parameters import RUNBOOKS


@pytest.mark.parametrize(
    ("found", "system", "state"),
    [((3, 11, 0), "linux", State.OK), ((3, 10, 9), "linux", State.PROBLEM), ((3, 12, 1), "darwin", State.WARNING)],
)
def test_python_is_new_enough_and_on_linux(found, system, state):
    """Each finding has a fix."""
    check = machine.check_python(found, system)
    assert check.state is state
    assert bool(check.fix) is (state is not State.OK)


def test_versions_that_differ_from_the_tested_ones_are_named(tmp_path):
    """Only packages that opslib requires itself; what is missing is a problem."""
    pins = tmp_path / "constraints.txt"
    pins.write_text("# tested\nPyYAML==0.1\nnot-required==1\n")
    packages, versions = machine.check_packages(pins)
    assert (packages.state, versions.state) == (State.OK, State.WARNING)
    assert "pyyaml" in versions.seen
    assert "not-required" not in versions.seen
    assert str(pins) in versions.fix


def test_a_package_that_is_missing_or_too_old_is_a_problem(monkeypatch):
    """The message names each with what was expected."""
    monkeypatch.setattr(machine, "_installed", lambda name: {"httpx": "", "numpy": "1.0"}.get(name, "99"))
    packages, *_ = machine.check_packages(None)
    assert packages.state is State.PROBLEM
    assert "httpx is not installed" in packages.seen
    assert "numpy 1.0 is not >=2" in packages.seen


def test_little_memory_is_a_warning(tmp_path):
    """Read as the kernel of Linux states it; where it does not, nothing is claimed."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2000000 kB\nMemAvailable: 500000 kB\n")
    assert machine.check_memory(meminfo).state is State.WARNING
    assert "not known" in machine.check_memory(tmp_path / "none").seen


def test_the_signing_key_is_looked_at_and_never_made(tmp_path, monkeypatch):
    """None yet, one of a vault, one that is missing, one that others may read."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "the first run creates" in machine.check_signing_key().seen
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("OPSLIB_SIGNING_KEY", "keyvault:vault/key")
    assert machine.check_signing_key().seen.startswith("keyvault:vault/key")
    monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(tmp_path / "none.pem"))
    missing = machine.check_signing_key()
    assert (missing.state, "openssl" in missing.fix) == (State.PROBLEM, True)
    monkeypatch.delenv("OPSLIB_SIGNING_KEY_FILE")
    monkeypatch.delenv("OPSLIB_SIGNING_KEY")
    find_signing_key()
    assert machine.check_signing_key().state is State.OK
    (tmp_path / "opslib" / "signing-key.pem").chmod(0o644)
    assert machine.check_signing_key().fix.startswith("chmod 600")


@pytest.mark.parametrize(("size", "state"), [("2m", State.PROBLEM), ("8m", State.WARNING)])
def test_a_disk_on_which_no_run_begins_is_a_problem(tmp_path, size, state):
    """A run sets 4 MiB aside for its end; a disk with little more is a warning."""
    with small_disk(tmp_path / "runs", size) as disk:
        assert machine.check_disk(disk.path).state is state


def test_fixes_stand_below_what_they_fix():
    """One line per check, and a count of each state."""
    checks = [Check("disk", State.OK, "1 MiB"), Check("kernel", State.PROBLEM, "does not start", "Install it.")]
    assert as_text(checks).splitlines()[1:3] == ["problem  kernel  does not start", f"{'':<17}fix: Install it."]
    assert as_text(checks).endswith("1 ok, 0 warning, 1 problem")


def test_every_runbook_has_its_actions():
    """`opslib role` knows the runbooks that there are, and reading ones write nothing."""
    assert RUNBOOK_PURPOSES.keys() == RUNBOOKS.keys()
    for runbook, parameters in RUNBOOKS.items():
        writes = [one.name for one in runbook_actions([runbook]) if one.name.endswith(("/write", "/delete"))]
        assert bool(writes) is parameters.changes, runbook


def test_a_role_has_the_form_that_az_reads(tmp_path, capsys, monkeypatch):
    """Names, actions without repetition, and the resource group of config.json as its scope."""
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text('{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}')
    assert main(["role", "deploy", "canary", "--output", "role.json", "--name", "releaser"]) == 0
    assert "az role definition create --role-definition role.json" in capsys.readouterr().err
    role = json.loads(Path("role.json").read_text())
    assert role["AssignableScopes"] == ["/subscriptions/s/resourceGroups/g"]
    assert role["Name"] == "releaser"
    assert len(role["Actions"]) == len(set(role["Actions"]))
    assert role["DataActions"]
    assert main(["role", "nonsense"]) == 2
    assert "there are: deploy" in capsys.readouterr().err


def test_a_reader_can_change_nothing_and_read_no_key():
    """Neither write, delete, key nor score; logs may be read."""
    actions = custom_role("reader", RUNBOOKS, ["/subscriptions/s"], read_only=True)["Actions"]
    assert all(one.endswith(("/read", "/getLogs/action")) for one in actions)


def test_a_pin_may_have_a_marker_a_comment_or_a_digest():
    """What follows the version is no part of it."""
    found = version("pydantic")
    for rest in ("", " ; python_version >= '3.11'", "  # tested", " \\\n    --hash=sha256:ab"):
        assert machine.other_versions(f"# pydantic==0\npydantic=={found}{rest}\n") == {}
    assert machine.other_versions("pydantic[email]==0.1 ; python_version > '3'") == {"pydantic": (found, "0.1")}
