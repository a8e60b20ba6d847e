"""The pytest plugin, with the scoring script and the test that the sandbox's README shows."""

import os
import re
from pathlib import Path

import pytest

import opslib.sandbox

pytest_plugins = "pytester"
README = Path(opslib.sandbox.__file__).with_name("README.md")
MORE = """

def test_the_same_name_again_in_an_empty_workspace(azureml_sandbox, score):
    assert [one.name for one in azureml_sandbox.ml_client().online_endpoints.list()] == ["rates"]
    score({"amounts": None})
"""


def test_a_user_s_scoring_script_is_deployed_and_scored(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """The README's example passes in an empty folder; a failed test shows what the script printed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    example = dict(re.findall(r"```python\n# ([\w/]+)\.py\n(.*?)```", README.read_text(), re.DOTALL))
    pytester.mkdir("src")
    pytester.makepyfile(**{"src/score": example["src/score"], "test_score": example["test_score"] + MORE})
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    result = pytester.runpytest_inprocess("-q", "-W", "ignore", "-p", "opslib.sandbox.testing.pytest_plugin")
    result.assert_outcomes(passed=1, failed=1)
    shown = [r"-+ azureml_sandbox instance-\w+ -+", ".*TypeError: object of type 'NoneType'"]
    result.stdout.re_match_lines(shown)
    assert {name: value for name, value in os.environ.items() if name in before} == before


def test_the_summary_has_the_test_s_own_warnings_alone(pytester: pytest.Pytester):
    """azure-ai-ml warns of its own code hundreds of times; a warning of the user's is not lost among them."""
    pytester.makepyfile(
        """
        import warnings

        def test_warns():
            import azure.ai.ml.entities
            warnings.warn("mine", DeprecationWarning)
        """
    )
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*DeprecationWarning: mine"])


def test_a_sandbox_that_ends_early_fails_its_test_alone(pytester: pytest.Pytester):
    """The failure is reported with the folder's log named, and the tests after it run."""
    pytester.makepyfile(
        """
        import os
        import signal
        import time

        def test_kills(azureml_sandbox):
            os.kill(azureml_sandbox.note["pid"], signal.SIGKILL)
            while azureml_sandbox.home.read_note() is not None:
                time.sleep(0.01)
            assert False, "mine"

        def test_after():
            pass
        """
    )
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: mine", "*no sandbox is up in */sandbox.log has the reason*"])
