"""The kinds of 81 public deployment files, in our own words: how many of the files are understood."""

from dataclasses import dataclass, field

import pytest

from opslib.definitions.deployment import Serving, read_deployment
from opslib.definitions.source import read_replacements
from opslib.errors import DefinitionError

SCHEMA = "$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json\n"
SIZE = "instance_type: Standard_DS3_v2\ninstance_count: 1\n"
CODE = "code_configuration: {code: code, scoring_script: score.py}\n"
IMAGE = "environment: {image: 'registry.invalid/minimal:1', conda_file: conda.yml}\n"


@dataclass(frozen=True)
class Kind:
    """One kind of file: how many of the 81 are of it, what az is given beside it, and what must come of it."""

    files: int
    text: str
    serving: Serving | None = None
    message: str = ""
    name: str = ""
    given: list[str] = field(default_factory=list)


KINDS = {
    "no endpoint_name": Kind(
        37, SCHEMA + "name: blue\nmodel: {path: model}\n" + CODE + IMAGE + SIZE, Serving.SCRIPT
    ),
    "no model, with --set model": Kind(
        35,
        SCHEMA + "name: blue\nendpoint_name: fraud\n" + CODE + IMAGE + SIZE,
        Serving.SCRIPT,
        given=["model=azureml:fraud:3"],
    ),
    "no model, with --set model of a registry": Kind(
        0,
        SCHEMA + "name: blue\n" + SIZE,
        Serving.MLFLOW,
        given=["model=azureml://registries/hub/models/m/versions/1"],
    ),
    "no model, without --set": Kind(0, "name: blue\n" + CODE + IMAGE + SIZE, message="pass set with model="),
    "no name, with --name": Kind(1, "model: {path: model}\n" + CODE + IMAGE + SIZE, Serving.SCRIPT, name="blue"),
    "template": Kind(
        12,
        "name: {{DEPLOYMENT}}\nmodel: azureml:fraud:{{VERSION}}\n" + SIZE,
        message=":1: name holds the placeholder {{DEPLOYMENT}} (1 more)",
    ),
    "template, filled in": Kind(
        0,
        "name: {{DEPLOYMENT}}\nmodel: azureml:fraud:{{VERSION}}\n" + SIZE,
        Serving.MLFLOW,
        given=["name=blue", "model=azureml:fraud:3"],
    ),
    "Kubernetes": Kind(
        1,
        "name: blue\ntype: kubernetes\nmodel: {path: model}\nresources: {requests: {cpu: '1'}}\n",
        message="is a Kubernetes online deployment. opslib operates managed",
    ),
    "model package": Kind(2, "name: blue\nenvironment: azureml:packaged-fraud:1\n" + SIZE, Serving.PACKAGE),
}
"""Counts: cases.md. A file may be of several kinds: 37 lack endpoint_name, and 35 lack model."""


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_understood_or_named_as_what_it_is(tmp_path, name):
    """Never a missing field that the run was given, and never an error of the YAML reader."""
    kind, path = KINDS[name], tmp_path / "deployment.yml"
    path.write_text(kind.text)
    if kind.message:
        with pytest.raises(DefinitionError) as error:
            read_deployment(path, "fraud", kind.name, read_replacements(kind.given))
        assert kind.message in str(error.value)
        return
    read = read_deployment(path, "fraud", kind.name, read_replacements(kind.given))
    assert (read.name, read.endpoint, read.serving) == ("blue", "fraud", kind.serving)


def test_how_many_of_the_kinds_files_are_understood():
    """75 entries of the table are read; 13 are named: 12 templates to fill in, 1 Kubernetes file."""
    assert sum(kind.files for kind in KINDS.values() if not kind.message) == 75
    assert sum(kind.files for kind in KINDS.values() if kind.message) == 13
