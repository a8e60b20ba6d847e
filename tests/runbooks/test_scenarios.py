"""The three scenarios at small size: every command, every objective that little traffic can show."""

from pathlib import Path

import pytest
from sandbox_fixture import RunningSandbox

from opslib.azure.connect import Workspace
from opslib.demo.scenarios.carry_out import carry_out
from opslib.demo.scenarios.catalogue import SCENARIOS
from opslib.demo.scenarios.scenario import Size
from opslib.policy.folder import check_folder


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_release_meets_what_its_company_needs(
    name: str, sandbox: RunningSandbox, workspace: Workspace, tmp_path: Path
):
    """Each run ends as it should; what needs more traffic is named as not measured, and counts as nothing."""
    scenario = SCENARIOS[name]
    try:
        result = carry_out(scenario, tmp_path / name, tmp_path / "runs", Size.SMALL)
    finally:
        with sandbox.arm() as arm:
            arm.delete(sandbox.endpoint_id(scenario.endpoint)).raise_for_status()
    assert not result.problems
    assert not check_folder(tmp_path / name).failed
    assert sum(one.met is True for one in result.objectives) >= 6
