"""What holds for every command: JSON for programs, no traceback for a mistake, plain text in files; completion."""

import argparse
import io
import json
import os
from pathlib import Path

import pytest
from evidence_fixture import make_run
from rich.console import Console
from rich.text import Text

from opslib.cli.completion import complete
from opslib.cli.main import main, make_parser

ALONE = {
    "opslib answer": "one line, for the person who answers",
    "opslib completion": "lines for a shell",
    "opslib fleet": "its commands have their own",
    "opslib lab": "opens JupyterLab",
    "opslib notebooks": "paths, one a line",
    "opslib notify": "sends a message",
    "opslib pipeline": "paths, one a line",
    "opslib role": "is JSON",
    "opslib sandbox": "its commands have their own",
}
"""Commands without --json, and why."""

STARTS = {"opslib demo", "opslib doctor", "opslib lab", "opslib sandbox", "opslib warm"}
"""Commands that start processes; the sandbox's have tests of their own."""


def commands() -> dict[str, argparse.ArgumentParser]:
    """Each command's parser with its options."""
    parser = make_parser()
    choices = next(one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    for command in choices.values():
        command.load()
    return {command.prog: command for command in choices.values()}


COMMANDS = commands()


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No sandbox, no archive, no settings of the person who runs the tests."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("OPSLIB_RUNS", raising=False)
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(tmp_path / "no-sandbox"))


@pytest.mark.parametrize("prog", COMMANDS)
def test_a_program_can_read_it(prog):
    """Every command has --json, or a reason why not."""
    options = {option for action in COMMANDS[prog]._actions for option in action.option_strings}
    assert ("--json" in options) is (prog not in ALONE)


def mistakes(prog: str) -> list[list[str]]:
    """Command lines with names and files that do not exist: without options, then with each that takes a file."""
    actions = COMMANDS[prog]._actions
    positional = [next(iter(one.choices or ["no/such/thing"])) for one in actions if not one.option_strings]
    needed = [one.option_strings[-1] for one in actions if one.option_strings and one.required]
    line = [*prog.split()[1:], *positional, *(word for option in needed for word in (option, "x"))]
    files = [one.option_strings[-1] for one in actions if one.option_strings and one.type is Path]
    return [line, *([*line, option, "no/such/folder/file"] for option in files)]


@pytest.mark.parametrize("prog", sorted(COMMANDS.keys() - STARTS))
def test_a_mistake_gets_a_message_and_no_traceback(prog, capsys):
    """One message on stderr, exit code 1 or 2, and no colour codes where the output is no terminal."""
    for line in mistakes(prog):
        try:
            code = main(line)
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        assert code in (0, 1, 2, 4), (line, printed.err)
        assert code == 0 or printed.err, line
        assert "Traceback" not in printed.err
        assert "\x1b" not in printed.out + printed.err


def test_a_file_that_cannot_be_opened_is_named(monkeypatch, capsys):
    """An error of the system without a path is a bug, and stays one."""
    monkeypatch.setattr("opslib.cli.parameters.run", raising(PermissionError(13, "Permission denied", "a.pem")))
    assert main(["parameters", "canary"]) == 1
    assert capsys.readouterr().err == "opslib: a.pem: Permission denied\n"
    monkeypatch.setattr("opslib.cli.parameters.run", raising(OSError("a bug")))
    with pytest.raises(OSError, match="a bug"):
        main(["parameters", "canary"])


def test_an_interrupted_command_ends_as_aborted(monkeypatch, capsys):
    """Ctrl-C prints one line."""
    monkeypatch.setattr("opslib.cli.parameters.run", raising(KeyboardInterrupt()))
    assert main(["parameters", "canary"]) == 5
    assert capsys.readouterr().err == "opslib: interrupted\n"


def raising(error: BaseException):
    def run(*_: object) -> int:
        raise error

    return run


def test_no_color_is_honoured(monkeypatch):
    """https://no-color.org: rich, which draws the progress, prints no colours then."""
    shown = {}
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        stream = io.StringIO()
        Console(file=stream, force_terminal=True, color_system="standard").print(Text("held", style="red"))
        shown[value] = stream.getvalue()
    assert "\x1b[31m" in shown[""]
    assert "\x1b[31m" not in shown["1"]


def completions(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a shell would be offered at the end of a line."""
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setenv("_ARGCOMPLETE_IFS", "\n")
    monkeypatch.setenv("_ARGCOMPLETE_SUPPRESS_SPACE", "1")
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setattr("os.fdopen", raising(OSError("argcomplete opens descriptor 9, which is pytest's")))
    stream = io.StringIO()

    class EndedError(Exception):
        pass

    def end(_: int) -> None:
        raise EndedError

    with pytest.raises(EndedError):
        complete(make_parser(), output_stream=stream, exit_method=end)
    return stream.getvalue().split("\n")


def test_a_shell_completes_commands_runbooks_parameters_and_runs(tmp_path, monkeypatch):
    """Options of a command that is loaded late, names from the parameters, ids from the archive."""
    folder = make_run(tmp_path / "runs")
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path / "runs"))
    assert completions("opslib rec", monkeypatch) == ["recover"]
    assert completions("opslib run can", monkeypatch) == ["canary"]
    assert completions("opslib run canary -p on_h", monkeypatch) == ["on_hold="]
    assert "on_hold=ask" in completions("opslib run canary -p on_hold=", monkeypatch)
    assert completions("opslib check --for", monkeypatch) == ["--format"]
    assert completions("opslib runs show 2", monkeypatch) == [folder.name]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_lines(shell, capsys):
    """What the person's own shell reads at its start."""
    assert main(["completion", shell]) == 0
    assert "_ARGCOMPLETE" in capsys.readouterr().out


def test_parameters_have_a_schema(capsys):
    """For a program that shows a form."""
    assert main(["parameters", "canary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["alpha"]["default"] == 0.05


def test_the_environment_is_left_as_it_was():
    """The tests of completions set variables that would make every later command line complete."""
    assert "_ARGCOMPLETE" not in os.environ
