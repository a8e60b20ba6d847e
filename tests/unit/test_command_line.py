"""The command line; `.ci/wheel` runs these tests on an installed wheel, from an empty folder."""

import re

import pytest

from opslib.cli.main import main
from opslib.parameters import RUNBOOKS

COMMANDS = (
    *(
        "run",
        "notebooks",
        "lab",
        "parameters",
        "init",
        "check",
        "pipeline",
        "cost",
        "fleet",
        "inventory",
        "drift",
        "status",
    ),
    *(
        "completion",
        "warm",
        "doctor",
        "role",
        "runs",
        "autoscale",
        "diagnose",
        "review",
        "verify",
        "approve",
        "seal",
        "publish",
        "compact",
        "recover",
        "judge",
        "answer",
        "notify",
        "demo",
        "sandbox",
    ),
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Each test starts in an empty folder, without a sandbox."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("OPSLIB_RUNS", raising=False)
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(tmp_path / "no-sandbox"))
    return tmp_path / "empty"


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_once(capsys):
    """`opslib --help` names the commands, each with one line."""
    text = help_of(capsys)
    listed = re.findall(r"^ {4}([a-z]+)(?:\s|$)", text, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(capsys, command):
    """`opslib COMMAND --help` shows its usage and an example."""
    text = help_of(capsys, command)
    assert text.startswith(f"usage: opslib {command}")
    assert "example" in text


def test_notebooks_are_copied_once(capsys, empty_folder):
    """`opslib notebooks` writes every runbook to notebooks/, and a second time nothing."""
    assert main(["notebooks"]) == 0
    assert {path.stem for path in (empty_folder / "notebooks").iterdir()} == {*RUNBOOKS, "explore"}
    edited = empty_folder / "notebooks/canary.ipynb"
    edited.write_text("edited")
    (empty_folder / "notebooks/scale.ipynb").unlink()
    assert main(["notebooks"]) == 2
    assert "notebooks/canary.ipynb" in capsys.readouterr().err
    assert edited.read_text() == "edited"
    assert not (empty_folder / "notebooks/scale.ipynb").exists()


def test_notebooks_go_to_the_folder_that_is_named(capsys, empty_folder):
    """`opslib notebooks DIR` makes the folder and prints what it wrote."""
    assert main(["notebooks", "a/b"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        *(f"a/b/{name}.ipynb" for name in sorted([*RUNBOOKS, "explore"])),
        f"{len(RUNBOOKS) + 1} notebooks copied to a/b",
    ]


def test_notebooks_cannot_be_written_to_a_file(capsys, empty_folder):
    """A name that is a file already is refused with the reason."""
    (empty_folder / "taken").write_text("")
    assert main(["notebooks", "taken"]) == 2
    assert "taken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (["endpoint"], "-p takes NAME=VALUE, such as -p endpoint=fraud, got 'endpoint'"),
        (["endpoint=a", "endpoint=b"], "more than once"),
        (["nonsense=1"], "verify_s; opslib parameters rollback explains them"),
        ([], "endpoint"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_written(capsys, empty_folder, parameters, reason):
    """Exit code 2, the reason on stderr, and no run folder."""
    options = [option for parameter in parameters for option in ("-p", parameter)]
    assert main(["run", "rollback", *options]) == 2
    assert reason in capsys.readouterr().err
    assert not list(empty_folder.iterdir())


def test_without_a_command_the_commands_are_listed(capsys):
    """On stderr and with exit code 2: nothing was done."""
    assert main([]) == 2
    assert "  status      show an endpoint's traffic" in capsys.readouterr().err


def test_papermills_form_of_a_parameter_is_refused_with_the_right_one(capsys, empty_folder):
    """`-p NAME VALUE` is what papermill takes; the value is not called an unknown argument."""
    assert main(["run", "rollback", "-p", "endpoint", "fraud"]) == 2
    assert "got 'endpoint'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [("runs",), ("runs", "show", "20260101"), ("judge", "20260101"), ("seal", "20260101")]
)
def test_a_command_in_a_folder_without_an_archive_names_what_to_do(capsys, empty_folder, line):
    """The message has the archive that was searched, and the option that names another one."""
    main(line)
    seen = capsys.readouterr().err
    assert f"there is no archive {empty_folder / 'runs'}" in seen
    assert "--runs FOLDER" in seen


def test_a_file_of_the_wrong_folder_is_named_with_the_folder(capsys, empty_folder):
    """A relative path says nothing without the folder it is relative to."""
    assert (
        main(["run", "canary", "-p", "endpoint=fraud", "-p", "canary=green", "-p", "policy=fraud/policy.yml"]) == 2
    )
    assert f"policy 'fraud/policy.yml' cannot be read in {empty_folder}: No such" in capsys.readouterr().err
    assert main(["pipeline", "github", "fraud"]) == 2
    assert f"fraud is no folder in {empty_folder}" in capsys.readouterr().err


def test_an_unknown_runbook_is_refused(capsys):
    """The message lists the runbooks that exist."""
    assert main(["run", "nonsense", "-p", "endpoint=fraud"]) == 2
    error = capsys.readouterr().err
    assert all(runbook in error for runbook in RUNBOOKS)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (("runs", "--since", "yesterday"), "expected a date or time such as 2026-01-31 or 2026-01-31T14:00"),
        (("runs", "--outcome", "broken"), "invalid choice: 'broken' (choose from 'succeeded', "),
        (("lab", "--port", "99999"), "expected a port from 1 to 65535, got '99999'"),
    ],
)
def test_a_wrong_value_of_an_option_is_refused_with_what_was_expected(capsys, line, seen):
    """Before anything is read or started."""
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2
    assert seen in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (
            ("drift", "nowhere"),
            "'nowhere' is no folder of definitions and no file. As a run: expected the id of one",
        ),
        (("fleet", "plan", "none.yml"), "wave file 'none.yml' cannot be read"),
        (
            ("run", "canary", "-p", "endpoint=fraud", "-p", "canary=green", "-p", "policy=none.yml"),
            "policy 'none.yml' can",
        ),
    ],
)
def test_a_file_that_is_not_there_is_named_as_what_it_should_be(capsys, line, seen):
    """A policy is no definition."""
    assert main(line) == 2
    assert seen in capsys.readouterr().err
