"""What a command may import: it is the time from typing to help, to a refusal, and to moved traffic."""

import json
import subprocess
import sys

import pytest

from opslib.cli import check, inventory, pipeline
from opslib.demo.scenarios.catalogue import SCENARIOS
from opslib.demo.scenarios.titles import TITLES
from opslib.inventory.formats import TEXTS
from opslib.pipelines.render import FILES
from opslib.policy.reports import REPORTS

SLOW = (
    *("pydantic", "yaml", "azure.core", "azure.identity", "azure.ai.ml", "requests", "httpx", "cryptography"),
    *("numpy", "scipy", "matplotlib", "rich", "jinja2", "papermill", "nbformat", "nbconvert", "jsonschema"),
    *("IPython", "ipykernel", "zmq", "opslib.judge", "opslib.runner", "opslib.policy.policy"),
)
"""What takes 20 ms or more to import."""

SCRIPT = f"""
import argparse, contextlib, importlib, io, json, sys

from opslib.cli.main import main, make_parser

def step(name, work):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            work()
    found[name] = [module for module in {SLOW} if module in sys.modules]

def lines(parser, words=()):
    parser.load()
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from lines(inner, (*words, name))

found = {{}}
step("help", lambda: main(["--help"]))
step("help of run", lambda: main(["run", "--help"]))
step("no such runbook", lambda: main(["run", "roll-back"]))
for words in lines(make_parser()):
    step("every help", lambda: main([*words, "--help"]))
step("runs", lambda: main(["runs", "--runs", sys.argv[1]]))
step("refused parameter", lambda: main(["run", "rollback", "-p", "endpoint=fraud", "-p", "too=blue"]))
step("first move", lambda: importlib.import_module("opslib.runner.own_process"))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What one process has imported after each command."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path_factory.mktemp("runs"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", ["help", "help of run", "no such runbook", "every help", "runs"])
def test_a_command_that_needs_no_libraries_imports_none(imported, command):
    """Help, an unknown runbook and the list of runs are answered at once."""
    assert imported[command] == []


def test_choices_are_those_of_the_modules_that_help_does_not_import():
    """A form, a system or a scenario can be chosen if it exists."""
    assert tuple(REPORTS) == check.FORMATS
    assert tuple(FILES) == pipeline.SYSTEMS
    assert ("table", *TEXTS, "parquet") == inventory.FORMATS
    assert {one.name: one.title for one in SCENARIOS.values()} == TITLES


def test_a_refused_parameter_imports_what_checks_it(imported):
    """Neither the runner nor a client of Azure is imported for a typing error."""
    assert imported["refused parameter"] == ["pydantic"]


def test_the_first_move_of_a_rollback_imports_a_client_of_azure(imported):
    """The traffic moves before anything of notebooks, statistics, policies or reports is imported."""
    client = ["azure.core", "azure.identity", "requests", "cryptography"]
    assert imported["first move"] == sorted(["pydantic", "opslib.runner", *client], key=SLOW.index)
