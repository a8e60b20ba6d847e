"""Plain words: no refused word in what a person reads; the help of each command has a text and an example."""

import argparse
import contextlib
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from words import ROOT, find_words, listed, places

from opslib.cli.main import make_parser


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and, at any depth, the parsers of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from walk(inner)


COMMANDS = [parser.prog for parser in walk(make_parser())]
LEAVES = [prog for prog in COMMANDS if not any(other.startswith(f"{prog} ") for other in COMMANDS)]


def find_help(prog: str, capsys: pytest.CaptureFixture[str]) -> tuple[argparse.ArgumentParser, str]:
    """Return a command's parser, and what its ``--help`` prints; some add their options only then."""
    parser = next(parser for parser in walk(make_parser()) if parser.prog == prog)
    with contextlib.suppress(SystemExit):
        parser.parse_args(["--help"])
    return parser, capsys.readouterr().out


def folder_of(path: Path) -> str:
    """Return the folder of a file, two levels deep at most."""
    return "/".join(path.parent.relative_to(ROOT).parts[:2])


FOLDERS = {folder: list(paths) for folder, paths in groupby(sorted(places(), key=folder_of), folder_of)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_in_plain_words(folder):
    """Strings, docstrings, comments, prose and notebooks contain none of the refused words."""
    assert listed(FOLDERS[folder]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nobody is told, and the log stays silent.", ["Nobody", "told", "silent"]),
        ("harm is 42 times as likely as none", ["times as likely"]),
        ("UTC stands for Coordinated Universal Time; a stand-in", []),
        ("The standard outdoor basket stood there", ["stood"]),
    ],
)
def test_refused_words_are_found(text, words):
    """Whole words count, in any case; fixed expressions are allowed."""
    assert list(find_words(text)) == words


@pytest.mark.parametrize("prog", COMMANDS)
def test_help_is_in_plain_words(prog, capsys):
    """Each command describes itself, at any depth; its help has no refused word."""
    parser, printed = find_help(prog, capsys)
    assert (parser.description or "").strip()
    assert printed.startswith(f"usage: {prog}")
    assert list(find_words(printed)) == []


@pytest.mark.parametrize("prog", LEAVES)
def test_help_has_an_example(prog, capsys):
    """The help of each command that does something shows a command line that calls it."""
    parser, printed = find_help(prog, capsys)
    examples = (parser.epilog or "").partition("example")[2]
    assert re.search(rf"{prog}\b", examples)
    assert parser.epilog.strip() in printed
