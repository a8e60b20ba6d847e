"""The pytest plugin: `azureml_sandbox`, an empty Azure ML workspace for each test.

Every pytest run of a person who has opslib installed loads this module, so it imports nothing but pytest.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from opslib.sandbox.testing.running import RunningSandbox

_SERVER = "azureml_sandbox_server"

_WARNINGS_OF_THE_SDK = tuple(
    rf"ignore::{category}:{module}"
    for category in ("DeprecationWarning", "FutureWarning")
    for module in (r"azure\.ai\.ml", "marshmallow")
)
"""Warnings raised in azure-ai-ml's own code, which its users cannot heed: 470 in the first test of a run."""


def pytest_configure(config: pytest.Config) -> None:
    """Leave azure-ai-ml's warnings about its own code out of the summary; those about the caller's are kept."""
    for line in _WARNINGS_OF_THE_SDK:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def azureml_sandbox_settings() -> dict[str, Any]:
    """Settings of the session's sandbox, as `opslib sandbox up` has them; override it in a conftest.py."""
    return {}


@pytest.fixture(scope="session", name=_SERVER)
def _azureml_sandbox_server(
    tmp_path_factory: pytest.TempPathFactory, azureml_sandbox_settings: dict[str, Any]
) -> "Iterator[RunningSandbox]":
    """One sandbox for the session, under pytest-xdist for each worker; the process is not pointed at it."""
    from opslib.sandbox.testing.sandbox import Sandbox  # noqa: PLC0415 - only where a test uses it

    sandbox = Sandbox(tmp_path_factory.mktemp("azureml-sandbox"), **azureml_sandbox_settings)
    yield sandbox.start()
    sandbox.stop()


@pytest.fixture
def azureml_sandbox(azureml_sandbox_server: "RunningSandbox") -> "Iterator[RunningSandbox]":
    """An empty Azure ML workspace of the test's own, with this process pointed at it; emptied after the test."""
    with azureml_sandbox_server.new_workspace() as own:
        yield own


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Add the logs of the sandbox's instances to the report of a test that failed."""
    report: pytest.TestReport = yield
    server: RunningSandbox | None = getattr(item, "funcargs", {}).get(_SERVER)
    if report.failed and server is not None:
        try:
            logs = server.instance_logs()
        except (OSError, ValueError) as error:
            logs = [("logs", f"They could not be read, the sandbox did not answer: {error}")]
        report.sections += [(f"azureml_sandbox {name}", text) for name, text in logs]
    return report
