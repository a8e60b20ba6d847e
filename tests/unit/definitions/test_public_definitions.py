"""Definitions as people write them: each is understood, planned, or refused by the rule that it breaks."""

from pathlib import Path
from typing import Any

import pytest
from public_definitions import ALIKE, STRICTER, write

from opslib.definitions.content import digest_uploads
from opslib.definitions.deployment import read_deployment
from opslib.definitions.rules import Severity, check_deployment
from opslib.model import CreateDeployment, Endpoint
from opslib.runbooks.steps.plan import plan_create

FRAUD = Endpoint("fraud", "Succeeded", "Key", "https://127.0.0.1/score", {}, {}, {}, (), {"id": "/fraud"})


@pytest.mark.parametrize(("changes", "rule"), (ALIKE | STRICTER).values(), ids=ALIKE | STRICTER)
def test_a_definition_is_planned_or_refused_by_its_rule(tmp_path: Path, changes: dict[str, Any], rule: str):
    """One rule, at a line of the file; what breaks none is planned with its model and size."""
    definition = read_deployment(write(tmp_path, changes), "fraud")
    found = {one.rule for one in check_deployment(definition) if one.severity is Severity.ERROR}
    assert found == ({rule} if rule else set())
    if not rule:
        step = CreateDeployment(
            definition.endpoint,
            definition.name,
            str(definition.path),
            definition.instance_type,
            definition.instance_count,
            definition.model,
        )
        assert definition.instance_type in plan_create(FRAUD, step, 0).changes[0].after


def test_an_environment_in_a_file_is_read_from_its_own_folder(tmp_path: Path):
    """Its conda file is found, sent, and part of what is approved; so is the file itself.

    azure-ai-ml 1.35 looks for a file in a folder below in that folder twice; opslib sends it the content.
    """
    path = write(tmp_path, {"environment": "file:environments/own.yml"})
    definition = read_deployment(path, "fraud")
    assert definition.source.get("environment.conda_file") == "environments/conda.yml"
    digests = digest_uploads(definition)
    assert str(tmp_path / "environments/own.yml") in digests
    (tmp_path / "environments/conda.yml").write_text("dependencies: [python=3.12]\n")
    assert digest_uploads(definition)["environment.conda_file"] != digests["environment.conda_file"]


def test_an_empty_name_is_no_name(tmp_path: Path):
    """`endpoint_name:` and `name:` without a value are filled in by the run's, as where they are absent."""
    definition = read_deployment(write(tmp_path, {"endpoint_name": None, "name": None}), "claims", "green")
    assert (definition.endpoint, definition.name) == ("claims", "green")
