"""The fixtures that the SDK's tests are given, for a live run; loaded as a plugin by this name."""

import os
from collections.abc import Mapping

import pytest


class VariableRecorder:
    """Hands back what it is given: there is no recording to take another value from."""

    def get_or_record(self, _name: str, value: str) -> str:
        """Return the value."""
        return value


class EnvironmentVariables:
    """Reads the environment; the defaults are for playback."""

    def sanitize_batch(self, playback: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with these names."""
        return {name: os.environ.get(name, "") for name in playback}


@pytest.fixture(scope="session")
def test_proxy():
    """There is none."""


@pytest.fixture
def recorded_test():
    """Nothing is recorded."""


@pytest.fixture
def variable_recorder():
    return VariableRecorder()


@pytest.fixture
def environment_variables():
    return EnvironmentVariables()
