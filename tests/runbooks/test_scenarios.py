"""The three scenarios at small size: every command, every objective that little traffic can show."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prepared_opslib import use_prepared_fork_server
from sandbox_fixture import running_sandbox

from opslib.demo.scenarios.carry_out import carry_out
from opslib.demo.scenarios.catalogue import SCENARIOS
from opslib.demo.scenarios.scenario import Size
from opslib.policy.folder import check_folder
from opslib.sandbox.core.settings import Settings


@pytest.fixture
def _own_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sandbox of the scenario's own: a review reads who holds which role in the whole workspace."""
    settings = Settings(seed=7, max_requests_per_second=100_000)
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(tmp_path / "sandbox"))
    with running_sandbox(tmp_path / "sandbox", settings) as running, running.pointed():
        yield


@pytest.mark.usefixtures("_own_sandbox")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_release_meets_what_its_company_needs(name: str, tmp_path: Path):
    """Each run ends as it should; what needs more traffic is named as not measured, and counts as nothing."""
    use_prepared_fork_server()
    result = carry_out(SCENARIOS[name], tmp_path / name, tmp_path / "runs", Size.SMALL)
    assert not result.problems
    assert not check_folder(tmp_path / name).failed
    assert sum(one.met is True for one in result.objectives) >= 6
